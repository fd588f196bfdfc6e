"""What the searches for triplets share: checks, comparable distances, where a margin is met."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from tf2_impl.distances import DISTANCES, pairwise_distances, squared_distances
from tf2_impl.support.checks import (
    check_choice,
    check_dtype,
    check_finite,
    check_floating,
    check_integers,
    check_like,
    check_not_empty,
    check_size,
    check_values,
    check_width,
    size,
)
from tf2_impl.support.labels import class_pairs
from tf2_impl.support.ties import rounding_error


def search_batch(
    embeddings: tf.Tensor,
    labels: tf.Tensor | None,
    distance: str,
    reference: tf.Tensor | None = None,
    reference_labels: tf.Tensor | None = None,
    same: tf.Tensor | None = None,
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Comparable distances, and which pairs are positive and which negative; each (n, m).

    From the m rows of the reference, or without one from the rows of the batch.
    """
    check_choice("distance", distance, DISTANCES)
    embeddings = tf.stop_gradient(tf.convert_to_tensor(embeddings))
    if reference is not None:
        reference = tf.stop_gradient(tf.convert_to_tensor(reference))
    check_floating("embeddings", embeddings, ndim=2)
    check_not_empty("embeddings", embeddings)
    reference, positive, negative = class_pairs(
        embeddings, labels, reference, reference_labels, same
    )
    check_finite("embeddings", embeddings)
    if reference is not embeddings:
        check_finite("reference", reference)
    distances = pairwise_distances(embeddings, reference, distance=comparable_distance(distance))
    check_finite("embeddings", distances)  # the squares of large numbers overflow
    return distances, positive, negative


def checked_pool(
    anchor: tf.Tensor, positive: tf.Tensor, pool: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Pairs, (n, features) each, and a pool, (m, features), neither empty; all finite."""
    anchor, positive, pool = (
        tf.stop_gradient(tf.convert_to_tensor(x)) for x in (anchor, positive, pool)
    )
    check_floating("anchor", anchor, ndim=2)
    check_not_empty("anchor", anchor)
    check_like("positive", positive, "anchor", anchor)
    check_floating("pool", pool, ndim=2)
    check_dtype("pool", pool, anchor.dtype)
    check_width("pool", pool, size(anchor, 1))
    check_not_empty("pool", pool)
    for name, x in (("anchor", anchor), ("positive", positive), ("pool", pool)):
        check_finite(name, x)
    return anchor, positive, pool


def comparable_distance(distance: str) -> str:
    """The distance to compare by: squares are in the order of their roots, rounded evenly."""
    return "sqeuclidean" if distance == "euclidean" else distance


def margin_reach(near: tf.Tensor, margin: float, distance: str) -> tf.Tensor:
    """Where the margin beyond `near` is met; both as comparable distances."""
    if distance == "euclidean":
        return tf.square(tf.sqrt(tf.maximum(near, 0)) + margin)
    return near + margin


def pool_rounding_error(anchor: tf.Tensor, pool: tf.Tensor, distance: str) -> tf.Tensor:
    """`rounding_error` of all distances at once, so that it does not depend on the blocks.

    No squared distance between two rows is above four times the largest one to the center.
    """
    center = tf.reduce_mean(pool, axis=0, keepdims=True)
    spread = tf.concat([squared_distances(anchor, center), squared_distances(pool, center)], axis=0)
    check_finite("pool", spread)
    return rounding_error(4 * spread, comparable_distance(distance))


def among_nearest(distances: tf.Tensor, limit: int, tolerance: tf.Tensor) -> tf.Tensor:
    """Which are among so many nearest of their row; of those that tie for it the lower indices."""
    # The offset of two infinite distances is NaN, and every comparison with it is False.
    offset = distances + tf.math.top_k(-distances, limit).values[:, -1:]
    nearer = offset < -tolerance
    tied = tf.abs(offset) <= tolerance
    quota = limit - tf.math.count_nonzero(nearer, axis=1, keepdims=True)
    return nearer | (tied & (tf.cumsum(tf.cast(tied, tf.int64), axis=1) <= quota))


def triplet_rows(
    embeddings: tf.Tensor, triplets: Sequence[tf.Tensor], reference: tf.Tensor | None
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Anchors, rows of embeddings, with positives and negatives, rows of the reference, if any."""
    embeddings = tf.stop_gradient(tf.convert_to_tensor(embeddings))
    check_floating("embeddings", embeddings, ndim=2)
    check_not_empty("embeddings", embeddings)
    pool = embeddings if reference is None else tf.stop_gradient(tf.convert_to_tensor(reference))
    check_floating("reference", pool, ndim=2)
    check_not_empty("reference", pool)
    check_dtype("reference", pool, embeddings.dtype)
    check_width("reference", pool, size(embeddings, 1))
    anchors, positives, negatives = (tf.convert_to_tensor(rows) for rows in triplets)
    found = []
    for name, rows, x in (
        ("anchors", anchors, embeddings),
        ("positives", positives, pool),
        ("negatives", negatives, pool),
    ):
        check_integers(name, rows, ndim=1)
        check_size(name, rows, 0, size(anchors, 0), "indices")
        rows = tf.cast(rows, tf.int64)  # a narrow dtype may not hold the number of rows
        n = tf.shape(x, out_type=tf.int64)[0]
        outside = tf.boolean_mask(rows, (rows < 0) | (rows >= n))
        check_values(tf.size(outside) == 0, name, "rows that exist", outside)
        found.append(tf.gather(x, rows))
    anchor, positive, negative = found
    return anchor, positive, negative
