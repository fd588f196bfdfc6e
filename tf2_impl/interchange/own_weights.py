"""What loading weights alone needs of any layer: its weights by its own names, and its outputs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from numpy_infer.format.halves import BFLOAT16, widened
from numpy_infer.format.weight_loading import Target


def target(model: keras.Layer) -> Target:
    """A built layer or model, for `weight_loading.load`."""
    if not model.built:
        raise ValueError("model: expected one that is built, got none: call it once")
    variables: dict[str, keras.Variable] = {}
    for one in model.variables:
        if one.path in variables:
            raise ValueError(f"model: expected variables of different names, got {one.path} twice")
        variables[one.path] = one

    def write(arrays: Mapping[str, np.ndarray]) -> None:
        for name, array in arrays.items():
            variables[name].assign(widened(array))  # exact: bfloat16 holds it

    def run(inputs: Any) -> list[np.ndarray]:
        values = inputs if isinstance(inputs, tuple) else (inputs,)
        found = keras.tree.flatten(model(*values, training=False))
        return [np.asarray(keras.ops.convert_to_numpy(one)) for one in found]

    return Target({name: _array(one) for name, one in variables.items()}, write, run)


def _array(variable: keras.Variable) -> np.ndarray:
    """A variable as NumPy has it; bfloat16 as its bits."""
    own = np.asarray(keras.ops.convert_to_numpy(variable.value))
    if own.dtype.name == "bfloat16":
        return own.view("<u2").view(BFLOAT16).reshape(own.shape)
    return own
