"""Theano serves float32 and float64; every other kind of float is refused by name."""

from dataclasses import replace

import numpy as np
import pytest

from fourfold.definition import SparseInput
from shared_tests.backends.theano_tools import TOOLS

MOVED = ("SMORMS3", "SparseDenseOptimizer", "scale_gradients_by_frequency")  # of the tools


def floating(case):
    """The names of the inputs that are floating, sparse ones too."""
    arrays = {name: getattr(one, "array", one) for name, one in case.inputs.items()}
    kinds = {name: getattr(one, "dtype", np.dtype(int)).kind for name, one in arrays.items()}
    return [name for name, kind in kinds.items() if kind == "f"]


def concerns(operation):
    return bool(floating(operation.cases[0])) and (
        operation.name not in TOOLS or operation.name in MOVED
    )


def cast(value, dtype):
    if isinstance(value, SparseInput):
        return replace(value, array=value.array.astype(dtype))
    return value.astype(dtype)


@pytest.mark.parametrize("dtype", ["float16"])
def test_other_floats_are_refused(backend, definition, operation, dtype):
    case = operation.cases[0]
    inputs = {name: cast(case.inputs[name], dtype) for name in floating(case)}
    changed = replace(case, inputs={**case.inputs, **inputs})
    kinds = "(float32 or float64|float32|float64)"
    with pytest.raises(TypeError, match=rf"\w+: expected {kinds}, got .*{np.dtype(dtype)}"):
        backend.run(definition.component, operation.name, changed, False)
