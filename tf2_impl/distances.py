"""Distances between rows of vectors.

    cosine        1 − x·y / (‖x‖ ‖y‖)
    sqeuclidean   ‖x − y‖² = ‖x‖² + ‖y‖² − 2 x·y
    euclidean     ‖x − y‖

All pairs cost one matrix product, (n, d) × (d, m), and no n·m·d differences.
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
    """Divide the vectors on the last axis by their length.

        y = x / max(‖x‖, epsilon)

    Args:
        x: (..., features), floating. Halves compute in float32.
        epsilon: the smallest length that is divided by, above 0.
    Returns:
        The shape of x. A zero vector stays zero, with gradient zero.
    Raises:
        TypeError: an x that is not floating.
        ValueError: an x without axes, an epsilon that is not positive.
    Example:
        >>> l2_normalize(tf.constant([[0.0, 4.0], [0.0, 0.0]])).numpy().tolist()
        [[0.0, 1.0], [0.0, 0.0]]
    """
    x = tf.convert_to_tensor(x)
    check_floating("x", x)
    epsilon = check_number("epsilon", epsilon, above=0)
    # Not tf.math.l2_normalize, which floors the squared norm at 1e-12: norms below 1e-6 differ.
    # Scale the largest entry to 1 first: squares of large numbers overflow.
    largest = tf.stop_gradient(tf.reduce_max(tf.abs(x), axis=-1, keepdims=True))
    usable = (largest > 0) & tf.math.is_finite(largest)
    scale = tf.where(usable, largest, tf.ones_like(largest))
    x = x / scale
    norm = _root(tf.reduce_sum(x * x, axis=-1, keepdims=True))
    floored = tf.maximum(norm, epsilon / scale)
    return x / tf.where(norm == 0, tf.constant(math.inf, x.dtype), floored)


@in_single_precision
def cosine_similarity(x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
    """Cosine of the angle between every row of x and every row of y.

        s_ij = x_i·y_j / (‖x_i‖ ‖y_j‖)

    Args:
        x: (n, features), floating. Halves compute in float32.
        y: (m, features), the dtype of x.
    Returns:
        (n, m); 0 for a zero row.
    Raises:
        TypeError: an x that is not floating, dtypes that differ.
        ValueError: other than two axes, features that differ.
    Example:
        >>> x, y = tf.constant([[2.0, 0.0], [0.0, 0.0]]), tf.constant([[3.0, 0.0]])
        >>> cosine_similarity(x, y).numpy().tolist()
        [[1.0], [0.0]]
    """
    x, y = _check_pair(x, y)
    unit_x = l2_normalize(x)
    unit_y = unit_x if y is x else l2_normalize(y)
    return tf.matmul(unit_x, unit_y, transpose_b=True)


@in_single_precision
def squared_distances(x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
    """Squared Euclidean distance of every row of x from every row of y.

        d_ij = ‖x_i − y_j‖² = ‖x_i‖² + ‖y_j‖² − 2 x_i·y_j

    Args:
        x: (n, features), floating. Halves compute in float32.
        y: (m, features), the dtype of x.
    Returns:
        (n, m), never negative, and 0 on the diagonal when y is x. What rounding errors cannot tell
        from 0 is 0.
    Raises:
        TypeError: an x that is not floating, dtypes that differ.
        ValueError: other than two axes, features that differ.
    Example:
        >>> x, y = tf.constant([[0.0, 0.0], [3.0, 4.0]]), tf.constant([[3.0, 0.0]])
        >>> squared_distances(x, y).numpy().tolist()
        [[9.0], [16.0]]
    """
    x, y = _check_pair(x, y)
    center = _center(x, y)
    same = y is x
    x = x - center
    y = x if same else y - center
    product = tf.matmul(x, y, transpose_b=True)
    # With the norms from the product's diagonal, the distance of a row from itself is exactly 0.
    x_square = tf.linalg.diag_part(product) if same else tf.reduce_sum(x * x, axis=1)
    y_square = x_square if same else tf.reduce_sum(y * y, axis=1)
    norms = x_square[:, None] + y_square
    square = norms - 2 * product
    zero = square <= 8 * machine_epsilon(x.dtype) * tf.stop_gradient(norms)
    # Subtract what is rounding, as a constant: the derivatives stay (the second is 2 at x = y too).
    return square - tf.stop_gradient(tf.where(zero, square, tf.zeros_like(square)))


@in_single_precision
def pairwise_distances(x: tf.Tensor, y: tf.Tensor, *, distance: str = "cosine") -> tf.Tensor:
    """Distance of every row of x from every row of y.

    Args:
        x: (n, features), floating. Halves compute in float32.
        y: (m, features), the dtype of x.
        distance: cosine, sqeuclidean or euclidean.
    Returns:
        (n, m). The gradient of a distance of 0 is 0.
    Raises:
        TypeError: an x that is not floating, dtypes that differ.
        ValueError: an unknown distance, other than two axes, features that differ.
    Example:
        >>> x, y = tf.constant([[0.0], [4.0]]), tf.constant([[3.0]])
        >>> pairwise_distances(x, y, distance="euclidean").numpy().tolist()
        [[3.0], [1.0]]
    """
    check_choice("distance", distance, DISTANCES)
    if distance == "cosine":
        return 1 - cosine_similarity(x, y)
    square = squared_distances(x, y)
    return _root(square) if distance == "euclidean" else square


@in_single_precision
def paired_distances(x: tf.Tensor, y: tf.Tensor, *, distance: str = "cosine") -> tf.Tensor:
    """Distance of row i of x from row i of y.

    Args:
        x: (n, features), floating. Halves compute in float32.
        y: (n, features), the dtype of x.
        distance: cosine, sqeuclidean or euclidean.
    Returns:
        (n,). The gradient of a distance of 0 is 0.
    Raises:
        TypeError: an x that is not floating, dtypes that differ.
        ValueError: an unknown distance, other than two axes, shapes that differ.
    Example:
        >>> x, y = tf.constant([[0.0], [4.0]]), tf.constant([[3.0], [3.0]])
        >>> paired_distances(x, y, distance="euclidean").numpy().tolist()
        [3.0, 1.0]
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
    """The square root, with gradient 0 at 0, where that of sqrt is infinite."""
    zero = square == 0
    root = tf.sqrt(tf.where(zero, tf.ones_like(square), square))
    return tf.where(zero, tf.zeros_like(square), root)


def _center(x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
    """A constant that is subtracted from x and y: a common offset would cancel the digits."""
    center = tf.stop_gradient(tf.reduce_mean(x, axis=0) + tf.reduce_mean(y, axis=0)) / 2
    # A row with NaN must not spoil all pairs.
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
