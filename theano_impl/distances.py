"""Distances between rows of vectors.

    cosine        1 − x·y / (‖x‖ ‖y‖)
    sqeuclidean   ‖x − y‖² = ‖x‖² + ‖y‖² − 2 x·y
    euclidean     ‖x − y‖

All pairs at once cost one matrix product (seed topic: computational bottlenecks).
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
    """Divide the vectors on the last axis by max(‖x‖, epsilon).

    x: (..., features), floating. Returns the same shape. A zero vector stays zero and gets
    no gradient. TypeError for integers, ValueError for an epsilon that is not positive.
    """
    x = T.as_tensor_variable(x)
    check_floating("x", x)
    epsilon = check_number("epsilon", epsilon, above=0)
    # x.norm(2) has gradient NaN at zero.
    # Scaled to a largest entry of 1 first: squares of large numbers would overflow.
    largest = disconnected_grad(T.max(abs(x), axis=-1, keepdims=True))
    usable = (largest > 0) & (largest < np.asarray(math.inf, x.dtype))
    scale = T.switch(usable, largest, T.ones_like(largest))
    x = x / scale
    norm = _root(T.sum(x * x, axis=-1, keepdims=True))
    floored = T.maximum(norm, np.asarray(epsilon, x.dtype) / scale)
    return x / T.switch(T.eq(norm, 0), np.asarray(math.inf, x.dtype), floored)


def cosine_similarity(x: TensorVariable, y: TensorVariable) -> TensorVariable:
    """Cosine of the angle between every row of x and every row of y; 0 for a zero row.

    x: (n, features), y: (m, features). Returns (n, m). An AssertionError when the function
    runs and the features differ.
    """
    x, y = _check_pair(x, y)
    unit_x = l2_normalize(x)
    unit_y = unit_x if y is x else l2_normalize(y)
    return T.dot(unit_x, unit_y.T)


def squared_distances(x: TensorVariable, y: TensorVariable) -> TensorVariable:
    """‖x_i − y_j‖² for every row of x and every row of y.

    x: (n, features), y: (m, features). Returns (n, m), never negative, and zero on the
    diagonal when y is x. What rounding cannot tell from zero is zero.
    """
    x, y = _check_pair(x, y)
    center = _center(x, y)
    same = y is x
    x = x - center
    y = x if same else y - center
    product = T.dot(x, y.T)
    # The product's own diagonal cancels to exactly zero; norms summed apart would not.
    x_square = T.diagonal(product) if same else T.sum(x * x, axis=1)
    y_square = x_square if same else T.sum(y * y, axis=1)
    norms = x_square[:, None] + y_square
    square = norms - 2 * product
    zero = square <= machine_epsilon(x.dtype, times=8) * disconnected_grad(norms)
    # Less itself, it is zero, and its derivatives stay: the second one is 2 where x = y too.
    return square - disconnected_grad(T.switch(zero, square, T.zeros_like(square)))


def pairwise_distances(
    x: TensorVariable, y: TensorVariable, *, distance: str = "cosine"
) -> TensorVariable:
    """The distance between every row of x and every row of y.

    x: (n, features), y: (m, features); distance: cosine, sqeuclidean or euclidean.
    Returns (n, m). The gradient of a distance of zero is zero.
    """
    check_choice("distance", distance, DISTANCES)
    if distance == "cosine":
        return 1 - cosine_similarity(x, y)
    square = squared_distances(x, y)
    return _root(square) if distance == "euclidean" else square


def paired_distances(
    x: TensorVariable, y: TensorVariable, *, distance: str = "cosine"
) -> TensorVariable:
    """The distance between row i of x and row i of y.

    x, y: (n, features); distance: cosine, sqeuclidean or euclidean. Returns (n,).
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
    """The square root, with gradient zero at zero where sqrt has infinity."""
    zero = T.eq(square, 0)
    root = T.sqrt(T.switch(zero, T.ones_like(square), square))
    return T.switch(zero, T.zeros_like(square), root)


def _center(x: TensorVariable, y: TensorVariable) -> TensorVariable:
    """The point that is subtracted from both, a constant: distances do not depend on it."""
    center = disconnected_grad(T.mean(x, axis=0) + T.mean(y, axis=0)) / 2
    # One bad row must not spoil all pairs.
    return T.switch(T.isnan(center) | T.isinf(center), T.zeros_like(center), center)


def _check_pair(x: TensorVariable, y: TensorVariable) -> tuple[TensorVariable, TensorVariable]:
    same = y is x
    x = T.as_tensor_variable(x)
    y = x if same else T.as_tensor_variable(y)
    check_floating("x", x, ndim=2)
    check_floating("y", y, ndim=2)
    check_dtype("y", y, x.dtype)
    return x, y if same else check_width("y", y, x.shape[1])
