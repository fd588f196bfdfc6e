"""From the description in a model file to layers.

A chain is a list of entries, one for each layer of `vocabulary.LAYERS`; any other component is
the only layer of its file, on an input.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from numpy_infer.format.entries import (
    check_chain,
    check_config,
    check_entry,
    check_parts,
    check_previous,
)
from numpy_infer.format.growth import ROOM, Space, space_after
from numpy_infer.format.loss_files import LOSSES
from numpy_infer.format.vocabulary import LAYERS
from numpy_infer.format.widths import widths_after
from numpy_infer.support.layer import Input, Layer

CHAIN = "chain"
COMPONENT = re.compile(r"([a-z][a-z0-9_]*)\.([A-Z][A-Za-z0-9]*)", re.ASCII)


def build(
    component: str, config: Mapping[str, Any], arrays: Mapping[str, np.ndarray]
) -> list[Layer]:
    """The layers of a net, the input first; ValueError or TypeError where they do not fit."""
    if component != CHAIN:
        start = Input()
        return [start, _component(start, component, config, arrays)]
    layers = places(config, arrays)
    output = layers[-1]
    return [*(layer for layer in dict.fromkeys(layers) if layer is not output), output]


def check(component: str, config: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> None:
    """Errors as from `build`, but for a loss: there is nothing of it to build."""
    if infers(component):
        build(component, config, arrays)
    else:
        _check_component(LOSSES[component], config, arrays)


def infers(component: str) -> bool:
    """Whether NumPy has more than the arrays of a component; ValueError for an unknown one."""
    if component in LOSSES:
        return False
    if component != CHAIN:
        _component_class(component)
    return True


def places(config: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> list[Layer]:
    """The layer at each place of a chain; at a dropout's, the one before it."""
    entries = config.get("layers")
    if config.keys() != {"layers"} or not isinstance(entries, list) or not entries:
        raise ValueError(f"config: expected a list of layers, got {config!r:.99}")
    if len(entries) == 1:
        raise ValueError("config: expected a layer after the input, got none")
    layers: list[Layer] = []
    widths: list[dict[int, int]] = []
    spaces: list[Space] = []
    most = ROOM + sum(array.nbytes for array in arrays.values())
    for place, (entry, own) in enumerate(zip(entries, by_place(arrays, len(entries)), strict=True)):
        check_entry(place, entry)
        name, previous = entry["layer"], entry["previous"]
        try:
            layers.append(_layer(entry, [layers[one] for one in previous], own))
            before = widths[previous[0]] if previous else {}
            widths.append(widths_after(name, entry["config"], own, before))
            near = [spaces[one] for one in previous]
            spaces.append(space_after(name, entry["config"], own, near, most))
        except (TypeError, ValueError) as error:
            raise ValueError(f"layer {place} ({name:.99}): {error}") from error
    check_chain(entries)
    return layers


def by_place(arrays: Mapping[str, np.ndarray], count: int) -> list[dict[str, np.ndarray]]:
    """A chain's arrays, {name: array} for each place; ValueError for one that has no place."""
    found: dict[str, dict[str, np.ndarray]] = {str(place): {} for place in range(count)}
    for path, array in arrays.items():
        place, _, name = path.partition(".")
        if place not in found or not name:
            raise ValueError(
                f"array {path!r:.99}: expected a place in 0..{count - 1} before its name"
            )
        found[place][name] = array
    return list(found.values())


def _layer(entry: dict[str, Any], previous: list[Layer], arrays: dict[str, np.ndarray]) -> Layer:
    name, config = entry["layer"], entry["config"]
    if name not in LAYERS:
        check_previous(previous, 1)
        return _component(previous[0], name, config, arrays)
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
    layer: Layer = layer_class(*previous, **_keywords(arrays), **config)
    return layer


def _component(
    previous: Layer, name: str, config: Mapping[str, Any], arrays: Mapping[str, np.ndarray]
) -> Layer:
    layer_class = _component_class(name)
    _check_component(layer_class, config, arrays)
    # The sizes are in the arrays; what is left are options.
    options = {key: value for key, value in config.items() if key in _options(layer_class)}
    layer: Layer = layer_class(previous, **_keywords(arrays), **options)
    return layer


def _check_component(
    layer_class: Any, config: Mapping[str, Any], arrays: Mapping[str, np.ndarray]
) -> None:
    """ValueError or TypeError unless config and arrays are a component's."""
    check_config(layer_class, config)
    wanted = {key: tuple(shape) for key, shape in layer_class.array_shapes(**config).items()}
    given = {key: array.shape for key, array in arrays.items()}
    if given != wanted:
        raise ValueError(f"arrays: expected {wanted!r:.999}, got {given!r:.999}")


def _component_class(name: str) -> Any:
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
