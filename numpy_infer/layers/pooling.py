"""Pooling over windows or over all places; of equal entries the first is the largest.

A window's maximum or sum is taken along one axis after the other, by shifted slices: of the input
itself, or where windows are large and many of windows of 1, 2, 4, … places, which take as many
steps as the size has binary digits.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from numpy_infer.layers.windows import check_space, pad, shifted, window_counts
from numpy_infer.support.checks import (
    check_dtype,
    check_flag,
    check_floating,
    check_padding,
    check_shape,
    check_sizes,
)
from numpy_infer.support.layer import Layer

LARGE = 16  # places of a window along an axis, beyond which slices cost more than their entries


class Pooled(NamedTuple):
    """The largest entries, and where each stands in its plane, numbered row after row (int64)."""

    values: np.ndarray
    positions: np.ndarray


def max_pool(
    x: np.ndarray,
    size: Sequence[int],
    stride: Sequence[int] | None = None,
    padding: Sequence[Sequence[int]] | None = None,
) -> Pooled:
    """The largest entry of each window and its position in x, in which padding has no place.

    x: (batch, channels, *space); both results are (batch, channels, *windows). stride: None for
    the size. padding: of −∞, less than size; None for none. A window that overhangs is left out.
    NaN is the largest. ValueError for an x that is smaller than the window.
    """
    stride = size if stride is None else stride
    padding = [[0, 0]] * len(size) if padding is None else padding
    counts = _counts(x, size, stride, padding)
    values, positions = pad(x, padding, -math.inf), np.zeros([1] * x.ndim, np.int64)
    for axis in range(x.ndim - 1, 1, -1):  # rows last: of equal entries the first row's wins
        n, (before, _) = x.shape[axis], padding[axis - 2]
        places = np.arange(values.shape[axis], dtype=np.int64) - before
        # In a window of −∞ alone padding may come first; what it leads to is in the window too.
        places = places.clip(0, n - 1) * math.prod(x.shape[axis + 1 :])
        positions = positions + places.reshape(-1, *[1] * (x.ndim - 1 - axis))
        if size[axis - 2] > LARGE:
            values, positions = _largest(values, positions, size[axis - 2], stride[axis - 2], axis)
            continue
        first, *others = _shifts(size, stride, counts, axis)
        largest, found = values[first], positions[first]
        for one in others:
            larger = ~((largest >= values[one]) | (largest != largest))
            largest = np.maximum(largest, values[one])
            # Not np.where, which is ten times slower where the choice is hard to foresee.
            found = found + (positions[one] - found) * larger
        values, positions = largest, found
    return Pooled(values, np.broadcast_to(positions, values.shape))


def max_unpool(values: np.ndarray, positions: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """Each value at its position, zeros elsewhere: what `max_pool` gave, in its input's shape.

    values, positions: (batch, channels, *windows); shape: (batch, channels, *space), which is
    returned. The windows must not have overlapped.
    """
    check_floating("values", values)
    check_shape("values", values, positions.shape)
    y = np.zeros((math.prod(shape[:2]), math.prod(shape[2:])), values.dtype)
    places = math.prod(values.shape[2:])
    np.put_along_axis(y, positions.reshape(len(y), places), values.reshape(len(y), places), axis=1)
    return y.reshape(shape)


def average_pool(
    x: np.ndarray,
    size: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[Sequence[int]],
    *,
    count_padding: bool,
) -> np.ndarray:
    """The mean of each window. x: (batch, channels, *space); returns (batch, channels, *windows).

    padding: of zeros; count_padding: whether they count, otherwise less than size. A window that
    overhangs is left out. ValueError for an x that is smaller than the window.
    """
    counts = _counts(x, size, stride, padding)
    y = _reduce(np.add, pad(x, padding), size, stride, counts)
    if count_padding or not any(map(any, padding)):
        y /= math.prod(size)
    else:
        real = pad(np.ones((1, 1, *x.shape[2:]), x.dtype), padding)
        y /= _reduce(np.add, real, size, stride, counts)
    return y


class MaxPool(Layer):
    """The largest entry of each window.

    size, stride: one number for each of one or two spatial axes; padding: (before, after) of −∞
    for each, less than size.
    """

    def __init__(
        self,
        previous: Layer,
        *,
        size: Sequence[int],
        stride: Sequence[int],
        padding: Sequence[Sequence[int]],
    ) -> None:
        super().__init__(previous)
        self.size, self.stride, self.padding = _checked_window(size, stride, padding)

    def forward(self, x: np.ndarray) -> np.ndarray:
        """x: (batch, channels, *space). Returns (batch, channels, *windows)."""
        counts = _counts(x, self.size, self.stride, self.padding)
        x = pad(x, self.padding, -math.inf)
        return _reduce(np.maximum, x, self.size, self.stride, counts)


class MaxUnpool(Layer):
    """What a `MaxPool` left out comes back as zeros: the shape of its input.

    previous: the pooled values, or what was made of them; pooled_input: what the pool was given.
    size, stride and padding are the pool's; stride is at least size.
    """

    def __init__(
        self,
        previous: Layer,
        pooled_input: Layer,
        *,
        size: Sequence[int],
        stride: Sequence[int],
        padding: Sequence[Sequence[int]],
    ) -> None:
        super().__init__(previous, pooled_input)
        self.size, self.stride, self.padding = _checked_window(size, stride, padding)
        if any(jump < places for jump, places in zip(self.stride, self.size, strict=True)):
            raise ValueError(f"stride: expected at least size {list(size)}, got {list(stride)}")

    def forward(self, values: np.ndarray, x: np.ndarray) -> np.ndarray:
        """values: (batch, channels, *windows), x: (batch, channels, *space). Returns x's shape."""
        check_floating("values", values)
        positions = max_pool(x, self.size, self.stride, self.padding).positions
        check_dtype("values", values, x.dtype)
        check_shape("values", values, positions.shape)
        return max_unpool(values, positions, x.shape)


