"""torch.export of every module: the program gives what the module gives, on other inputs too."""

import pytest
import torch
from torch import Tensor, nn
from torch.export import Dim

from fourfold.backends.torch_backend import build, named, to_native
from fourfold.definition import Cell
from fourfold.project import definitions
from shared_tests.backends.torch_tools import TOOLS

SEARCH = "what it computes next depends on values"
# Everything that cannot be exported, with the reason.
REFUSED = {
    "neural_grammar.NeuralGrammar": SEARCH,
    "recursive_autoencoder.RecursiveAutoencoder": SEARCH,
}
# What is exported for few rows alone, with the reason: a program refuses more of them.
LIMITED = {
    "triplet_loss.AllTripletsLoss": "anchors are taken in blocks, and a program holds one of them",
    "triplet_mining.SemiHardTripletLoss": "few rows and many are computed in two ways",
}


def modules() -> list[Cell]:
    """The first case of every operation that is a module."""
    found: dict[str, Cell] = {}
    for definition in definitions():
        for operation in definition.operations:
            if "torch" in operation.backends() and operation.name not in TOOLS:
                cell = Cell(definition.component, operation, operation.cases[0], "float64")
                if operation.cases[0].weights is not None or operation.name[0].isupper():
                    found.setdefault(f"{definition.component}.{operation.name}", cell)
    return list(found.values())


def pytest_generate_tests(metafunc):
    component = metafunc.config.getoption("--component")
    rows = [cell for cell in modules() if component in (None, cell.component)]
    if metafunc.function is test_what_is_refused:
        rows = [cell for cell in rows if name_of(cell) in REFUSED]
    elif metafunc.function is test_exported_program:
        rows = [cell for cell in rows if name_of(cell) not in REFUSED]
    else:
        return
    metafunc.parametrize("module_cell", rows, ids=map(name_of, rows))


def name_of(cell: Cell) -> str:
    return f"{cell.component}.{cell.operation.name}"


def exported(cell: Cell) -> tuple[nn.Module, list[Tensor], nn.Module]:
    """The module, its inputs and its program, for any number of rows."""
    module = build(cell.component, cell.operation.name, cell.case)
    inputs = [to_native(value) for value in cell.case.inputs.values()]
    shapes = [{0: Dim.DYNAMIC} if isinstance(x, Tensor) else None for x in inputs]
    program = torch.export.export(module, tuple(inputs), dynamic_shapes=(*shapes,))
    return module, inputs, program.module()


def test_exported_program(module_cell):
    module, inputs, program = exported(module_cell)
    # The same rows in another order: the same number, and so many that a fast way would begin.
    others = [
        [torch.cat([x.flip(0)] * times) if isinstance(x, Tensor) else x for x in inputs]
        for times in (1, 30)
    ]
    for given in (inputs, *others):
        if name_of(module_cell) in LIMITED and given is others[-1]:
            with pytest.raises(AssertionError, match=r"Guard failed: embeddings\.size"):
                program(*given)
            continue
        wanted, got = named(module(*given)), named(program(*given))
        assert wanted.keys() == got.keys()
        for name, output in wanted.items():
            torch.testing.assert_close(got[name], output, rtol=0, atol=1e-12)


def test_what_is_refused(module_cell):
    errors = (RuntimeError, torch.fx.experimental.symbolic_shapes.GuardOnDataDependentSymNode)
    with pytest.raises(errors, match="data-dependent"):
        exported(module_cell)


def test_the_list_names_modules():
    assert REFUSED.keys() | LIMITED.keys() <= {name_of(cell) for cell in modules()}
