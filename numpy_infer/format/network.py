"""From the description in a model file to layers.

A chain is a list of entries, one for each layer of `vocabulary.LAYERS`; a graph is one whose
entries take any earlier ones (`graph`). Any other component is the only layer of its file, on an
input.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from numpy_infer.format import graph
from numpy_infer.format.building import check_component, component, component_class, layer
from numpy_infer.format.entries import by_place, check_chain, check_entry
from numpy_infer.format.growth import ROOM, Space, space_after
from numpy_infer.format.listing import GRAPH, LISTED, described
from numpy_infer.format.loss_files import LOSSES
from numpy_infer.format.tables import layer_table
from numpy_infer.format.widths import widths_after
from numpy_infer.support.layer import Input, Layer
from numpy_infer.support.net import Net, Results


def build(name: str, config: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> Net:
    """The layers of a net, the input first; ValueError or TypeError where they do not fit."""

    def table() -> str:
        return "\n".join(layer_table(described(name, config, arrays)))

    inputs, output = ["x"], "output"
    if name not in LISTED:
        start = Input()
        made = component(start, name, config, arrays)
        return Net([start, made], inputs, [output], table)
    layers = places(name, config, arrays)
    outputs = {output: layers[-1]}
    if name == GRAPH:
        inputs = list(config["inputs"])
        outputs = {key: layers[place] for key, place in config["outputs"].items()}
    last = next(iter(outputs.values())) if len(outputs) == 1 else Results(outputs)
    listed = [*(one for one in dict.fromkeys(layers) if one is not last), last]
    return Net(listed, inputs, [*outputs], table)


def check(name: str, config: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> None:
    """Errors as from `build`, but for a loss: there is nothing of it to build."""
    if infers(name):
        build(name, config, arrays)
    else:
        check_component(LOSSES[name], config, arrays)


def infers(name: str) -> bool:
    """Whether NumPy has more than the arrays of a component; ValueError for an unknown one."""
    if name in LOSSES:
        return False
    if name not in LISTED:
        component_class(name)
    return True


def places(name: str, config: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> list[Layer]:
    """The layer at each place of a chain or a graph; at a dropout's, the one before it."""
    if name == GRAPH:
        return graph.follow(config, arrays)[0]
    return _chain(config, arrays)


def _chain(config: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> list[Layer]:
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
            layers.append(layer(entry, [layers[one] for one in previous], own))
            before = widths[previous[0]] if previous else {}
            widths.append(widths_after(name, entry["config"], own, before))
            near = [spaces[one] for one in previous]
            spaces.append(space_after(name, entry["config"], own, near, most))
        except (TypeError, ValueError) as error:
            raise ValueError(f"layer {place} ({name:.99}): {error}") from error
    check_chain(entries)
    return layers
