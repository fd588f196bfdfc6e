"""Do the layers of a chain fit together, as far as their arrays tell without an input?

The widths of the output are followed from layer to layer, {1: channels, -1: features}, each where
it is certain. A layer that meets another width than its own can never run.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from numpy_infer.format.row import Row
from numpy_infer.format.vocabulary import LAYERS


def widths_after(
    name: str, config: Mapping[str, Any], arrays: Mapping[str, np.ndarray], before: dict[int, int]
) -> dict[int, int]:
    """The widths of a layer's output; ValueError when those before it are not what it takes."""
    if name not in LAYERS:
        return {}  # a component may give anything
    row = LAYERS[name]
    if row.widths is not None:
        axis, taken, made = row.widths
        if taken is not None:
            _check(before, axis, size(row, taken, arrays))
        ways = 2 if config.get("direction") == "both" else 1
        kept = before if taken == made else {}
        return kept | {axis: ways * size(row, made, arrays)}
    if row.moves is None:
        return before
    return {
        to: before[axis]
        for axis, to in row.moves
        if axis in before and (axis == to or not config.get("keepdims"))
    }


def size(row: Row, letter: str, arrays: Mapping[str, Any]) -> int:
    """What a letter of a layer's shapes stands for, in arrays that are there."""
    name, shape = next(
        (name, shape) for name, shape in row.arrays.items() if letter in shape and name in arrays
    )
    return int(arrays[name].shape[shape.index(letter)])


def _check(before: dict[int, int], axis: int, width: int) -> None:
    if before.get(axis, width) != width:
        what = "channels" if axis == 1 else "features"
        raise ValueError(f"previous: expected {width} {what}, got {before[axis]}")
