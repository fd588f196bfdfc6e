"""Do the layers of a chain fit together, as far as their arrays tell without an input?

The widths of the output are followed from layer to layer, {1: channels, -1: features}, each where
it is certain. A layer that meets another width than its own can never run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
        axis, letter, same, _ = row.widths
        shapes = {key: array.shape for key, array in arrays.items()}
        width = taken(row, config, shapes)
        if width is not None:
            _check(before, axis, width)
        kept = before if letter == same else {}
        return kept | {axis: made(row, config, shapes)}
    if row.moves is None:
        return before
    return {
        to: before[axis]
        for axis, to in row.moves
        if axis in before and (axis == to or not config.get("keepdims"))
    }


def taken(row: Row, config: Mapping[str, Any], shapes: Mapping[str, Sequence[int]]) -> int | None:
    """The width of what a layer takes, by the shapes of its arrays; None where any is right."""
    if row.widths is None or row.widths.taken is None:
        return None
    return _size(row, row.widths.taken, shapes) * int(config.get(row.widths.times, 1))


def made(row: Row, config: Mapping[str, Any], shapes: Mapping[str, Sequence[int]]) -> int:
    """The width of what a layer with widths gives, by the shapes of its arrays."""
    assert row.widths is not None
    ways = 2 if config.get("direction") == "both" else 1
    return ways * _size(row, row.widths.made, shapes)


def _size(row: Row, letter: str, shapes: Mapping[str, Sequence[int]]) -> int:
    """What a letter of a layer's shapes stands for, in arrays that are there."""
    name, shape = next(
        (name, shape) for name, shape in row.arrays.items() if letter in shape and name in shapes
    )
    return shapes[name][shape.index(letter)]


def _check(before: dict[int, int], axis: int, width: int) -> None:
    if before.get(axis, width) != width:
        what = "channels" if axis == 1 else "features"
        raise ValueError(f"previous: expected {width} {what}, got {before[axis]}")
