"""Distances between rows of vectors.

    cosine        1 − x·y / (‖x‖ ‖y‖)
    sqeuclidean   ‖x − y‖² = ‖x‖² + ‖y‖² − 2 x·y
    euclidean     ‖x − y‖

All pairs cost one matrix product, (n, d) × (d, m), and no n·m·d differences.
"""

from __future__ import annotations

import math

import numpy as np
import theano.tensor as T
from theano.gradient import disconnected_grad
from theano.tensor.var import TensorVariable

from theano_impl.support.checks import (
    check_choice,
    check_dtype,
    check_floating,
    check_like,
    check_number,
    check_width,
)
from theano_impl.support.ties import machine_epsilon

DISTANCES = ("cosine", "sqeuclidean", "euclidean")


def l2_normalize(x: TensorVariable, *, epsilon: float = 1e-12) -> TensorVariable:
    """Divide the vectors on the last axis by their length.

        y = x / max(‖x‖, epsilon)

    Args:
        x: (..., features), float32 or float64.
        epsilon: the smallest length that is divided by, above 0.
    Returns:
        The shape of x. A zero vector stays zero, with gradient zero.
    Raises:
        TypeError: an x that is not float32 or float64.
        ValueError: an x without axes, an epsilon that is not positive.
    Example:
        >>> l2_normalize(T.constant([[0.0, 4.0], [0.0, 0.0]])).eval().tolist()
        [[0.0, 1.0], [0.0, 0.0]]
    """
    x = T.as_tensor_variable(x)
    check_floating("x", x)
    epsilon = check_number("epsilon", epsilon, above=0)
    # Not x.norm(2), whose gradient at zero is NaN.
    # Scale the largest entry to 1 first: squares of large numbers overflow.
    largest = disconnected_grad(T.max(abs(x), axis=-1, keepdims=True))
    usable = (largest > 0) & (largest < np.asarray(math.inf, x.dtype))
    scale = T.switch(usable, largest, T.ones_like(largest))
    x = x / scale
    norm = _root(T.sum(x * x, axis=-1, keepdims=True))
    floored = T.maximum(norm, np.asarray(epsilon, x.dtype) / scale)
    return x / T.switch(T.eq(norm, 0), np.asarray(math.inf, x.dtype), floored)


def cosine_similarity(x: TensorVariable, y: TensorVariable) -> TensorVariable:
    """Cosine of the angle between every row of x and every row of y.

        s_ij = x_i·y_j / (‖x_i‖ ‖y_j‖)

    Args:
        x: (n, features), float32 or float64.
        y: (m, features), the dtype of x.
    Returns:
        (n, m); 0 for a zero row.
    Raises:
        TypeError: an x that is not float32 or float64, dtypes that differ.
        ValueError: other than two axes.
        AssertionError: when it runs, for features that differ.
    Example:
        >>> x, y = T.constant([[2.0, 0.0], [0.0, 0.0]]), T.constant([[3.0, 0.0]])
        >>> cosine_similarity(x, y).eval().tolist()
        [[1.0], [0.0]]
    """
    x, y = _check_pair(x, y)
    unit_x = l2_normalize(x)
    unit_y = unit_x if y is x else l2_normalize(y)
    return T.dot(unit_x, unit_y.T)


