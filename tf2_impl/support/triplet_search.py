"""The searches for triplets in a batch: what is found for each anchor, or for each of its pairs.

    batch hard    per anchor   argmax d(anchor, positive),  argmin d(anchor, negative)
    semi-hard     per pair     argmin d(a, n)  with  d(a, p) < d(a, n) < d(a, p) + margin

The distances that are compared are squares in the place of their roots.
"""

from __future__ import annotations

import math

import tensorflow as tf

from tf2_impl.distances import DISTANCES, pairwise_distances
from tf2_impl.fast import triplet_mining as fast
from tf2_impl.support.checks import check_choice, check_finite, check_floating, check_not_empty
from tf2_impl.support.labels import class_pairs
from tf2_impl.support.ties import first_minimum, rounding_error


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


def hardest(
    distances: tf.Tensor,
    positive: tf.Tensor,
    negative: tf.Tensor,
    distance: str,
    positives: str = "hardest",
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Of each anchor the hardest or easiest positive, the nearest negative, and if it has both.

    Each is (n,).
    """
    tolerance = rounding_error(distances, comparable_distance(distance))
    infinity = tf.constant(math.inf, distances.dtype)
    order = -distances if positives == "hardest" else distances
    chosen = first_minimum(tf.where(positive, order, infinity), tolerance)  # (n,)
    nearest = first_minimum(tf.where(negative, distances, infinity), tolerance)
    return chosen, nearest, tf.reduce_any(positive, axis=1) & tf.reduce_any(negative, axis=1)


def semi_hard(
    distances: tf.Tensor, positive: tf.Tensor, negative: tf.Tensor, margin: float, distance: str
) -> tuple[tf.Tensor, tf.Tensor]:
    """Of each anchor and row the nearest negative farther than the row, and if they are triplets.

    (n, m) int64 and bool.
    """
    tolerance = rounding_error(distances, comparable_distance(distance))
    if fast.applies():  # where XLA does not compile: its search compares all with all
        nearest, exists = fast.nearest_farther(distances, negative, tolerance)
    else:
        nearest, exists = _nearest_farther(distances, negative, tolerance)
    # A root magnifies the rounding of a small square, so it is taken from the lower end.
    reach = margin_reach(distances - tolerance, margin, distance) - tolerance
    within = tf.gather(distances, nearest, batch_dims=1) < reach
    return nearest, positive & exists & within


def _nearest_farther(
    distances: tf.Tensor, negative: tf.Tensor, tolerance: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """For each anchor and row, of the negatives farther than the row the nearest, and if any is.

    Every negative is compared with every row, for one anchor at a time. (n, m) int64 and bool.
    """

    def search(anchor: tuple[tf.Tensor, tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor]:
        d, n = anchor  # its distances and its negatives, (n,)
        farther = n & (d > (d + tolerance)[:, None])  # (rows, negatives)
        candidates = tf.where(farther, d, tf.constant(math.inf, d.dtype))
        return first_minimum(candidates, tolerance), tf.reduce_any(farther, axis=1)

    return tf.map_fn(search, (distances, negative), fn_output_signature=(tf.int64, tf.bool))


def comparable_distance(distance: str) -> str:
    """The distance to compare by: squares are in the order of their roots, rounded evenly."""
    return "sqeuclidean" if distance == "euclidean" else distance


def margin_reach(near: tf.Tensor, margin: float, distance: str) -> tf.Tensor:
    """Where the margin beyond `near` is met; both as comparable distances."""
    if distance == "euclidean":
        return tf.square(tf.sqrt(tf.maximum(near, 0)) + margin)
    return near + margin
