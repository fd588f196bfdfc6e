"""Checks of the points and queries of an index."""

from __future__ import annotations

import math

import numpy as np

from numpy_infer.support.checks import (
    check_dtype,
    check_finite,
    check_floating,
    check_integers,
    check_not_empty,
    check_shape,
    check_width,
)


def check_points(name: str, x: np.ndarray, points: np.ndarray) -> None:
    """TypeError or ValueError unless x is finite rows like those of points, one at least."""
    check_floating(name, x, ndim=2)
    check_dtype(name, x, points.dtype)
    check_width(name, x, points.shape[1])
    check_not_empty(name, x)
    check_finite(name, x)


def check_magnitudes(name: str, x: np.ndarray) -> None:
    """ValueError unless all numbers are finite, and so small that all distances are finite."""
    check_finite(name, x)
    most = np.finfo(x.dtype).max / (4 * math.sqrt(x.shape[1]))
    if x.size and np.abs(x).max() > most:
        raise ValueError(f"{name}: expected numbers up to {most:.3g}, got {np.abs(x).max():.3g}")


def check_point_labels(name: str, labels: np.ndarray, n: int) -> None:
    """TypeError or ValueError unless there is an integer from 0 up for each of n points."""
    check_integers(name, labels, ndim=1)
    check_shape(name, labels, (n,))
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high > np.iinfo(np.int64).max:
        raise ValueError(f"{name}: expected integers of 64 bits from 0 up, got {low}..{high}")


def check_labels_alike(name: str, labels: np.ndarray | None, before: np.ndarray | None) -> None:
    """ValueError unless there are labels where there were labels before, and none elsewhere."""
    if (labels is None) != (before is None):
        wanted = "no labels" if before is None else "labels"
        got = "none" if labels is None else "some"
        raise ValueError(f"{name}: expected {wanted}, as of the vectors before, got {got}")


def check_indices(name: str, indices: np.ndarray, n: int) -> None:
    """TypeError or ValueError unless indices are integers in 0..n−1, one at least."""
    check_integers(name, indices, ndim=1)
    check_not_empty(name, indices)
    low, high = indices.min(), indices.max()
    if low < 0 or high >= n:
        raise ValueError(f"{name}: expected 0..{n - 1}, got {low}..{high}")