def squared_distances(x: TensorVariable, y: TensorVariable) -> TensorVariable:
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
        ValueError: other than two axes.
        AssertionError: when it runs, for features that differ.
    Example:
        >>> x, y = T.constant([[0.0, 0.0], [3.0, 4.0]]), T.constant([[3.0, 0.0]])
        >>> squared_distances(x, y).eval().tolist()
        [[9.0], [16.0]]
    """
    x, y = _check_pair(x, y)
    center = _center(x, y)
    same = y is x
    x = x - center
    y = x if same else y - center
    product = T.dot(x, y.T)
    # With the norms from the product's diagonal, the distance of a row from itself is exactly 0.
    x_square = T.diagonal(product) if same else T.sum(x * x, axis=1)
    y_square = x_square if same else T.sum(y * y, axis=1)
    norms = x_square[:, None] + y_square
    square = norms - 2 * product
    zero = square <= machine_epsilon(x.dtype, times=8) * disconnected_grad(norms)
    # Subtract what is rounding, as a constant: the derivatives stay (the second is 2 at x = y too).
    return square - disconnected_grad(T.switch(zero, square, T.zeros_like(square)))


def pairwise_distances(
    x: TensorVariable, y: TensorVariable, *, distance: str = "cosine"
) -> TensorVariable:
    """Distance of every row of x from every row of y.

    Args:
        x: (n, features), float32 or float64.
        y: (m, features), the dtype of x.
        distance: cosine, sqeuclidean or euclidean.
    Returns:
        (n, m). The gradient of a distance of 0 is 0.
    Raises:
        TypeError: an x that is not float32 or float64, dtypes that differ.
        ValueError: an unknown distance, other than two axes.
        AssertionError: when it runs, for features that differ.
    Example:
        >>> x, y = T.constant([[0.0], [4.0]]), T.constant([[3.0]])
        >>> pairwise_distances(x, y, distance="euclidean").eval().tolist()
        [[3.0], [1.0]]
    """
    check_choice("distance", distance, DISTANCES)
    if distance == "cosine":
        return 1 - cosine_similarity(x, y)
    square = squared_distances(x, y)
    return _root(square) if distance == "euclidean" else square


def paired_distances(
    x: TensorVariable, y: TensorVariable, *, distance: str = "cosine"
) -> TensorVariable:
    """Distance of row i of x from row i of y.

    Args:
        x: (n, features), float32 or float64.
        y: (n, features), the dtype of x.
        distance: cosine, sqeuclidean or euclidean.
    Returns:
        (n,). The gradient of a distance of 0 is 0.
    Raises:
        TypeError: an x that is not float32 or float64, dtypes that differ.
        ValueError: an unknown distance, other than two axes.
        AssertionError: when it runs, for shapes that differ.
    Example:
        >>> x, y = T.constant([[0.0], [4.0]]), T.constant([[3.0], [3.0]])
        >>> paired_distances(x, y, distance="euclidean").eval().tolist()
        [3.0, 1.0]
    """
    check_choice("distance", distance, DISTANCES)
    x, y = T.as_tensor_variable(x), T.as_tensor_variable(y)
    check_floating("x", x, ndim=2)
    y = check_like("y", y, "x", x)
    if distance == "cosine":
        return 1 - T.sum(l2_normalize(x) * l2_normalize(y), axis=1)
    square = T.sum((x - y) ** 2, axis=1)
    return _root(square) if distance == "euclidean" else square


def _root(square: TensorVariable) -> TensorVariable:
    """The square root, with gradient 0 at 0, where that of sqrt is infinite."""
    zero = T.eq(square, 0)
    root = T.sqrt(T.switch(zero, T.ones_like(square), square))
    return T.switch(zero, T.zeros_like(square), root)


def _center(x: TensorVariable, y: TensorVariable) -> TensorVariable:
    """A constant that is subtracted from x and y: a common offset would cancel the digits."""
    center = disconnected_grad(T.mean(x, axis=0) + T.mean(y, axis=0)) / 2
    # A row with NaN must not spoil all pairs.
    return T.switch(T.isnan(center) | T.isinf(center), T.zeros_like(center), center)


def _check_pair(x: TensorVariable, y: TensorVariable) -> tuple[TensorVariable, TensorVariable]:
    same = y is x
    x = T.as_tensor_variable(x)
    y = x if same else T.as_tensor_variable(y)
    check_floating("x", x, ndim=2)
    check_floating("y", y, ndim=2)
    check_dtype("y", y, x.dtype)
    return x, y if same else check_width("y", y, x.shape[1])
