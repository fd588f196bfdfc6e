"""torch.compile on every operation: the values, the gradients and the errors of eager PyTorch."""

import importlib
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch._dynamo.utils import counters

from fourfold.agreement import assert_close, tolerance
from fourfold.backends import torch_backend
from fourfold.definition import Cell
from fourfold.measure import measured
from fourfold.project import definitions
from shared_tests.backends.torch_tools import TOOLS
from shared_tests.conftest import compilable, describe

# Inductor writes C++, which takes seconds: for the last operation of each component, most often its
# model, and where there is a compiler. The others run their graphs, of values and gradients, as
# they are. So do trees, which have a graph for each merge. Two vectors, which are merged once, are
# compiled: by the first operation of a tree and by the last, a batch with lengths and brackets.
COMPILER = "inductor" if shutil.which("g++") else "aot_eager"
LAST = [definition.operations[-1] for definition in definitions()]

CHECK = "looks at the values to check them"
CELL = "Dynamo leaves torch's GRU and LSTM to Python"
SEARCH = "what it computes next depends on values"
# Everything that is not one whole graph, with what breaks it.
BREAKS = {
    "recurrent: batch": CELL,
    "memory: both ways": CELL,
    "CharWordEncoder: ragged": CHECK,
    "SentenceEncoder: sentences": CHECK,
    "clustering_loss: rows": CHECK,
    "ClusteringLoss: rows": CHECK,
    "level_losses: three levels": CHECK,
    "FeedbackNetwork: three levels": CELL,
    "NeuralGrammar: seven": SEARCH,
    "NeuralGrammar: labelled": SEARCH,
    "NeuralGrammar: lengths": SEARCH,
    "NeuralGrammar: lengths and brackets": SEARCH,
    "PaddedEmbedding: mean": CHECK,
    "memory_loss: batch": CHECK,
    "updated_memory: jitter": CHECK,
    "RecursiveAutoencoder: linear": SEARCH,
    "RecursiveAutoencoder: brackets": SEARCH,
    "RecursiveAutoencoder: lengths": SEARCH,
    "RecursiveAutoencoder: lengths and brackets": SEARCH,
    "SequenceEncoder: ragged": CHECK,
    "SoftNearestNeighborLoss: learned": SEARCH,
    "TitleEncoder: ragged": CHECK,
    "batch_hard_triplets: cosine": CHECK,
    "semi_hard_triplets: cosine": CHECK,
    "BatchHardTripletLoss: cosine, mean": CHECK,
    "SemiHardTripletLoss: cosine, mean": CHECK,
    "margin_violators: cosine": CHECK,
}


def pytest_generate_tests(metafunc):
    """A test for the first case of what computes on tensors, and for one bad input of each."""
    operations = compilable(metafunc.config, "torch", TOOLS)
    if "first_cell" in metafunc.fixturenames:
        rows = [
            Cell(definition.component, operation, operation.cases[0], "float64")
            for definition, operation in operations
        ]
        if metafunc.function is test_what_breaks_the_graph:
            rows = [row for row in rows if row.label in BREAKS]
        else:
            rows += [
                smallest_tree(row)
                for row, (definition, _) in zip(rows, operations, strict=True)
                if is_tree(row) and is_first_or_last(row.operation, definition)
            ]
        metafunc.parametrize("first_cell", rows, ids=map(str, rows))
    elif "wrong_input" in metafunc.fixturenames:
        found = [(*one, wrong_array(one[1])) for one in operations if one[1].bad_inputs]
        ids = ["-".join(map(describe, row)) for row in found]
        metafunc.parametrize("wrong_input", found, ids=ids)


def is_tree(cell):
    return BREAKS.get(cell.label) == SEARCH and cell.operation.kind == "model"


def is_first_or_last(operation, definition):
    return any(operation is definition.operations[place] for place in (0, -1))


