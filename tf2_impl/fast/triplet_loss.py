"""All triplets of a batch, counted by a sort instead of one by one: n² log n instead of n³.

A negative violates the margin of every positive whose reach, d(a, p) + margin, is beyond it. So
the reaches of an anchor's positives and the distances of its negatives are sorted, and binary
searches count the negatives within each reach and the reaches beyond each negative.
"""

from __future__ import annotations

import math

import tensorflow as tf

from tf2_impl.support.compiler import in_xla


def applies() -> bool:
    """Not under XLA, whose search compares each with all: memory of n³."""
    return not in_xla()


def count_active(
    distances: tf.Tensor,
    positive: tf.Tensor,
    negative: tf.Tensor,
    margin: float,
    tolerance: tf.Tensor,
) -> tuple[tf.Tensor, tf.Tensor]:
    """The counts of `_count_active` in the component: (n, m) and (n,), in the distances' dtype."""
    n = tf.shape(distances)[1]
    infinity = tf.constant(math.inf, distances.dtype)
    reach = distances + margin - tolerance
    negatives = tf.sort(tf.where(negative, distances, infinity), axis=1)
    reaches = tf.sort(tf.where(positive, reach, -infinity), axis=1)
    reached = tf.searchsorted(negatives, reach)
    reaching = n - tf.searchsorted(reaches, distances, side="right")
    counts = tf.where(positive, reached, tf.where(negative, -reaching, 0))
    active = tf.reduce_sum(tf.where(positive, reached, 0), axis=1)
    return tf.cast(counts, distances.dtype), tf.cast(active, distances.dtype)
