"""Pooling over windows or over all places; of equal entries the first is the largest."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import theano.tensor as T
from theano.tensor.var import TensorVariable

from theano_impl.layers.windows import pad, place_of, windows
from theano_impl.support.checks import (
    check_count,
    check_flag,
    check_floating,
    check_padding,
    check_rank,
    check_sizes,
    check_values,
)
from theano_impl.support.layer import Layer


class Pooled(NamedTuple):
    """The largest entries, and where each stands in its plane, numbered row after row (int64)."""

    values: TensorVariable
    positions: TensorVariable


def max_pool(
    x: TensorVariable,
    size: Sequence[int],
    stride: Sequence[int] | None = None,
    padding: Sequence[Sequence[int]] | None = None,
) -> Pooled:
    """The largest entry of each window, which alone gets the gradient, and its position.

    x: (batch, channels, *space); both results are (batch, channels, *windows). stride: None for
    the size. padding: of −∞; None for none. A window that overhangs is left out. NaN is the
    largest. AssertionError, when it runs, for an x that is smaller than the window.
    """
    stride = size if stride is None else stride
    padding = [[0, 0]] * len(size) if padding is None else padding
    # signal.pool_2d, and the gradient of T.max, would give the gradient to all that are equal.
    first, *others = windows(pad(x, padding, -math.inf), size, stride, [1] * len(size))
    values, window = first, T.zeros_like(first, dtype="int64")
    for number, candidate in enumerate(others, start=1):
        larger = (candidate > values) | (T.isnan(candidate) & T.invert(T.isnan(values)))
        values = T.switch(larger, candidate, values)
        window = T.switch(larger, np.int64(number), window)
    position = T.zeros_like(window)
    for axis, (jump, (before, _)) in enumerate(zip(stride, padding, strict=True)):
        n = x.shape[2 + axis]
        start = T.arange(window.shape[2 + axis]) * jump - before
        start = start.dimshuffle(*["x"] * (2 + axis), 0, *["x"] * (len(size) - 1 - axis))
        # Where all entries are −∞ the padding may come first; what it leads to is inside.
        coordinate = T.clip(start + place_of(window, size, axis), 0, n - 1)
        position = position * n + coordinate
    return Pooled(values, position)


def max_unpool(
    values: TensorVariable, positions: TensorVariable, shape: TensorVariable
) -> TensorVariable:
    """Each value at its position, zeros elsewhere: what `max_pool` gave, in its input's shape.

    values, positions: (batch, channels, *windows); shape: of (batch, channels, *space), which is
    returned. The windows must not have overlapped.
    """
    plane = T.prod(shape[2:])
    planes = T.arange(shape[0] * shape[1]).dimshuffle(0, "x")
    positions = positions.reshape((planes.shape[0], T.prod(positions.shape[2:])))
    places = (planes * plane + positions).flatten()
    y = T.zeros((T.prod(shape),), values.dtype)
    y = T.set_subtensor(y[places], values.flatten())
    return y.reshape(shape, ndim=values.ndim)


def max_over_time(x: TensorVariable) -> TensorVariable:
    """The maximum of each channel over time; the first of equal entries gets the gradient.

    x: (batch, channels, time), at least one time step. Returns (batch, channels), NaN where there
    is a NaN. `T.max` gives the gradient to each of equal entries.
    """
    nan = T.isnan(x)
    first = T.argmax(T.switch(nan, np.asarray(math.inf, x.dtype), x), axis=2)
    return x[T.arange(x.shape[0])[:, None], T.arange(x.shape[1]), first]


def average_pool(
    x: TensorVariable,
    size: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[Sequence[int]],
    *,
    count_padding: bool,
) -> TensorVariable:
    """The mean of each window. x: (batch, channels, *space); returns (batch, channels, *windows).

    padding: of zeros; count_padding: whether they count. A window that overhangs is left out.
    AssertionError, when it runs, for an x that is smaller than the window.
    """

    def total(x: TensorVariable) -> TensorVariable:
        return sum(windows(pad(x, padding), size, stride, [1] * len(size)))

    if count_padding or not any(map(any, padding)):
        return total(x) / np.asarray(math.prod(size), x.dtype)
    space = [x.shape[axis] for axis in range(2, x.ndim)]
    counts = total(T.alloc(np.asarray(1, x.dtype), 1, 1, *space))
    return total(x) / counts


class MaxPool(Layer):
    """`max_pool` as a layer, of as many spatial axes as size has; `.positions` for `MaxUnpool`.

    x: (batch, channels, *space); `.output` is (batch, channels, *windows). stride is the size
    and padding is 0 when left out. ValueError for padding that could fill a window.
    """

    def __init__(
        self,
        x: TensorVariable,
        size: Sequence[int],
        *,
        stride: Sequence[int] | None = None,
        padding: Sequence[Sequence[int]] | None = None,
    ) -> None:
        super().__init__(x, config=_checked_window(size, stride, padding, counted=False))
        check_floating("x", x, ndim=2 + len(size))
        self.output, self.positions = max_pool(x, **self.config)


class MaxUnpool(Layer):
    """What a `MaxPool` left out comes back as zeros: the shape of its input.

    x: (batch, channels, *windows), of the shape of the pool's output; `.output` is (batch,
    channels, *space). ValueError for a pool whose windows overlap; AssertionError, when it runs,
    for another shape.
    """

    def __init__(self, x: TensorVariable, pool: MaxPool) -> None:
        super().__init__(x, config=pool.config)
        if any(map(int.__lt__, pool.config["stride"], pool.config["size"])):
            raise ValueError(f"pool: expected a stride of at least its size, got {pool.config}")
        self.pool = pool
        check_floating("x", x, ndim=pool.output.ndim)
        same = T.all(T.eq(x.shape, pool.output.shape))
        x = check_values(x, same, "x", "the shape of the pool's output")
        self.output = max_unpool(x, pool.positions, pool.inputs[0].shape)


class AveragePool(Layer):
    """`average_pool` as a layer, of as many spatial axes as size has.

    x: (batch, channels, *space); `.output` is (batch, channels, *windows). stride is the size
    and padding is 0 when left out. ValueError for padding that could fill a window and does not
    count.
    """

    def __init__(
        self,
        x: TensorVariable,
        size: Sequence[int],
        *,
        stride: Sequence[int] | None = None,
        padding: Sequence[Sequence[int]] | None = None,
        count_padding: bool = True,
    ) -> None:
        count_padding = check_flag("count_padding", count_padding)
        window = _checked_window(size, stride, padding, counted=count_padding)
        super().__init__(x, config={**window, "count_padding": count_padding})
        check_floating("x", x, ndim=2 + len(size))
        self.output = average_pool(x, **self.config)


class GlobalAveragePool(Layer):
    """The mean over all places: (batch, channels, *space) to (batch, channels).

    keepdims: to (batch, channels, 1...).
    """

    def __init__(self, x: TensorVariable, *, keepdims: bool = False) -> None:
        keepdims = check_flag("keepdims", keepdims)
        super().__init__(x, config={"keepdims": keepdims})
        _check_places(x)
        self.output = T.mean(x, axis=tuple(range(2, x.ndim)), keepdims=keepdims)


class GlobalMaxPool(Layer):
    """The largest entry over all places: (batch, channels, *space) to (batch, channels).

    keepdims: to (batch, channels, 1...). Of equal entries the first gets the gradient.
    """

    def __init__(self, x: TensorVariable, *, keepdims: bool = False) -> None:
        keepdims = check_flag("keepdims", keepdims)
        super().__init__(x, config={"keepdims": keepdims})
        _check_places(x)
        # x.flatten(3) fails on an empty batch.
        flat = x.reshape((x.shape[0], x.shape[1], T.prod(x.shape[2:])), ndim=3)
        chosen = T.eq(T.arange(flat.shape[2]), T.argmax(flat, axis=2, keepdims=True))
        y = T.sum(T.switch(chosen, flat, np.asarray(0, x.dtype)), axis=2)
        self.output = y.dimshuffle(0, 1, *["x"] * (x.ndim - 2)) if keepdims else y


def _checked_window(
    size: Sequence[int],
    stride: Sequence[int] | None,
    padding: Sequence[Sequence[int]] | None,
    *,
    counted: bool,
) -> dict[str, Any]:
    """The three, as lists, with what was left out filled in.

    ValueError for a window that could be of padding alone, unless that is `counted`.
    """
    rank = len(size)
    check_count("size", rank, most=2)
    size = check_sizes("size", size, rank)
    pairs = check_padding("padding", [[0, 0]] * rank if padding is None else padding, rank)
    if not counted and any(max(pair) >= n for pair, n in zip(pairs, size, strict=True)):
        raise ValueError(f"padding: expected less than the size {size}, got {pairs}")
    stride = check_sizes("stride", size if stride is None else stride, rank)
    return {"size": size, "stride": stride, "padding": pairs}


def _check_places(x: TensorVariable) -> None:
    check_floating("x", x)
    if x.ndim < 3:
        check_rank("x", x, ndim=3)
