"""What changes the size of space, and computes nothing but copies and means of its entries."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import theano.tensor as T
from theano.tensor.var import TensorVariable

from theano_impl.support.checks import (
    check_choice,
    check_count,
    check_ends,
    check_number,
    check_sampling,
    check_space_sizes,
    check_values,
)
from theano_impl.support.layer import Layer

MODES = ("constant", "reflect", "edge")


class Pad(Layer):
    """Entries are added at both ends of each axis of space, or cut off.

    padding: [before, after] for each of 1 to 3 axes; a negative number cuts off so many. mode:
    "constant" adds `value`, "reflect" the entries next to the end, mirrored, without the end
    itself, and "edge" repeats the end: 1 2 3 becomes 2 1 2 3 2, or 1 1 2 3 3. AssertionError,
    when it runs, for too few places.
    """

    def __init__(
        self,
        x: TensorVariable,
        *,
        padding: Sequence[Sequence[int]],
        mode: str = "constant",
        value: float = 0.0,
    ) -> None:
        padding = check_ends("padding", padding)
        check_choice("mode", mode, MODES)
        value = check_number("value", value)
        if mode != "constant" and value:
            raise ValueError(f"value: expected 0 with mode {mode}, got {value}")
        super().__init__(x, config={"padding": padding, "mode": mode, "value": value})
        check_count("x.ndim", x.ndim, least=2 + len(padding), most=2 + len(padding))
        least = [1 - sum(min(end, 0) for end in ends) for ends in padding]
        if mode == "reflect":
            reach = [max(ends) + 1 for ends in padding]
            least = [max(pair) for pair in zip(least, reach, strict=True)]
        x = check_values(x, T.all(T.ge(x.shape[2:], least)), "x", f"at least {least} places")
        for axis, (before, after) in enumerate(padding, start=2):
            if before or after:
                n = x.shape[axis]
                index = T.arange(-before, n + after)  # from where each place is taken
                if mode == "reflect":
                    index = n - 1 - abs(n - 1 - abs(index))
                inside = T.clip(index, 0, n - 1)
                x = x.take(inside, axis)
                if mode == "constant":
                    kept = T.eq(inside, index).dimshuffle(0, *["x"] * (x.ndim - 1 - axis))
                    x = T.switch(kept, x, np.asarray(value, x.dtype))
        self.output = x


class Upsample(Layer):
    """Space becomes `scale` times as large along each of 1 to 3 axes.

    mode: "nearest" repeats each entry, "linear" is the mean of two neighbors along each axis,
    weighted by their distances from ((i + 1/2) · n / m) − 1/2 for place i of m, or with `corners`
    from i · (n − 1) / (m − 1).
    """

    def __init__(
        self,
        x: TensorVariable,
        *,
        scale: Sequence[int],
        mode: str = "nearest",
        corners: bool = False,
    ) -> None:
        scale = check_space_sizes("scale", scale)
        mode, corners = check_sampling(mode, corners)
        super().__init__(x, config={"scale": scale, "mode": mode, "corners": corners})
        check_count("x.ndim", x.ndim, least=2 + len(scale), most=2 + len(scale))
        sizes = [x.shape[axis] * times for axis, times in enumerate(scale, start=2)]
        self.output = resized(x, sizes, mode, corners)


class Resize(Layer):
    """Space becomes as large as `size` says, along each of 1 to 3 axes.

    mode: "nearest" takes the entry at floor(i · n / m) for place i of m, "linear" as `Upsample`.
    """

    def __init__(
        self,
        x: TensorVariable,
        *,
        size: Sequence[int],
        mode: str = "nearest",
        corners: bool = False,
    ) -> None:
        size = check_space_sizes("size", size)
        mode, corners = check_sampling(mode, corners)
        super().__init__(x, config={"size": size, "mode": mode, "corners": corners})
        check_count("x.ndim", x.ndim, least=2 + len(size), most=2 + len(size))
        self.output = resized(x, size, mode, corners)


def resized(x: TensorVariable, sizes: Sequence[Any], mode: str, corners: bool) -> TensorVariable:
    """x, (batch, channels, *space), with the given sizes of space."""
    for axis, m in enumerate(sizes, start=2):
        n, i = x.shape[axis], T.arange(m)
        if mode == "nearest":
            x = x.take(i * n // m, axis)
            continue
        # From where each place is taken, as a fraction of whole numbers: no place is rounded.
        if corners:
            place, unit = i * (n - 1), T.maximum(m - 1, 1)
        else:
            place, unit = T.clip((2 * i + 1) * n - m, 0, 2 * m * (n - 1)), 2 * m
        lower = place // unit
        share = T.cast(place % unit, x.dtype) / T.cast(unit, x.dtype)
        share = share.dimshuffle(0, *["x"] * (x.ndim - 1 - axis))
        left, right = x.take(lower, axis), x.take(T.minimum(lower + 1, n - 1), axis)
        x = left + (right - left) * share
    return x
