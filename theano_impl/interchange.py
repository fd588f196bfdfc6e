"""Weights in and out of Theano, in the canonical layout that all four packages read.

The layers of this package keep their shared variables in that layout, named by their path in
the layer: `encoder.weight`.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import theano
from theano.tensor.var import TensorVariable

from theano_impl.layer import Layer


def to_arrays(model: Layer) -> dict[str, np.ndarray]:
    """Copies of the model's weights, {canonical name: canonical array}."""
    return {param.name: param.get_value() for param in model.params}


def from_arrays(
    component: str,
    config: Mapping[str, Any],
    arrays: Mapping[str, np.ndarray],
    *,
    inputs: Sequence[TensorVariable] | None = None,
) -> Layer:
    """The model of a component, built from its constructor arguments and its weights.

    component: the file's name, such as "padded_embedding"; where a file holds several models,
    "file.Class". arrays: as from `to_arrays`, all float32 or all float64, which becomes the
    model's dtype. inputs: the symbolic variables to build it on; new ones, to be found in the
    model's `.inputs`, when left out. TypeError for any other, ValueError for an unknown
    component and for missing, extra or wrongly shaped arrays.
    """
    dtype = _dtype(arrays)
    model_class = _model_class(component)
    if inputs is None:
        inputs = model_class.symbolic_inputs(dtype.name)
    with theano.config.change_flags(floatX=dtype.name):
        model = model_class(*inputs, **config)
    load_arrays(model, arrays)
    return model


def load_arrays(model: Layer, arrays: Mapping[str, np.ndarray]) -> None:
    """Overwrite all weights of a model; it is left as it was when the arrays do not fit."""
    wanted = {param.name: _describe(param.get_value(borrow=True)) for param in model.params}
    given = {name: _describe(array) for name, array in arrays.items()}
    if given != wanted:
        raise ValueError(f"arrays: expected {wanted}, got {given}")
    for param in model.params:
        param.set_value(arrays[param.name])


def _describe(array: np.ndarray) -> str:
    return f"{array.dtype}{array.shape}"


def _dtype(arrays: Mapping[str, np.ndarray]) -> np.dtype:
    """The dtype that all arrays share; the framework's own when there are none."""
    dtypes = {array.dtype for array in arrays.values()} or {np.dtype(theano.config.floatX)}
    if len(dtypes) > 1 or not dtypes <= {np.dtype("float32"), np.dtype("float64")}:
        names = ", ".join(sorted(map(str, dtypes)))
        raise TypeError(f"arrays: expected float32 or float64 throughout, got {names}")
    return dtypes.pop()


def _model_class(component: str) -> type[Layer]:
    file, _, name = component.partition(".")
    try:
        module = importlib.import_module(f"theano_impl.{file}")
    except ImportError:
        raise ValueError(f"component: expected a file of theano_impl, got {file!r}") from None
    models = {
        key: value
        for key, value in vars(module).items()
        if isinstance(value, type)
        and issubclass(value, Layer)
        and value.__module__ == module.__name__
    }
    if name not in models and (name or len(models) != 1):
        choices = [f"{file}.{key}" for key in models]
        raise ValueError(f"component: expected one of {choices}, got {component!r}")
    return models[name] if name else next(iter(models.values()))
