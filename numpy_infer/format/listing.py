"""The layers of a model as data: what `describe` and `print(net)` show of each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from numpy_infer.format.entries import by_place
from numpy_infer.format.graph import follow

CHAIN = "chain"
GRAPH = "graph"
LISTED = (CHAIN, GRAPH)  # what is described layer by layer


def described(
    component: str, config: Mapping[str, Any], arrays: Mapping[str, np.ndarray]
) -> list[dict[str, Any]]:
    """Each layer of a model, of a graph with the shape of its output."""
    if component in LISTED:
        entries, owned = config["layers"], by_place(arrays, len(config["layers"]))
    else:
        entries = [{"layer": component, "previous": [], "config": config}]
        owned = [dict(arrays)]
    layers = [_layer(place, *both) for place, both in enumerate(zip(entries, owned, strict=True))]
    if component != GRAPH:
        return layers
    shapes = ["" if one is None else [*one] for one in follow(config, arrays)[1]]
    return [one | {"output": shape} for one, shape in zip(layers, shapes, strict=True)]


def _layer(
    place: int, entry: Mapping[str, Any], arrays: Mapping[str, np.ndarray]
) -> dict[str, Any]:
    return {
        "place": place,
        "layer": entry["layer"],
        "previous": entry["previous"],
        "config": entry["config"],
        "training": entry.get("training", {}),
        "arrays": {name: list(array.shape) for name, array in arrays.items()},
        "parameters": sum(array.size for array in arrays.values()),
        **{key: entry[key] for key in ("name", "shares") if key in entry},
    }
