"""Graphs whose every size is known only when they run do what eager TensorFlow does."""

import re

import pytest
import tensorflow as tf

from fourfold.agreement import assert_close, tolerance
from fourfold.backends.tf2_backend import BACKEND, build, call, eagerly, to_native
from fourfold.definition import Cell, SparseInput
from shared_tests.backends.tf2_tools import TOOLS
from shared_tests.conftest import compilable, describe
from shared_tests.repository import CHAIN
from tf2_impl import interchange

DTYPE = "float64"
OWN_GRAPHS = ("RecursiveAutoencoder", "NeuralGrammar")  # their loops are graphs for eager callers


def pytest_generate_tests(metafunc):
    """A test for each graph, and for each bad input, of what runs in a graph."""
    operations = compilable(metafunc.config, "tf2", TOOLS)
    if "graph_cell" in metafunc.fixturenames:
        arguments = ("graph_cell", "cases")
        rows = [
            row for definition, operation in operations for row in graphs(definition, operation)
        ]
        ids = [str(cell) for cell, _ in rows]
    elif "looped_cell" in metafunc.fixturenames:
        arguments = "looped_cell"
        rows = [
            Cell(definition.component, operation, operation.cases[0], DTYPE)
            for definition, operation in operations
            if operation.name in OWN_GRAPHS
        ]
        ids = list(map(str, rows))
    else:
        arguments = "graph_bad_input"
        rows = [(*one, bad) for one in operations for bad in one[1].bad_inputs]
        ids = ["-".join(map(describe, row)) for row in rows]
    metafunc.parametrize(arguments, rows, ids=ids)


def graphs(definition, operation):
    """A cell for each graph of an operation, and all cases that it serves."""
    served = {}
    for case in distinct_cases(definition, operation):
        served.setdefault(graph_of(definition, case), []).append(case)
    return [
        (Cell(definition.component, operation, cases[0], DTYPE), cases) for cases in served.values()
    ]


def graph_of(definition, case):
    """What a graph of unknown sizes depends on: not on the sizes and the numbers of its inputs."""
    if definition.component == CHAIN:
        return case.name  # each has layers of its own
    inputs = [
        (name, type(value), value.array if isinstance(value, SparseInput) else value)
        for name, value in case.inputs.items()
        if value is not None
    ]
    kinds = [(name, kind, str(one.dtype), one.ndim) for name, kind, one in inputs]
    weights = None if case.weights is None else [(k, v.shape) for k, v in case.weights.items()]
    return repr((case.options, kinds, sorted(case.channels), weights))


def distinct_cases(definition, operation):
    """Its cases; of a layer that calls a function, the first of those that the function has too.

    That they agree eagerly is tested for all: a graph of each would be traced twice.
    """
    function = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", operation.name).lower()
    traced = [
        case
        for one in definition.operations
        if one.name == function != operation.name
        for case in one.cases
    ]
    first, *others = operation.cases
    return [first, *(case for case in others if not any(case is one for one in traced))]


def unknown(value):
    """The signature of a tensor whose every size is known only when the graph runs."""
    shape = [None] * len(value.shape)
    if isinstance(value, tf.SparseTensor):
        return tf.SparseTensorSpec(shape, value.dtype)
    return tf.TensorSpec(shape, value.dtype)


def test_values(graph_cell, cases):
    component, operation = graph_cell.component, graph_cell.operation
    first = graph_cell.case.cast(DTYPE)
    function = build(component, operation.name, first)

    def given(case):
        """What is there of a case's inputs: others are None."""
        return [to_native(value) for value in case.inputs.values() if value is not None]

    def outputs(*values):
        found = iter(values)
        inputs = {name: x if x is None else next(found) for name, x in first.inputs.items()}
        return call(function, inputs, first)

    signature = [unknown(value) for value in given(first)]
    # AutoGraph converts each operation's first graph alone: converting takes a quarter longer.
    converts = graph_cell.case is operation.cases[0]
    graph = tf.function(outputs, input_signature=signature, autograph=converts)
    for case in cases:
        if case.weights is not None:
            interchange.load_arrays(function, case.weights)
        inputs = given(case.cast(DTYPE))
        with eagerly():
            eager = outputs(*inputs)
        for name, value in graph(*inputs).items():
            bound = tolerance(f"value:{name}", operation.kind, DTYPE, reference=False)
            assert_close(value.numpy(), eager[name].numpy(), bound, f"{case.name}, {name}")


def test_gradients_of_own_graphs(looped_cell):
    """The agreement of all cases runs these graphs eagerly: as graphs they have its gradients."""
    component, operation = looped_cell.component, looped_cell.operation
    arguments = (component, operation.name, looped_cell.case.cast(DTYPE), True)
    eager, graph = BACKEND.run(*arguments), BACKEND.computed(*arguments)
    for kind, wanted, got in zip(("value", "gradient"), eager, graph, strict=True):
        assert wanted.keys() == got.keys()
        for name, array in got.items():
            bound = tolerance(f"{kind}:{name}", operation.kind, DTYPE, reference=False)
            assert_close(array, wanted[name], bound, name)


def test_bad_input(graph_bad_input):
    """What eager mode refuses, a graph refuses: while traced, by an assertion or by a kernel."""
    definition, operation, bad_input = graph_bad_input
    case = bad_input.applied(operation.cases[0])
    inputs = {name: to_native(value) for name, value in case.inputs.items()}
    native = {name: value for name, value in inputs.items() if value is not None}

    def run():
        function = build(definition.component, operation.name, case)

        def outputs(*values):
            return function(*{**inputs, **dict(zip(native, values, strict=True))}.values())

        # No file of the package needs AutoGraph: the values above are tested with and without it.
        signature = [unknown(value) for value in native.values()]
        tf.function(outputs, input_signature=signature, autograph=False)(*native.values())

    with pytest.raises((bad_input.error, tf.errors.InvalidArgumentError)) as caught:
        run()
    if caught.type is not tf.errors.InvalidArgumentError:
        assert f"{bad_input.argument}: expected" in str(caught.value)
