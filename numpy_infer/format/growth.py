"""How much larger than its input can what a chain computes become? Asked before it is called.

Paddings and strides are numbers in a file, and cost nothing there. So the places along a spatial
axis are followed from layer to layer, as `times · n + more` for n places of the input, and may not
outgrow the file: a model that unfolds an entry to a million of them has arrays to match.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from numpy_infer.format.row import KEPT, LOST, RESTORED, UNFOLDED, WINDOWS
from numpy_infer.format.vocabulary import LAYERS

ROOM = 1024  # places for each of the input's that need no arrays

Axis = tuple[float, float]  # times, more
Space = tuple[Axis, ...]  # of each spatial axis; none where it is not known yet


def space_after(
    name: str,
    config: Mapping[str, Any],
    arrays: Mapping[str, np.ndarray],
    before: Sequence[Space],
    most: int,
) -> Space:
    """The space of a layer's output, given those of the layers before it.

    ValueError when it, or what is padded for it, has more than `most` places for one of the input.
    """
    if name not in LAYERS:
        return ()  # a component may give anything
    if LAYERS[name].combines:
        return _largest(before)
    rule = LAYERS[name].space
    if rule not in (WINDOWS, UNFOLDED):
        kept = {KEPT: before[:1], RESTORED: before[1:], LOST: ()}[rule]
        return kept[0] if kept else ()
    spans = window_spans(config, arrays)
    axes = before[0] if len(before[0]) == len(spans) else ((1, 0),) * len(spans)
    grow = _unfolded if rule == UNFOLDED else _padded
    parts = zip(axes, spans, config["stride"], config["padding"], strict=True)
    largest, after = zip(*[grow(*part) for part in parts], strict=True)
    growth = places(largest)
    if growth > most:
        raise ValueError(
            f"padding, stride: expected at most {most} places for one of the input, "
            f"{ROOM} and as many as the arrays have bytes, got {growth:.0f}"
        )
    return after


def places(space: Space) -> float:
    """How many places a space has for one of the input."""
    return math.prod(times + max(more, 0) for times, more in space)


def window_spans(config: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> Sequence[int]:
    """How far a window of a pool or a convolution reaches on each axis, its gaps included."""
    if "size" in config:
        size: Sequence[int] = config["size"]
        return size
    kernel, dilation = arrays["weight"].shape[2:], config["dilation"]
    return [step * (n - 1) + 1 for n, step in zip(kernel, dilation, strict=True)]


def _largest(before: Sequence[Space]) -> Space:
    """The space of what several values are combined to: on each axis the largest."""
    axes = max(map(len, before))
    known = [space for space in before if len(space) == axes]
    return tuple(max(sizes) for sizes in zip(*known, strict=True))


def _padded(axis: Axis, span: int, stride: int, padding: Sequence[int]) -> tuple[Axis, Axis]:
    """What windows slide over, and how many there are."""
    times, more = axis
    more += sum(padding)
    return (times, more), (times / stride, (more - span) / stride + 1)


def _unfolded(axis: Axis, span: int, stride: int, padding: Sequence[int]) -> tuple[Axis, Axis]:
    """The full output of a transposed convolution, and what is left of it."""
    times, more = axis
    before, after = padding
    times, more = times * stride, (more - 1) * stride + span + max(0, -after)
    return (times, more), (times, more - before - max(0, after))
