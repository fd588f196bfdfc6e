"""What makes one array of several: sums, products and extremes, entry by entry, and joined ones.

All take arrays of one dtype and one number of axes. Entry by entry, an axis of size 1 is repeated,
as in a gate (batch, channels, 1, 1) of (batch, channels, height, width).
"""

from __future__ import annotations

import numpy as np

from numpy_infer.layers.activations import check_axis
from numpy_infer.support.checks import check_dtype, check_floating
from numpy_infer.support.layer import Layer


class _Combination(Layer):
    """A layer of two or more."""

    def __init__(self, *previous: Layer) -> None:
        if len(previous) < 2:
            raise ValueError(f"previous: expected at least 2 of them, got {len(previous)}")
        super().__init__(*previous)


class Add(_Combination):
    """The sum of two or more."""

    def forward(self, *values: np.ndarray) -> np.ndarray:
        return _combined(np.add, values)


class Multiply(_Combination):
    """The product of two or more."""

    def forward(self, *values: np.ndarray) -> np.ndarray:
        return _combined(np.multiply, values)


class Maximum(_Combination):
    """The largest of two or more; NaN where one is NaN."""

    def forward(self, *values: np.ndarray) -> np.ndarray:
        return _combined(np.maximum, values)


class Minimum(_Combination):
    """The smallest of two or more; NaN where one is NaN."""

    def forward(self, *values: np.ndarray) -> np.ndarray:
        return _combined(np.minimum, values)


class Average(_Combination):
    """The mean of two or more."""

    def forward(self, *values: np.ndarray) -> np.ndarray:
        y = _combined(np.add, values)
        y /= y.dtype.type(len(values))
        return y


class Subtract(Layer):
    """The first less the second."""

    def __init__(self, previous: Layer, subtracted: Layer) -> None:
        super().__init__(previous, subtracted)

    def forward(self, *values: np.ndarray) -> np.ndarray:
        return _combined(np.subtract, values)


class Concatenate(_Combination):
    """Two or more, one behind the other along the last axis, or along the channels, axis 1."""

    def __init__(self, *previous: Layer, axis: int = -1) -> None:
        super().__init__(*previous)
        self.axis = check_axis(axis)

    def forward(self, *values: np.ndarray) -> np.ndarray:
        _check_alike(values)
        axis = self.axis % values[0].ndim
        shapes = [one.shape[:axis] + one.shape[axis + 1 :] for one in values]
        for place, shape in enumerate(shapes):
            if axis == 0 or shape != shapes[0]:
                raise ValueError(
                    f"values[{place}]: expected the shape of values[0] but on axis {axis}, "
                    f"{values[0].shape}, got {values[place].shape}"
                )
        return np.concatenate(values, axis)


def _combined(operation: np.ufunc, values: tuple[np.ndarray, ...]) -> np.ndarray:
    _check_alike(values)
    for place, one in enumerate(values):
        sizes = zip(one.shape[1:], values[0].shape[1:], strict=True)
        if len(one) != len(values[0]) or any(n != m and 1 not in (n, m) for n, m in sizes):
            raise ValueError(
                f"values[{place}]: expected the shape of values[0], {values[0].shape}, or 1 "
                f"on an axis, got {one.shape}"
            )
    first, second, *others = values
    y: np.ndarray = operation(first, second)
    for one in others:
        y = operation(y, one)
    return y


def _check_alike(values: tuple[np.ndarray, ...]) -> None:
    """Errors unless all are floating, of one dtype, and have as many axes."""
    for place, one in enumerate(values):
        check_floating(f"values[{place}]", one, ndim=values[0].ndim if place else None)
        check_dtype(f"values[{place}]", one, values[0].dtype)
