"""Distances between rows of vectors.

    cosine        1 − x·y / (‖x‖ ‖y‖)
    sqeuclidean   ‖x − y‖² = ‖x‖² + ‖y‖² − 2 x·y
    euclidean     ‖x − y‖

All pairs cost one matrix product, (n, d) × (d, m), and no n·m·d differences.
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
    """Divide the vectors on the last axis by their length.

        y = x / max(‖x‖, epsilon)

    Args:
        x: (..., features), float32 or float64.
        epsilon: the smallest length that is divided by, above 0.
    Returns:
        The shape of x. A zero vector stays zero.
    Raises:
        TypeError: an x that is not float32 or float64.
        ValueError: an x without axes, an epsilon that is not positive.
    Example:
        >>> l2_normalize(np.array([[0.0, 4.0], [0.0, 0.0]])).tolist()
        [[0.0, 1.0], [0.0, 0.0]]
    """
    check_floating("x", x)
    epsilon = check_number("epsilon", epsilon, above=0)
    # Scale the largest entry to 1 first: squares of large numbers overflow.
    largest = np.abs(x).max(axis=-1, keepdims=True, initial=0)
    scale = np.where((largest > 0) & np.isfinite(largest), largest, x.dtype.type(1))
    x = x / scale
    norm = np.linalg.norm(x, axis=-1, keepdims=True)
    y: np.ndarray = x / np.maximum(norm, x.dtype.type(epsilon) / scale)
    return y


def cosine_similarity(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Cosine of the angle between every row of x and every row of y.

        s_ij = x_i·y_j / (‖x_i‖ ‖y_j‖)

    Args:
        x: (n, features), float32 or float64.
        y: (m, features), the dtype of x.
    Returns:
        (n, m); 0 for a zero row.
    Raises:
        TypeError: an x that is not float32 or float64, dtypes that differ.
        ValueError: other than two axes, features that differ.
    Example:
        >>> x, y = np.array([[2.0, 0.0], [0.0, 0.0]]), np.array([[3.0, 0.0]])
        >>> cosine_similarity(x, y).tolist()
        [[1.0], [0.0]]
    """
    _check_pair(x, y)
    unit_x = l2_normalize(x)
    unit_y = unit_x if y is x else l2_normalize(y)
    cosines: np.ndarray = unit_x @ unit_y.T
    return cosines


def squared_distances(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Squared Euclidean distance of every row of x from every row of y.

        d_ij = ‖x_i − y_j‖² = ‖x_i‖² + ‖y_j‖² − 2 x_i·y_j

    Args:
        x: (n, features), float32 or float64.
        y: (m, features), the dtype of x.
    Returns:
        (n, m), never negative, and 0 on the diagonal when y is x. What rounding errors cannot tell
        from 0 is 0.
    Raises:
        TypeError: an x that is not float32 or float64, dtypes that differ.
        ValueError: other than two axes, features that differ.
    Example:
        >>> x, y = np.array([[0.0, 0.0], [3.0, 4.0]]), np.array([[3.0, 0.0]])
        >>> squared_distances(x, y).tolist()
        [[9.0], [16.0]]
    """
    _check_pair(x, y)
    center = _center(x, y)
    same = y is x
    x = x - center
    y = x if same else y - center
    product = x @ y.T
    # With the norms from the product's diagonal, the distance of a row from itself is exactly 0.
    x_square = product.diagonal() if same else (x * x).sum(axis=1)
    y_square = x_square if same else (y * y).sum(axis=1)
    norms = x_square[:, None] + y_square
    square: np.ndarray = norms - 2 * product
    square[square <= 8 * np.finfo(x.dtype).eps * norms] = 0
    return square


def pairwise_distances(x: np.ndarray, y: np.ndarray, *, distance: str = "cosine") -> np.ndarray:
    """Distance of every row of x from every row of y.

    Args:
        x: (n, features), float32 or float64.
        y: (m, features), the dtype of x.
        distance: cosine, sqeuclidean or euclidean.
    Returns:
        (n, m).
    Raises:
        TypeError: an x that is not float32 or float64, dtypes that differ.
        ValueError: an unknown distance, other than two axes, features that differ.
    Example:
        >>> x, y = np.array([[0.0], [4.0]]), np.array([[3.0]])
        >>> pairwise_distances(x, y, distance="euclidean").tolist()
        [[3.0], [1.0]]
    """
    check_choice("distance", distance, DISTANCES)
    if distance == "cosine":
        return 1 - cosine_similarity(x, y)
    square = squared_distances(x, y)
    return np.sqrt(square) if distance == "euclidean" else square


def _center(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """A constant that is subtracted from x and y: a common offset would cancel the digits."""
    center = (x.mean(axis=0) + y.mean(axis=0)) / 2
    return np.where(np.isfinite(center), center, 0)  # a row with NaN must not spoil all pairs


def _check_pair(x: np.ndarray, y: np.ndarray) -> None:
    check_floating("x", x, ndim=2)
    check_floating("y", y, ndim=2)
    check_dtype("y", y, x.dtype)
    check_width("y", y, x.shape[1])
