"""The shape of each value of a graph, from the shapes of its inputs: what fits, and what cannot.

A shape is (batch, *sizes), None for a size that is not known, the batch's always; a value of which
nothing is known, as the output of a component, has the shape None.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from numpy_infer.format.axes import GROWN, fewest, ranks
from numpy_infer.format.growth import window_spans
from numpy_infer.format.row import (
    ATTENDED,
    AVERAGED,
    EXTENDED,
    JOINED,
    PERMUTED,
    REDUCED,
    RESHAPED,
    RESTORED,
    SCALED,
    SIZED,
    SPATIAL,
    UNFOLDED,
    WINDOWS,
)
from numpy_infer.format.tables import shown
from numpy_infer.format.vocabulary import LAYERS
from numpy_infer.format.widths import made as width_made
from numpy_infer.format.widths import taken as width_taken

Size = int | None
Shape = tuple[Size, ...]


def shape_after(
    name: str,
    config: Mapping[str, Any],
    arrays: Mapping[str, np.ndarray],
    before: Sequence[Shape | None],
) -> Shape | None:
    """The shape of a layer's output; ValueError when the shapes before it are not what it takes."""
    if name not in LAYERS:
        return None  # a component may give anything
    row = LAYERS[name]
    if row.combines in (ATTENDED, AVERAGED):
        return _over_time(row.combines, before, config.get("heads", 1))
    if row.combines:
        known = [shape for shape in before if shape is not None]
        _check_ranks(known)
        if len(known) < len(before):
            return None
        return _joined(known, config["axis"]) if row.combines == JOINED else _broadcast(known)
    x = before[0]
    if x is None:
        return None
    taken, given = ranks(name, config)
    least = fewest(name, config) if row.moves != () else 2  # Flatten takes rows too
    wanted = taken if isinstance(taken, int) else None
    if (wanted or len(x)) != len(x) or len(x) < (least or 0):
        raise ValueError(f"previous: expected {wanted or least} axes, got {shown(x)}")
    width = width_taken(row, config, {key: array.shape for key, array in arrays.items()})
    if row.widths is not None and width is not None:
        axis = row.widths.axis
        if x[axis] not in (None, width):
            what = "channels" if axis == 1 else "features"
            raise ValueError(f"previous: expected {width} {what}, got {shown(x)}")
    after = _after(name, config, arrays, x, before, taken, given)
    if any(one is not None and one < 1 for one in after):
        raise ValueError(f"previous: expected larger windows of data, got {shown(x)}")
    return after


def _after(
    name: str,
    config: Mapping[str, Any],
    arrays: Mapping[str, np.ndarray],
    x: Shape,
    before: Sequence[Shape | None],
    taken: Any,
    given: Any,
) -> Shape:
    row = LAYERS[name]
    shape = list(x)
    if taken == GROWN:
        shape.append(None)
    elif row.axes == RESHAPED:
        shape[1:] = _reshaped(x[1:], config["shape"])
    elif row.axes == PERMUTED:
        shape = [x[0], *(x[axis] for axis in config["order"])]
    elif name == "Slice":
        shape[config["axis"]] = _kept(x, **config)
    elif row.axes == REDUCED:
        width = x[1] if row.moves else product(x[1:])
        shape = [x[0], width] if given == 2 else [*x[:2], *[1] * (len(x) - 2)]
    elif isinstance(given, int) and given < len(x):
        shape = [x[0], x[-1]]  # the last state of a sequence
    elif row.axes == SPATIAL:
        other = before[1] if row.space == RESTORED else None
        shape[2:] = _space(row.space, config, arrays, x[2:], other)
    elif row.moves and row.moves[0][0] != row.moves[0][1]:
        first = row.moves[0] == (-1, 1)
        shape = [x[0], x[-1], *x[1:-1]] if first else [x[0], *x[2:], x[1]]
    if row.widths is not None:
        sizes = {key: array.shape for key, array in arrays.items()}
        shape[row.widths.axis] = width_made(row, config, sizes)
    return tuple(shape)


def _reshaped(sizes: Sequence[Size], shape: Sequence[int]) -> list[Size]:
    """The sizes of a row in another shape; ValueError where the entries are not as many."""
    total, known = product(sizes), math.prod(one for one in shape if one != -1)
    if total is not None and (total % known if -1 in shape else total != known):
        wanted = f"a multiple of {known}" if -1 in shape else str(known)
        raise ValueError(f"previous: expected {wanted} entries for each row, got {total}")
    rest = None if total is None else total // known
    return [rest if one == -1 else one for one in shape]


