"""From one entry of a model file to one layer of NumPy's: a row's class, or a component's."""

from __future__ import annotations

import importlib
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from numpy_infer.format.entries import check_config, check_parts, check_previous
from numpy_infer.format.vocabulary import LAYERS
from numpy_infer.support.layer import Input, Layer

COMPONENT = re.compile(r"([a-z][a-z0-9_]*)\.([A-Z][A-Za-z0-9]*)", re.ASCII)


def layer(
    entry: Mapping[str, Any], previous: Sequence[Layer], arrays: Mapping[str, np.ndarray]
) -> Layer:
    """The layer of an entry, on those before it; ValueError or TypeError where it does not fit."""
    name, config = entry["layer"], entry["config"]
    if name not in LAYERS:
        check_previous(previous, 1)
        return component(previous[0], name, config, arrays)
    file = LAYERS[name].file
    if not file:  # Input and Dropout do nothing at inference
        check_previous(previous, LAYERS[name].inputs)
        if config or arrays:
            raise ValueError("expected no config and no arrays")
        return previous[0] if previous else Input()
    check_parts(entry, arrays)
    layer_class = getattr(importlib.import_module(f"numpy_infer.{file}"), name)
    if name == "Embedding" and entry["training"]["padding"] and arrays["table"][:1].any():
        raise ValueError(f"table: expected zeros in row 0, got {arrays['table'][0]!r:.99}")
    made: Layer = layer_class(*previous, **_keywords(arrays), **config)
    return made


def component(
    previous: Layer, name: str, config: Mapping[str, Any], arrays: Mapping[str, np.ndarray]
) -> Layer:
    """A component on the layer before it."""
    layer_class = component_class(name)
    check_component(layer_class, config, arrays)
    # The sizes are in the arrays; what is left are options.
    options = {key: value for key, value in config.items() if key in _options(layer_class)}
    made: Layer = layer_class(previous, **_keywords(arrays), **options)
    return made


def check_component(
    layer_class: Any, config: Mapping[str, Any], arrays: Mapping[str, np.ndarray]
) -> None:
    """ValueError or TypeError unless config and arrays are a component's."""
    check_config(layer_class, config)
    wanted = {key: tuple(shape) for key, shape in layer_class.array_shapes(**config).items()}
    given = {key: array.shape for key, array in arrays.items()}
    if given != wanted:
        raise ValueError(f"arrays: expected {wanted!r:.999}, got {given!r:.999}")


def component_class(name: str) -> Any:
    """The class that stands for a component here; ValueError when there is none."""
    match = COMPONENT.fullmatch(name)
    if match is None:
        known = ", ".join(name for name, row in LAYERS.items() if row.file)
        raise ValueError(f"layer: expected one of {known} or a component, got {name!r:.99}")
    module_name = f"numpy_infer.{match[1]}"
    try:
        found = getattr(importlib.import_module(module_name), match[2], None)
    except ModuleNotFoundError:
        found = None
    own = isinstance(found, type) and issubclass(found, Layer) and found.__module__ == module_name
    if not own or not hasattr(found, "array_shapes"):
        raise ValueError(f"component: expected one that infers, or a chain, got {name!r:.99}")
    return found


def _options(layer_class: type[Layer]) -> tuple[str, ...]:
    """The names of the constructor's keyword arguments."""
    code = layer_class.__init__.__code__
    return code.co_varnames[code.co_argcount : code.co_argcount + code.co_kwonlyargcount]


def _keywords(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name.replace(".", "_"): array for name, array in arrays.items()}
