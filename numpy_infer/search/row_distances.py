"""Distances of rows, one by one, that are right for numbers of any size.

In float32 the square of 1e20 is infinite and that of 1e-25 is 0. Nearly all rows are neither, and
are computed the plain way; the others once more, scaled to a largest entry of 1.
"""

from __future__ import annotations

import numpy as np


def row_distances(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """‖x_i − y_i‖ for each row, right where its square would overflow or vanish.

    x, y: (n, features). Returns (n,). An entry of the difference that overflows gives infinity.
    """
    with np.errstate(over="ignore"):
        difference = x - y
        difference *= difference
        square = difference.sum(axis=1)
    distance: np.ndarray = np.sqrt(square)
    if not in_range(square.min(initial=1), square.max(initial=1), x.shape[1]):
        again = np.flatnonzero(~in_range(square, square, x.shape[1]))
        with np.errstate(over="ignore"):
            difference = x[again] - y[again]
        scale = np.abs(difference).max(axis=1, initial=0)
        scale[~(np.isfinite(scale) & (scale > 0))] = 1
        difference /= scale[:, None]
        distance[again] = scale * np.sqrt((difference * difference).sum(axis=1))
    return distance


def in_range(least: np.ndarray, most: np.ndarray, features: int) -> np.ndarray:
    """Whether sums of squares between these lost nothing by overflow, or by being too small."""
    info = np.finfo(most.dtype)
    within: np.ndarray = (least > features * info.tiny / info.eps) & (most < np.inf)
    return within