def _kept(x: Shape, start: int, stop: int, axis: int) -> int:
    """How many places a slice keeps; ValueError where there are not as many."""
    size = x[axis]
    if size is not None and size < stop:
        raise ValueError(f"previous: expected {stop} places along axis {axis}, got {shown(x)}")
    return stop - start


def _space(
    rule: str,
    config: Mapping[str, Any],
    arrays: Mapping[str, np.ndarray],
    sizes: Sequence[Size],
    restored: Shape | None,
) -> list[Size]:
    if rule == RESTORED:
        return [None] * len(sizes) if restored is None else list(restored[2:])
    if rule == EXTENDED:
        pairs = zip(sizes, config["padding"], strict=True)
        return [None if n is None else n + sum(ends) for n, ends in pairs]
    if rule == SCALED:
        scales = zip(sizes, config["scale"], strict=True)
        return [None if n is None else n * scale for n, scale in scales]
    if rule == SIZED:
        return list(config["size"])
    if rule not in (WINDOWS, UNFOLDED):
        return list(sizes)
    spans = window_spans(config, arrays)
    after: list[Size] = []
    parts = zip(sizes, spans, config["stride"], config["padding"], strict=True)
    for n, span, stride, padding in parts:
        if n is None:
            after.append(None)
        elif rule == UNFOLDED:
            after.append((n - 1) * stride + span - sum(padding))
        else:
            after.append((n + sum(padding) - span) // stride + 1)
    return after


def _over_time(rule: str, before: Sequence[Shape | None], heads: int) -> Shape | None:
    """What attention gives, or a mean over time; a mask, (batch, time), comes last."""
    sequences = list(before[:3] if rule == ATTENDED else before[:1])
    for shape in sequences:
        if shape is not None and len(shape) != 3:
            raise ValueError(f"previous: expected 3 axes, got {shown(shape)}")
        if shape is not None and shape[2] is not None and shape[2] % heads:
            raise ValueError(f"previous: expected {heads} equal heads, got {shown(shape)}")
    masks = before[len(sequences) :]
    # What has to be equal: the times of keys, of values and of their mask, and the widths of heads.
    times = [shape[1] for shape in sequences[-2:] if shape is not None]
    for shape in masks:
        if shape is not None and len(shape) != 2:
            raise ValueError(f"previous: expected a mask of 2 axes, got {shown(shape)}")
        times += [] if shape is None else [shape[1]]
    widths = [shape[2] for shape in sequences[:-1] if shape is not None]
    for sizes in (times, widths):
        if len({one for one in sizes if one is not None}) > 1:
            raise ValueError(
                "previous: expected equal times of keys, values and mask, and equal widths of "
                "queries and keys, got "
                + " and ".join(shown(shape) for shape in before if shape is not None)
            )
    first, last = sequences[0], sequences[-1]
    if rule == AVERAGED:
        return None if last is None else (last[0], last[2])
    return None if first is None or last is None else (first[0], first[1], last[2])


def _check_ranks(shapes: Sequence[Shape]) -> None:
    for shape in shapes[1:]:
        if len(shape) != len(shapes[0]):
            raise ValueError(
                f"previous: expected as many axes of each, got {shown(shapes[0])} and "
                f"{shown(shape)}"
            )


def _broadcast(shapes: Sequence[Shape]) -> Shape:
    after: list[Size] = []
    for sizes in zip(*shapes, strict=True):
        larger = {one for one in sizes if one not in (None, 1)}
        if len(larger) > 1:
            raise ValueError(
                "previous: expected equal sizes, or 1, got "
                + " and ".join(shown(one) for one in shapes[:9])
            )
        after.append(larger.pop() if larger else None if None in sizes else 1)
    return tuple(after)


def _joined(shapes: Sequence[Shape], axis: int) -> Shape:
    axis %= len(shapes[0])
    if axis == 0:
        raise ValueError(f"previous: expected at least 2 axes, got {shown(shapes[0])}")
    rest = [(*shape[:axis], 1, *shape[axis + 1 :]) for shape in shapes]
    for sizes in zip(*rest, strict=True):
        if len({one for one in sizes if one is not None}) > 1:
            raise ValueError(
                f"previous: expected shapes that differ on axis {axis} alone, got "
                + " and ".join(shown(one) for one in shapes[:9])
            )
    together = _broadcast(rest)
    own = [shape[axis] for shape in shapes]
    joined = None if None in own else sum(one for one in own if one is not None)
    return (*together[:axis], joined, *together[axis + 1 :])


def product(sizes: Sequence[Size]) -> Size:
    """How many entries axes of these sizes have; None where one is not known."""
    return None if None in sizes else math.prod(one for one in sizes if one is not None)
