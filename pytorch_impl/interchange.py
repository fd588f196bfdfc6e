"""Weights in and out of PyTorch, in the canonical layout that all four packages read.

A weight is called by its path in the module: `encoder.weight`. `nn.Linear` keeps its weight as
(out, in) and travels as (in, out); the parameters that a component owns itself are canonical.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn


def to_arrays(model: nn.Module) -> dict[str, np.ndarray]:
    """Copies of the model's weights, {canonical name: canonical array}."""
    return {
        name: convert(parameter.detach()).cpu().numpy().copy()
        for name, parameter, convert in _weights(model)
    }


def from_arrays(
    component: str, config: Mapping[str, Any], arrays: Mapping[str, np.ndarray]
) -> nn.Module:
    """The model of a component, built from its constructor arguments and its weights.

    component: the file's name, such as "padded_embedding"; where a file holds several models,
    "file.Class". arrays: as from `to_arrays`, all float32 or all float64, which becomes the
    model's dtype. TypeError for any other, ValueError for an unknown component and for missing,
    extra or wrongly shaped arrays.
    """
    model = _model_class(component)(**config)
    dtype = _dtype(arrays)
    model.to(getattr(torch, dtype.name))
    load_arrays(model, arrays)
    return model


def load_arrays(model: nn.Module, arrays: Mapping[str, np.ndarray]) -> None:
    """Overwrite all weights of a model; it is left as it was when the arrays do not fit."""
    weights = list(_weights(model))
    wanted = {name: _describe(convert(parameter)) for name, parameter, convert in weights}
    given = {name: _describe(array) for name, array in arrays.items()}
    if given != wanted:
        raise ValueError(f"arrays: expected {wanted}, got {given}")
    with torch.no_grad():
        for name, parameter, convert in weights:
            convert(parameter).copy_(torch.from_numpy(np.asarray(arrays[name], order="C")))


def _weights(model: nn.Module) -> Iterator[tuple[str, nn.Parameter, Callable[[Tensor], Tensor]]]:
    """Each parameter with its canonical name and the view that is its canonical layout."""
    for path, module in model.named_modules():
        for name, parameter in module.named_parameters(recurse=False):
            transposed = isinstance(module, nn.Linear) and name == "weight"
            yield f"{path}.{name}".lstrip("."), parameter, torch.t if transposed else _as_is


def _describe(array: Tensor | np.ndarray) -> str:
    return f"{str(array.dtype).removeprefix('torch.')}{tuple(array.shape)}"


def _as_is(parameter: Tensor) -> Tensor:
    return parameter


def _dtype(arrays: Mapping[str, np.ndarray]) -> np.dtype:
    """The dtype that all arrays share; the framework's own when there are none."""
    dtypes = {array.dtype for array in arrays.values()} or {np.dtype("float32")}
    if len(dtypes) > 1 or not dtypes <= {np.dtype("float32"), np.dtype("float64")}:
        names = ", ".join(sorted(map(str, dtypes)))
        raise TypeError(f"arrays: expected float32 or float64 throughout, got {names}")
    return dtypes.pop()


def _model_class(component: str) -> type[nn.Module]:
    file, _, name = component.partition(".")
    try:
        module = importlib.import_module(f"pytorch_impl.{file}")
    except ImportError:
        raise ValueError(f"component: expected a file of pytorch_impl, got {file!r}") from None
    models = {
        key: value
        for key, value in vars(module).items()
        if isinstance(value, type)
        and issubclass(value, nn.Module)
        and value.__module__ == module.__name__
    }
    if name not in models and (name or len(models) != 1):
        choices = [f"{file}.{key}" for key in models]
        raise ValueError(f"component: expected one of {choices}, got {component!r}")
    return models[name] if name else next(iter(models.values()))