class AveragePool(Layer):
    """The mean of each window.

    size, stride: one number for each of one or two spatial axes; padding: (before, after) zeros
    for each; count_padding: whether they count, otherwise they are less than size.
    """

    def __init__(
        self,
        previous: Layer,
        *,
        size: Sequence[int],
        stride: Sequence[int],
        padding: Sequence[Sequence[int]],
        count_padding: bool,
    ) -> None:
        super().__init__(previous)
        count_padding = check_flag("count_padding", count_padding)
        self.size, self.stride, self.padding = _checked_window(
            size, stride, padding, wide=count_padding
        )
        self.count_padding = count_padding

    def forward(self, x: np.ndarray) -> np.ndarray:
        """x: (batch, channels, *space). Returns (batch, channels, *windows)."""
        return average_pool(
            x, self.size, self.stride, self.padding, count_padding=self.count_padding
        )


class GlobalAveragePool(Layer):
    """The mean over all places. keepdims: (batch, channels, 1...), otherwise (batch, channels)."""

    def __init__(self, previous: Layer, *, keepdims: bool) -> None:
        super().__init__(previous)
        keepdims = check_flag("keepdims", keepdims)
        self.keepdims = keepdims

    def forward(self, x: np.ndarray) -> np.ndarray:
        """x: (batch, channels, *space)."""
        check_space(x)
        y: np.ndarray = x.mean(axis=tuple(range(2, x.ndim)), keepdims=self.keepdims)
        return y


class GlobalMaxPool(Layer):
    """The largest over all places, in the same shapes as the mean."""

    def __init__(self, previous: Layer, *, keepdims: bool) -> None:
        super().__init__(previous)
        keepdims = check_flag("keepdims", keepdims)
        self.keepdims = keepdims

    def forward(self, x: np.ndarray) -> np.ndarray:
        """x: (batch, channels, *space)."""
        check_space(x)
        y: np.ndarray = x.max(axis=tuple(range(2, x.ndim)), keepdims=self.keepdims)
        return y


def _counts(
    x: np.ndarray,
    size: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[Sequence[int]],
) -> tuple[int, ...]:
    check_space(x, rank=len(size))
    return window_counts(x, size, stride, padding, [1] * len(size))


def _shifts(
    size: Sequence[int], stride: Sequence[int], counts: Sequence[int], axis: int
) -> list[tuple[slice, ...]]:
    """For each place of the window along an axis, where it is in every window."""
    space = axis - 2
    return [shifted(place, counts[space], stride[space], axis=axis) for place in range(size[space])]


def _reduce(
    ufunc: np.ufunc,
    x: np.ndarray,
    size: Sequence[int],
    stride: Sequence[int],
    counts: Sequence[int],
) -> np.ndarray:
    """The ufunc over each window of padded x, a new array."""
    for axis in range(2, x.ndim):
        width, count, jump = size[axis - 2], counts[axis - 2], stride[axis - 2]
        if (width - 1) * count > 2 * width.bit_length() * x.shape[axis]:
            x = _by_doubling(ufunc, x, width, jump, count, axis)
            continue
        first, *others = _shifts(size, stride, counts, axis)
        y = ufunc(x[first], x[others.pop(0)]) if others else x[first].copy()
        for one in others:
            ufunc(y, x[one], out=y)
        x = y
    return x


def _by_doubling(
    ufunc: np.ufunc, x: np.ndarray, size: int, stride: int, count: int, axis: int
) -> np.ndarray:
    """The ufunc over windows along one axis: a window of 13 places is one of 1, of 4 and of 8."""
    width, reached, y = 1, 0, None  # x holds windows of `width`; `reached` places are in y
    while True:
        if size & width:
            part = x[shifted(reached, count, stride, axis=axis)]
            y = part.copy() if y is None else ufunc(y, part, out=y)
            reached += width
            if reached == size:
                return y
        room = x.shape[axis] - width
        x = ufunc(x[shifted(0, room, 1, axis=axis)], x[shifted(width, room, 1, axis=axis)])
        width *= 2


def _largest(
    values: np.ndarray, positions: np.ndarray, size: int, stride: int, axis: int
) -> tuple[np.ndarray, np.ndarray]:
    """The first of the largest values of each window along an axis, NaN before all, and positions.

    positions: of the values' shape, or with 1 in the place of an axis along which they are alike.
    """
    every = (*[slice(None)] * axis, slice(None, None, stride))
    values, positions = (
        sliding_window_view(one, size, axis=axis)[every]
        for one in (values, np.broadcast_to(positions, values.shape))
    )
    place = values.argmax(axis=-1)[..., None]
    largest, found = (np.take_along_axis(one, place, axis=-1) for one in (values, positions))
    return largest[..., 0], found[..., 0]


def _checked_window(
    size: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[Sequence[int]],
    *,
    wide: bool = False,
) -> tuple[list[int], list[int], list[list[int]]]:
    """The three as lists; unless `wide`, there is an entry of the input in every window."""
    if not isinstance(size, list | tuple):
        raise TypeError(f"size: expected a list, got {type(size).__name__}")
    if len(size) not in (1, 2):
        raise ValueError(f"size: expected 1 or 2 entries, got {len(size)}")
    rank = len(size)
    size = check_sizes("size", size, rank)
    stride = check_sizes("stride", stride, rank)
    padding = check_padding("padding", padding, rank)
    if not wide and any(max(pair) >= n for n, pair in zip(size, padding, strict=True)):
        raise ValueError(f"padding: expected less than size {size}, got {padding}")
    return size, stride, padding
