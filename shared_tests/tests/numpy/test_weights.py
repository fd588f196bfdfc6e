"""Weights of any size: a layer refuses them when it is made, or says what input it expects."""

import dataclasses

import numpy as np
import pytest

from fourfold.backends.numpy_backend import build, to_native
from fourfold.project import cells
from numpy_infer import Input
from numpy_infer.layers.normalization import LayerNorm

# One case of each model and each set of weights.
MODELS = {
    (cell.component, cell.operation.name, *cell.case.weights): cell
    for cell in reversed(cells("numpy"))
    if cell.case.weights and cell.dtype == "float64" and cell.component != "chain"
}
GROWN = {
    f"{cell.component}, {cell.label}: {array}, axis {axis}": (cell, array, axis)
    for cell in MODELS.values()
    for array, weight in (cell.case.weights or {}).items()
    for axis in range(np.ndim(weight))
}


@pytest.mark.parametrize("name", GROWN)
def test_one_more_is_refused_or_works(name):
    cell, array, axis = GROWN[name]
    case = cell.case.cast(cell.dtype)
    weights = dict(case.weights)
    weights[array] = np.concatenate([weights[array], weights[array].take([-1], axis)], axis)
    case = dataclasses.replace(case, weights=weights)
    refused = complaint(lambda: build(cell.component, cell.operation.name, case))
    if refused is None:
        layer = build(cell.component, cell.operation.name, case)
        refused = complaint(lambda: layer(*map(to_native, case.inputs.values())))
        if refused is not None:  # it wants another input
            assert refused.partition(":")[0] in case.inputs, refused
    assert refused is None or (": expected " in refused and ", got " in refused), refused


def complaint(call) -> str | None:
    """What a call says when it refuses; None if it works."""
    try:
        call()
    except (ValueError, TypeError) as error:
        return str(error)
    return None


def test_a_normalization_of_no_features_is_refused():
    none = np.ones(0, np.float32)
    with pytest.raises(ValueError, match=r"^scale: expected .*, got "):
        LayerNorm(Input(), none, none)
