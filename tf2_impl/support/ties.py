"""Ties: values that differ by no more than rounding are equal, and the lower index wins.

A matrix product rounds the same two vectors differently at different places, and each
framework in its own way. Without a tolerance, equal vectors would tie in none of them.
"""

from __future__ import annotations

import math

import numpy as np
import tensorflow as tf


def machine_epsilon(dtype: tf.DType) -> float:
    """The spacing of the numbers of this dtype at 1."""
    return float(np.finfo(dtype.as_numpy_dtype).eps)


def rounding_error(distances: tf.Tensor, distance: str) -> tf.Tensor:
    """The difference below which two of these distances, (n, m), count as equal; a scalar."""
    scale = tf.ones((), distances.dtype) if distance == "cosine" else tf.reduce_max(distances)
    return 32 * machine_epsilon(distances.dtype) * scale


def first_minimum(values: tf.Tensor, tolerance: tf.Tensor) -> tf.Tensor:
    """Index of the smallest value on the last axis; of equal ones, the lowest index."""
    smallest = tf.reduce_min(values, axis=-1, keepdims=True)
    return tf.argmax(tf.cast(values <= smallest + tolerance, tf.int8), axis=-1)


def tied_ranks(values: tf.Tensor, tolerance: tf.Tensor) -> tf.Tensor:
    """Rank of each of these values, (n, m), within its row; tied ones share theirs, from 0 up.

    Of the values in order, those that follow one another within the tolerance are tied.
    """
    order = tf.argsort(values, axis=1)
    ordered = tf.gather(values, order, batch_dims=1)
    steps = tf.cast(ordered[:, 1:] - ordered[:, :-1] > tolerance, tf.int64)
    ranks = tf.pad(tf.cumsum(steps, axis=1), [[0, 0], [1, 0]])
    return tf.gather(ranks, tf.argsort(order, axis=1), batch_dims=1)


def among_top_k(x: tf.Tensor, k: int) -> tf.Tensor:
    """Whether each number is among the k largest on the last axis: (..., n) → (..., n), bool.

    Of equal numbers the one with the lower index is larger, without a tolerance. NaN counts as the
    largest number, and every NaN is among them, even if there are more than k.
    """
    nan = tf.math.is_nan(x)
    ranked = tf.where(nan, tf.constant(math.inf, x.dtype), tf.stop_gradient(x))
    # Only the k-th value is taken from tf.math.top_k: its indices would need a scatter to become a
    # mask. The numbers equal to it are counted from the left, until k are chosen.
    kth = tf.math.top_k(ranked, k).values[..., -1:]
    above, equal = ranked > kth, ranked == kth
    room = k - tf.reduce_sum(tf.cast(above, tf.int32), axis=-1, keepdims=True)
    return above | (equal & (tf.cumsum(tf.cast(equal, tf.int32), axis=-1) <= room)) | nan
