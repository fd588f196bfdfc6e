"""What changes the size of space, and computes nothing but copies and means of its entries."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from numpy_infer.layers.windows import check_growth, check_space, pad
from numpy_infer.support.checks import (
    check_choice,
    check_ends,
    check_number,
    check_sampling,
    check_space_sizes,
)
from numpy_infer.support.layer import Layer

MODES = ("constant", "reflect", "edge")


class Pad(Layer):
    """Entries are added at both ends of each axis of space, or cut off.

    padding: [before, after] for each of 1 to 3 axes; a negative number cuts off so many. mode:
    "constant" adds `value`, "reflect" the entries next to the end, mirrored, without the end
    itself, and "edge" repeats the end: 1 2 3 becomes 2 1 2 3 2, or 1 1 2 3 3.
    """

    def __init__(
        self,
        previous: Layer,
        *,
        padding: Sequence[Sequence[int]],
        mode: str = "constant",
        value: float = 0.0,
    ) -> None:
        super().__init__(previous)
        self.padding = check_ends("padding", padding)
        check_choice("mode", mode, MODES)
        self.mode = mode
        self.value = check_number("value", value)
        if mode != "constant" and self.value:
            raise ValueError(f"value: expected 0 with mode {mode}, got {self.value}")

    def forward(self, x: np.ndarray) -> np.ndarray:
        """x: (batch, channels, *space). Returns (batch, channels, *extended)."""
        check_space(x, rank=len(self.padding))
        sizes = [n + sum(ends) for n, ends in zip(x.shape[2:], self.padding, strict=True)]
        for axis, ends in enumerate(self.padding, start=2):
            least = 1 - sum(min(end, 0) for end in ends)
            if self.mode == "reflect":
                least = max(least, max(ends) + 1)
            if x.shape[axis] < least:
                what = f"at least {least} places along axis {axis}"
                raise ValueError(f"x: expected {what}, got shape {x.shape}")
        check_growth(x, sizes, times=64)
        if self.mode == "constant":
            kept = [slice(max(-before, 0), min(after, 0) or None) for before, after in self.padding]
            added = [[max(end, 0) for end in ends] for ends in self.padding]
            return pad(x[(slice(None), slice(None), *kept)], added, self.value)
        for axis, (before, after) in enumerate(self.padding, start=2):
            if before or after:
                n = x.shape[axis]
                index = np.arange(-before, n + after)  # from where each place is taken
                if self.mode == "reflect":
                    index = n - 1 - np.abs(n - 1 - np.abs(index))
                x = x.take(index.clip(0, n - 1), axis)
        return x


class Upsample(Layer):
    """Space becomes `scale` times as large along each of 1 to 3 axes.

    mode: "nearest" repeats each entry, "linear" is the mean of two neighbors along each axis,
    weighted by their distances from ((i + 1/2) · n / m) − 1/2 for place i of m, or with `corners`
    from i · (n − 1) / (m − 1).
    """

    def __init__(
        self,
        previous: Layer,
        *,
        scale: Sequence[int],
        mode: str = "nearest",
        corners: bool = False,
    ) -> None:
        super().__init__(previous)
        self.scale = check_space_sizes("scale", scale)
        self.mode, self.corners = check_sampling(mode, corners)

    def forward(self, x: np.ndarray) -> np.ndarray:
        """x: (batch, channels, *space). Returns (batch, channels, *scaled)."""
        check_space(x, rank=len(self.scale))
        sizes = [n * scale for n, scale in zip(x.shape[2:], self.scale, strict=True)]
        return resized(x, sizes, self.mode, self.corners)


class Resize(Layer):
    """Space becomes as large as `size` says, along each of 1 to 3 axes.

    mode: "nearest" takes the entry at floor(i · n / m) for place i of m, "linear" as `Upsample`.
    """

    def __init__(
        self,
        previous: Layer,
        *,
        size: Sequence[int],
        mode: str = "nearest",
        corners: bool = False,
    ) -> None:
        super().__init__(previous)
        self.size = check_space_sizes("size", size)
        self.mode, self.corners = check_sampling(mode, corners)

    def forward(self, x: np.ndarray) -> np.ndarray:
        """x: (batch, channels, *space). Returns (batch, channels, *size)."""
        check_space(x, rank=len(self.size))
        return resized(x, self.size, self.mode, self.corners)


def resized(x: np.ndarray, sizes: Sequence[int], mode: str, corners: bool) -> np.ndarray:
    """x, (batch, channels, *space), with the given sizes of space."""
    for axis, m in enumerate(sizes, start=2):
        n, i = x.shape[axis], np.arange(m)
        if m == n:
            continue
        if mode == "nearest":
            x = x.take(i * n // m, axis)
            continue
        # From where each place is taken, as a fraction of whole numbers: no place is rounded.
        if corners:
            place, unit = i * (n - 1), max(m - 1, 1)
        else:
            place, unit = ((2 * i + 1) * n - m).clip(0, 2 * m * (n - 1)), 2 * m
        lower = place // unit
        share = (place % unit / unit).astype(x.dtype).reshape(-1, *[1] * (x.ndim - 1 - axis))
        left, right = x.take(lower, axis), x.take((lower + 1).clip(max=n - 1), axis)
        x = left + (right - left) * share
    return x
