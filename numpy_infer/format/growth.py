"""How much larger than its input can what a chain computes become? Asked before it is called.

Paddings and strides are numbers in a file, and cost nothing there. So the places along a spatial
axis are followed from layer to layer, as `times · n + more` for n places of the input, and may not
outgrow the file: a model that unfolds an entry to a million of them has arrays to match.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from numpy_infer.format.row import CARRIED, EXTENDED, KEPT, LOST, RESTORED, SCALED, SIZED, UNFOLDED
from numpy_infer.format.vocabulary import LAYERS

ROOM = 1024  # places for each of the input's that need no arrays
SIZE = 2**20  # places that any model may resize to, whatever its input

Axis = tuple[float, float]  # times, more


class Space(NamedTuple):
    """How large a value has become.

    axes: of each spatial axis, none where they are not known. carried: what the entries had grown
    by before they came to other axes, where no rule follows them any more.
    """

    axes: tuple[Axis, ...] = ()
    carried: float = 1


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
        return Space()  # a component may give anything
    if LAYERS[name].combines:
        return _largest(before)
    rule = LAYERS[name].space
    if not before:
        return Space()
    if rule in (KEPT, RESTORED):
        return before[rule == RESTORED]
    if rule in (LOST, CARRIED):
        return Space((), places(before[0]) if rule == CARRIED else before[0].carried)
    if rule in (SCALED, SIZED):
        return _resampled(rule, config, before[0], most)
    if rule == EXTENDED:
        steps = [1] * len(config["padding"])
        spans: Sequence[int] = steps
    else:
        spans, steps = window_spans(config, arrays), config["stride"]
    axes, carried = before[0]
    if len(axes) != len(spans):
        axes, carried = ((1, 0),) * len(spans), places(before[0])
    grow = _unfolded if rule == UNFOLDED else _padded
    parts = zip(axes, spans, steps, config["padding"], strict=True)
    largest, after = zip(*[grow(*part) for part in parts], strict=True)
    _check("padding, stride", places(Space(largest, carried)), most)
    return Space(after, carried)


def _resampled(rule: str, config: Mapping[str, Any], before: Space, most: int) -> Space:
    """A multiple of the space, or a size that is the same for every input."""
    axes, carried = before
    numbers = config["scale" if rule == SCALED else "size"]
    if rule == SIZED:
        _check("size", math.prod(numbers), max(most, SIZE))
        return Space(tuple((0, size) for size in numbers), carried)
    if len(axes) != len(numbers):
        axes, carried = ((1, 0),) * len(numbers), places(before)
    pairs = zip(axes, numbers, strict=True)
    after = Space(tuple((times * scale, more * scale) for (times, more), scale in pairs), carried)
    _check("scale", places(after), most)
    return after


def _check(name: str, growth: float, most: int) -> None:
    if growth > most:
        raise ValueError(
            f"{name}: expected at most {most} places for one of the input, "
            f"{ROOM} and as many as the arrays have bytes, got {growth:.0f}"
        )


def places(space: Space) -> float:
    """How many places a space has for one of the input."""
    return space.carried * math.prod(times + max(more, 0) for times, more in space.axes)


def window_spans(config: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> Sequence[int]:
    """How far a window of a pool or a convolution reaches on each axis, its gaps included."""
    if "size" in config:
        size: Sequence[int] = config["size"]
        return size
    kernel, dilation = arrays["weight"].shape[2:], config["dilation"]
    return [step * (n - 1) + 1 for n, step in zip(kernel, dilation, strict=True)]


def _largest(before: Sequence[Space]) -> Space:
    """The space of what several values are combined to: on each axis the largest."""
    rank = max(len(space.axes) for space in before)
    known = [space.axes for space in before if len(space.axes) == rank]
    carried = [space.carried if len(space.axes) == rank else places(space) for space in before]
    return Space(tuple(max(sizes) for sizes in zip(*known, strict=True)), max(carried))


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
