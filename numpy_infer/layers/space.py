"""What changes the size of space, and computes nothing but copies and means of its entries."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from numpy_infer.layers.windows import check_growth, check_space, pad
from numpy_infer.support.checks import check_choice, check_ends, check_number
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
        for n, ends in zip(x.shape[2:], self.padding, strict=True):
            if n + sum(min(end, 0) for end in ends) < 1:
                raise ValueError(f"x: expected more than padding {ends} cuts off, got {x.shape}")
            if self.mode == "reflect" and max(ends) >= n:
                raise ValueError(f"x: expected more than {max(ends)} to reflect, got {x.shape}")
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
