"""Weights in and out of Keras, in the canonical layout that all four packages read.

A weight is called by its path in the layer: `encoder.weight`, which is the kernel of the
`Dense` layer `encoder`; the variables that a component owns itself are canonical.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from typing import Any

import keras
import numpy as np

DENSE_NAMES = {"_kernel": "weight", "bias": "bias"}


def to_arrays(model: keras.Layer) -> dict[str, np.ndarray]:
    """Copies of the model's weights, {canonical name: canonical array}."""
    return {name: variable.numpy().copy() for name, variable in _weights(model)}


def from_arrays(
    component: str, config: Mapping[str, Any], arrays: Mapping[str, np.ndarray]
) -> keras.Layer:
    """The model of a component, built from its constructor arguments and its weights.

    component: the file's name, such as "padded_embedding"; where a file holds several models,
    "file.Class". arrays: as from `to_arrays`, all float32 or all float64, which becomes the
    model's dtype. TypeError for any other, ValueError for an unknown component and for missing,
    extra or wrongly shaped arrays.
    """
    dtype = _dtype(arrays)
    model = _model_class(component)(**config, dtype=dtype.name)
    load_arrays(model, arrays)
    return model


def load_arrays(model: keras.Layer, arrays: Mapping[str, np.ndarray]) -> None:
    """Overwrite all weights of a model; it is left as it was when the arrays do not fit."""
    weights = dict(_weights(model))
    wanted = {name: _describe(variable) for name, variable in weights.items()}
    given = {name: _describe(array) for name, array in arrays.items()}
    if given != wanted:
        raise ValueError(f"arrays: expected {wanted}, got {given}")
    for name, variable in weights.items():
        variable.assign(arrays[name])


def _weights(layer: keras.Layer, path: str = "") -> Iterator[tuple[str, keras.Variable]]:
    """Each variable with its canonical name, found by walking the attributes of the layers."""
    for name, value in vars(layer).items():
        if isinstance(layer, keras.layers.Dense):
            if name in DENSE_NAMES and value is not None:
                yield path + DENSE_NAMES[name], value
        elif isinstance(value, keras.Variable):
            yield path + name, value
        elif isinstance(value, keras.Layer):
            yield from _weights(value, f"{path}{name}.")


def _describe(array: keras.Variable | np.ndarray) -> str:
    return f"{array.dtype}{tuple(array.shape)}"


def _dtype(arrays: Mapping[str, np.ndarray]) -> np.dtype:
    """The dtype that all arrays share; the framework's own when there are none."""
    dtypes = {array.dtype for array in arrays.values()} or {np.dtype("float32")}
    if len(dtypes) > 1 or not dtypes <= {np.dtype("float32"), np.dtype("float64")}:
        names = ", ".join(sorted(map(str, dtypes)))
        raise TypeError(f"arrays: expected float32 or float64 throughout, got {names}")
    return dtypes.pop()


def _model_class(component: str) -> type[keras.Layer]:
    file, _, name = component.partition(".")
    try:
        module = importlib.import_module(f"tf2_impl.{file}")
    except ImportError:
        raise ValueError(f"component: expected a file of tf2_impl, got {file!r}") from None
    models = {
        key: value
        for key, value in vars(module).items()
        if isinstance(value, type)
        and issubclass(value, keras.Layer)
        and value.__module__ == module.__name__
    }
    if name not in models and (name or len(models) != 1):
        choices = [f"{file}.{key}" for key in models]
        raise ValueError(f"component: expected one of {choices}, got {component!r}")
    return models[name] if name else next(iter(models.values()))
