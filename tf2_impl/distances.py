"""Distances between rows of vectors.

    cosine        1 − x·y / (‖x‖ ‖y‖)
    sqeuclidean   ‖x − y‖² = ‖x‖² + ‖y‖² − 2 x·y
    euclidean     ‖x − y‖

All pairs at once cost one matrix product (seed topic: computational bottlenecks).
"""

from __future__ import annotations

import math

import tensorflow as tf

from tf2_impl.support.checks import (
    check_choice,
    check_dtype,
    check_floating,
    check_like,
    check_number,
    check_width,
    size,
)
from tf2_impl.support.precision import in_single_precision
from tf2_impl.support.ties import machine_epsilon

DISTANCES = ("cosine", "sqeuclidean", "euclidean")


@in_single_precision
def l2_normalize(x: tf.Tensor, *, epsilon: float = 1e-12) -> tf.Tensor:
    """Divide the vectors on the last axis by max(‖x‖, epsilon).

    x: (..., features), floating. Returns the same shape. A zero vector stays zero and gets
    no gradient. TypeError for integers, ValueError for an epsilon that is not positive.
    """
    x = tf.convert_to_tensor(x)
    check_floating("x", x)
    epsilon = check_number("epsilon", epsilon, above=0)
    # tf.math.l2_normalize floors the square of the norm, at 1e-12: norms below 1e-6 differ.
    # Scaled to a largest entry of 1 first: squares of large numbers would overflow.
    largest = tf.stop_gradient(tf.reduce_max(tf.abs(x), axis=-1, keepdims=True))
    usable = (largest > 0) & tf.math.is_finite(largest)
    scale = tf.where(usable, largest, tf.ones_like(largest))
    x = x / scale
    norm = _root(tf.reduce_sum(x * x, axis=-1, keepdims=True))
    floored = tf.maximum(norm, epsilon / scale)
    return x / tf.where(norm == 0, tf.constant(math.inf, x.dtype), floored)


@in_single_precision
def cosine_similarity(x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
    """Cosine of the angle between every row of x and every row of y; 0 for a zero row.

    x: (n, features), y: (m, features). Returns (n, m). ValueError when the features differ.
    """
    x, y = _check_pair(x, y)
    unit_x = l2_normalize(x)
    unit_y = unit_x if y is x else l2_normalize(y)
    return tf.matmul(unit_x, unit_y, transpose_b=True)


@in_single_precision
def squared_distances(x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
    """‖x_i − y_j‖² for every row of x and every row of y.

    x: (n, features), y: (m, features). Returns (n, m), never negative, and zero on the
    diagonal when y is x. What rounding cannot tell from zero is zero.
    """
    x, y = _check_pair(x, y)
    center = _center(x, y)
    same = y is x
    x = x - center
    y = x if same else y - center
    product = tf.matmul(x, y, transpose_b=True)
    # The product's own diagonal cancels to exactly zero; norms summed apart would not.
    x_square = tf.linalg.diag_part(product) if same else tf.reduce_sum(x * x, axis=1)
    y_square = x_square if same else tf.reduce_sum(y * y, axis=1)
    norms = x_square[:, None] + y_square
    square = norms - 2 * product
    zero = square <= 8 * machine_epsilon(x.dtype) * tf.stop_gradient(norms)
    # Less itself, it is zero, and its derivatives stay: the second one is 2 where x = y too.
    return square - tf.stop_gradient(tf.where(zero, square, tf.zeros_like(square)))


@in_single_precision
def pairwise_distances(x: tf.Tensor, y: tf.Tensor, *, distance: str = "cosine") -> tf.Tensor:
    """The distance between every row of x and every row of y.

    x: (n, features), y: (m, features); distance: cosine, sqeuclidean or euclidean.
    Returns (n, m). The gradient of a distance of zero is zero.
    """
    check_choice("distance", distance, DISTANCES)
    if distance == "cosine":
        return 1 - cosine_similarity(x, y)
    square = squared_distances(x, y)
    return _root(square) if distance == "euclidean" else square


@in_single_precision
def paired_distances(x: tf.Tensor, y: tf.Tensor, *, distance: str = "cosine") -> tf.Tensor:
    """The distance between row i of x and row i of y.

    x, y: (n, features); distance: cosine, sqeuclidean or euclidean. Returns (n,).
    """
    check_choice("distance", distance, DISTANCES)
    x, y = tf.convert_to_tensor(x), tf.convert_to_tensor(y)
    check_floating("x", x, ndim=2)
    check_like("y", y, "x", x)
    if distance == "cosine":
        return 1 - tf.reduce_sum(l2_normalize(x) * l2_normalize(y), axis=1)
    square = tf.reduce_sum((x - y) ** 2, axis=1)
    return _root(square) if distance == "euclidean" else square


def _root(square: tf.Tensor) -> tf.Tensor:
    """The square root, with gradient zero at zero where sqrt has infinity."""
    zero = square == 0
    root = tf.sqrt(tf.where(zero, tf.ones_like(square), square))
    return tf.where(zero, tf.zeros_like(square), root)


def _center(x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
    """The point that is subtracted from both, a constant: distances do not depend on it."""
    center = tf.stop_gradient(tf.reduce_mean(x, axis=0) + tf.reduce_mean(y, axis=0)) / 2
    # One bad row must not spoil all pairs.
    return tf.where(tf.math.is_finite(center), center, tf.zeros_like(center))


def _check_pair(x: tf.Tensor, y: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    same = y is x
    x = tf.convert_to_tensor(x)
    y = x if same else tf.convert_to_tensor(y)
    check_floating("x", x, ndim=2)
    check_floating("y", y, ndim=2)
    check_dtype("y", y, x.dtype)
    check_width("y", y, size(x, 1))
    return x, y
