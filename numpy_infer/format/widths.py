"""Do the layers of a chain fit together, as far as their arrays tell without an input?

The widths of the output are followed from layer to layer, {1: channels, -1: features}, each where
it is certain. A layer that meets another width than its own can never run.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np


def widths_after(
    name: str, config: Mapping[str, Any], arrays: Mapping[str, np.ndarray], before: dict[int, int]
) -> dict[int, int]:
    """The widths of a layer's output; ValueError when those before it are not what it takes."""
    shapes = {key: array.shape for key, array in arrays.items()}
    match name:
        case "Projection":
            _check(before, -1, shapes["weight"][0])
            return {-1: shapes["weight"][1]}
        case "Convolution":
            _check(before, 1, shapes["weight"][1])
            return {1: shapes["weight"][0]}
        case "TransposedConvolution":
            _check(before, 1, shapes["weight"][0])
            return {1: shapes["weight"][1]}
        case "GRU":
            _check(before, -1, shapes["input_weight"][0])
            ways = 2 if config["direction"] == "both" else 1
            return {-1: ways * shapes["hidden_weight"][0]}
        case "BatchNorm":
            _check(before, 1, shapes["scale"][0])
            return before | {1: shapes["scale"][0]}
        case "LayerNorm":
            _check(before, -1, shapes["scale"][0])
            return before | {-1: shapes["scale"][0]}
        case "Embedding":
            return {-1: shapes["table"][1]}
        case "MaxPool" | "MaxUnpool" | "AveragePool":
            return _moved(before, 1, 1)
        case "GlobalAveragePool" | "GlobalMaxPool":
            return _moved(before, 1, 1) | ({} if config["keepdims"] else _moved(before, 1, -1))
        case "ChannelsFirst":
            return _moved(before, -1, 1)
        case "ChannelsLast":
            return _moved(before, 1, -1)
        case "Flatten":
            return {}
    return {} if "." in name else before  # a component may give anything, the others keep widths


def _check(before: dict[int, int], axis: int, width: int) -> None:
    if before.get(axis, width) != width:
        what = "channels" if axis == 1 else "features"
        raise ValueError(f"previous: expected {width} {what}, got {before[axis]}")


def _moved(before: dict[int, int], axis: int, to: int) -> dict[int, int]:
    return {to: before[axis]} if axis in before else {}