def is_compiled(cell):
    """Whether Inductor compiles what Dynamo traces."""
    is_last = any(cell.operation is one for one in LAST) and not is_tree(cell)
    return is_last or cell.operation.name == "convolutional" or has_two_vectors(cell.case)


def has_two_vectors(case):
    return case.name.endswith("two vectors")


def smallest_tree(cell):
    """The case of two vectors, which are merged once."""
    [case] = filter(has_two_vectors, cell.operation.cases)
    return replace(cell, case=case)


def wrong_array(operation):
    """Its last bad array, often one of bad values, else its last bad option."""
    arrays = [
        bad
        for bad in operation.bad_inputs
        if isinstance(bad.changes[bad.argument], np.ndarray) and bad.argument != "like"
    ]
    return (arrays or operation.bad_inputs)[-1]


@pytest.fixture
def compile_with(monkeypatch):
    """From this call on the adapter compiles what it builds."""
    build = torch_backend.build

    def patch(**options):
        def compiled(*arguments):
            return torch.compile(build(*arguments), **options)

        monkeypatch.setattr(torch_backend, "build", compiled)

    torch._dynamo.reset()  # it compiles one function a few times only, then gives up silently
    counters.clear()
    return patch


def test_values_and_gradients(first_cell, compile_with):
    wanted = measured(torch_backend.BACKEND, first_cell)
    whole = first_cell.label not in BREAKS and not has_two_vectors(first_cell.case)
    compile_with(backend=COMPILER if is_compiled(first_cell) else "aot_eager", fullgraph=whole)
    got = measured(torch_backend.BACKEND, first_cell)
    whole_in_python = BREAKS.get(first_cell.label) == CELL
    assert counters["stats"]["unique_graphs"] > 0 or whole_in_python
    assert set(got) == set(wanted)
    for quantity, array in got.items():
        bound = tolerance(quantity, first_cell.operation.kind, first_cell.dtype, reference=False)
        assert_close(array, wanted[quantity], bound, quantity)


def test_what_breaks_the_graph(first_cell, compile_with):
    """What is in the list cannot be compiled whole; the test above compiles whole all the rest."""
    compile_with(backend="eager", fullgraph=True)
    with pytest.raises((torch._dynamo.exc.TorchDynamoException, RuntimeError)):
        measured(torch_backend.BACKEND, first_cell)


def test_the_list_names_first_cases():
    labels = {
        f"{operation.name}: {operation.cases[0].name}"
        for definition in definitions()
        for operation in definition.operations
    }
    assert BREAKS.keys() <= labels


def test_bad_input(wrong_input, compile_with):
    definition, operation, bad_input = wrong_input
    case = bad_input.applied(operation.cases[0])
    compile_with(backend="eager")
    with pytest.raises(bad_input.error, match=rf"(^|\s){bad_input.argument}: expected"):
        torch_backend.BACKEND.run(definition.component, operation.name, case, differentiate=False)


OPTIMIZERS = [
    Cell(definition.component, operation, case, "float64")
    for definition in definitions()
    for operation in definition.operations
    if operation.name in ("SMORMS3", "SparseDenseOptimizer")
    for case in operation.cases[:2]
]


@pytest.mark.parametrize("step_cell", OPTIMIZERS, ids=str)
def test_step_of_an_optimizer(step_cell):
    module = importlib.import_module(f"pytorch_impl.{step_cell.component}")
    target = getattr(module, step_cell.operation.name)

    def compiled(*arguments, **options):
        optimizer = target(*arguments, **options)
        optimizer.step = torch.compile(optimizer.step, backend="aot_eager", dynamic=False)
        return optimizer

    torch._dynamo.reset()
    tool = TOOLS[step_cell.operation.name]
    wanted, got = (tool(one, step_cell.case) for one in (target, compiled))
    assert set(got) == set(wanted)
    for name, array in got.items():
        assert_close(array, wanted[name], 1e-12, name)
