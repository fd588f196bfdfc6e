"""Graphs whose every size is known only when they run do what eager TensorFlow does."""

import re

import pytest
import tensorflow as tf

from fourfold.agreement import assert_close, tolerance
from fourfold.backends.tf2_backend import build, call, to_native
from fourfold.definition import Cell
from shared_tests.backends.tf2_tools import TOOLS
from shared_tests.conftest import compilable, describe


def pytest_generate_tests(metafunc):
    """A test for each cell, and for each bad input, of what runs in a graph."""
    operations = compilable(metafunc.config, "tf2", TOOLS)
    if "graph_cell" in metafunc.fixturenames:
        argument = "graph_cell"
        rows = [
            Cell(definition.component, operation, case, "float64")
            for definition, operation in operations
            for case in distinct_cases(definition, operation)
        ]
        ids = [str(row) for row in rows]
    else:
        argument = "graph_bad_input"
        rows = [(*one, bad) for one in operations for bad in one[1].bad_inputs]
        ids = ["-".join(map(describe, row)) for row in rows]
    metafunc.parametrize(argument, rows, ids=ids)


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


def test_values(graph_cell):
    cell = graph_cell
    case = cell.case.cast(cell.dtype)
    inputs = [to_native(value) for value in case.inputs.values()]
    function = build(cell.component, cell.operation.name, case)

    def outputs(*values):
        return call(function, dict(zip(case.inputs, values, strict=True)), case)

    eager = outputs(*inputs)
    graph = tf.function(outputs, input_signature=[unknown(value) for value in inputs])
    for name, value in graph(*inputs).items():
        bound = tolerance(f"value:{name}", cell.operation.kind, cell.dtype, reference=False)
        assert_close(value.numpy(), eager[name].numpy(), bound, name)


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

        signature = [unknown(value) for value in native.values()]
        tf.function(outputs, input_signature=signature)(*native.values())

    with pytest.raises((bad_input.error, tf.errors.InvalidArgumentError)) as caught:
        run()
    if caught.type is not tf.errors.InvalidArgumentError:
        assert f"{bad_input.argument}: expected" in str(caught.value)
