"""Distances between rows of vectors.

    cosine        1 − x·y / (‖x‖ ‖y‖)
    sqeuclidean   ‖x − y‖² = ‖x‖² + ‖y‖² − 2 x·y
    euclidean     ‖x − y‖

All pairs at once cost one matrix product (seed topic: computational bottlenecks).
"""

from __future__ import annotations

import numpy as np

from numpy_infer.support.checks import (
    check_choice,
    check_dtype,
    check_floating,
    check_number,
    check_width,
)

DISTANCES = ("cosine", "sqeuclidean", "euclidean")


def l2_normalize(x: np.ndarray, *, epsilon: float = 1e-12) -> np.ndarray:
    """Divide the vectors on the last axis by max(‖x‖, epsilon).

    x: (..., features), floating. Returns the same shape. A zero vector stays zero. TypeError
    for integers, ValueError for an epsilon that is not positive.
    """
    check_floating("x", x)
    epsilon = check_number("epsilon", epsilon, above=0)
    # Scaled to a largest entry of 1 first: squares of large numbers would overflow.
    largest = np.abs(x).max(axis=-1, keepdims=True, initial=0)
    scale = np.where((largest > 0) & np.isfinite(largest), largest, x.dtype.type(1))
    x = x / scale
    norm = np.linalg.norm(x, axis=-1, keepdims=True)
    return x / np.maximum(norm, x.dtype.type(epsilon) / scale)


def cosine_similarity(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Cosine of the angle between every row of x and every row of y; 0 for a zero row.

    x: (n, features), y: (m, features). Returns (n, m). ValueError when the features differ.
    """
    _check_pair(x, y)
    unit_x = l2_normalize(x)
    unit_y = unit_x if y is x else l2_normalize(y)
    return unit_x @ unit_y.T


def squared_distances(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """‖x_i − y_j‖² for every row of x and every row of y.

    x: (n, features), y: (m, features). Returns (n, m), never negative, and zero on the
    diagonal when y is x. What rounding cannot tell from zero is zero.
    """
    _check_pair(x, y)
    center = _center(x, y)
    same = y is x
    x = x - center
    y = x if same else y - center
    product = x @ y.T
    # The product's own diagonal cancels to exactly zero; norms summed apart would not.
    x_square = product.diagonal() if same else (x * x).sum(axis=1)
    y_square = x_square if same else (y * y).sum(axis=1)
    norms = x_square[:, None] + y_square
    square = norms - 2 * product
    square[square <= 8 * np.finfo(x.dtype).eps * norms] = 0
    return square


def pairwise_distances(x: np.ndarray, y: np.ndarray, *, distance: str = "cosine") -> np.ndarray:
    """The distance between every row of x and every row of y.

    x: (n, features), y: (m, features); distance: cosine, sqeuclidean or euclidean.
    Returns (n, m).
    """
    check_choice("distance", distance, DISTANCES)
    if distance == "cosine":
        return 1 - cosine_similarity(x, y)
    square = squared_distances(x, y)
    return np.sqrt(square) if distance == "euclidean" else square


def _center(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The point that is subtracted from both: distances do not depend on it."""
    center = (x.mean(axis=0) + y.mean(axis=0)) / 2
    return np.where(np.isfinite(center), center, 0)  # one bad row must not spoil all pairs


def _check_pair(x: np.ndarray, y: np.ndarray) -> None:
    check_floating("x", x, ndim=2)
    check_floating("y", y, ndim=2)
    check_dtype("y", y, x.dtype)
    check_width("y", y, x.shape[1])
