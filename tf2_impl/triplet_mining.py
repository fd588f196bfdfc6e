"""Triplet mining: the triplets from which a triplet loss still learns, as indices.

    batch hard    per anchor   argmax d(anchor, positive),  argmin d(anchor, negative)
    semi-hard     per pair     argmin d(a, n)  with  d(a, p) < d(a, n) < d(a, p) + margin
    violators     per pair     every n of a pool  with  d(a, n) < d(a, p) + margin

Of equal distances the lower index wins; what differs only by rounding is equal, and a margin
that is met to within rounding is met. Indices have no gradient.

Sources: Schroff et al. 2015 (FaceNet); Hermans et al. 2017 (In Defense of the Triplet Loss);
seed topic: a speaker encoder trained on triplets, violators from outside the batch.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import tensorflow as tf

from tf2_impl.distances import (
    DISTANCES,
    paired_distances,
    pairwise_distances,
    squared_distances,
)
from tf2_impl.support.checks import (
    check_choice,
    check_count,
    check_dtype,
    check_finite,
    check_floating,
    check_labels,
    check_like,
    check_not_empty,
    check_number,
    check_width,
    size,
)
from tf2_impl.support.precision import in_single_precision
from tf2_impl.support.ties import first_minimum, rounding_error, tied_ranks


class Triplets(NamedTuple):
    """Rows of a batch, each (triplets,), int64."""

    anchors: tf.Tensor
    positives: tf.Tensor
    negatives: tf.Tensor


class Violators(NamedTuple):
    """Rows of the pairs and rows of the pool, each (violators,), int64."""

    anchors: tf.Tensor
    candidates: tf.Tensor


@in_single_precision
def batch_hard_triplets(
    embeddings: tf.Tensor, labels: tf.Tensor, *, distance: str = "cosine"
) -> Triplets:
    """The farthest positive and the nearest negative of every anchor that has both.

    embeddings: (n, features); labels: (n,) integers. Anchors ascend; there may be none.
    TypeError for integer embeddings, ValueError for an empty batch, NaN or infinity.
    """
    distances, positive, negative = _search_batch(embeddings, labels, distance)
    tolerance = rounding_error(distances, _comparable(distance))
    infinity = tf.constant(math.inf, distances.dtype)
    farthest = first_minimum(tf.where(positive, -distances, infinity), tolerance)
    nearest = first_minimum(tf.where(negative, distances, infinity), tolerance)
    has_both = tf.reduce_any(positive, axis=1) & tf.reduce_any(negative, axis=1)
    anchors = tf.where(has_both)[:, 0]
    return Triplets(anchors, tf.gather(farthest, anchors), tf.gather(nearest, anchors))


@in_single_precision
def semi_hard_triplets(
    embeddings: tf.Tensor, labels: tf.Tensor, *, margin: float = 0.3, distance: str = "cosine"
) -> Triplets:
    """For each pair of a class the nearest negative farther than the positive, within the margin.

    embeddings: (n, features); labels: (n,) integers. Ordered by anchor, then by positive; a
    pair without such a negative is left out. Work n² log n, memory n². TypeError for integer
    embeddings, ValueError for an empty batch, NaN or infinity, or a negative margin.
    """
    margin = check_number("margin", margin, least=0)
    distances, positive, negative = _search_batch(embeddings, labels, distance)
    tolerance = rounding_error(distances, _comparable(distance))
    n = tf.shape(distances, out_type=tf.int64)[0]
    ranks = tied_ranks(distances, tolerance)
    # One sorted row of keys, ordered by distance and then by index, answers for all positives.
    # It ends in at least one n², for the anchor itself, where no negative is farther.
    keys = tf.sort(tf.where(negative, ranks * n + tf.range(n), n * n), axis=1)
    key = tf.gather(keys, tf.searchsorted(keys, (ranks + 1) * n), batch_dims=1)
    nearest = key % n
    # A root magnifies the rounding of a small square, so it is taken from the lower end.
    reach = _reach(distances - tolerance, margin, distance) - tolerance
    within = tf.gather(distances, nearest, batch_dims=1) < reach
    pairs = tf.where(positive & (key < n * n) & within)
    return Triplets(pairs[:, 0], pairs[:, 1], tf.gather_nd(nearest, pairs))


@in_single_precision
def margin_violators(
    anchor: tf.Tensor,
    positive: tf.Tensor,
    pool: tf.Tensor,
    *,
    margin: float = 0.3,
    distance: str = "cosine",
    limit: int | None = None,
    block_size: int = 4096,
) -> Violators:
    """The candidates of a pool that are not yet farther than the positive by the margin.

    anchor, positive: (n, features), a pair in each row; pool: (m, features) candidate
    negatives. With a limit, only so many of the nearest are kept for each pair. Ordered by
    anchor, then by candidate. The pool is looked through in blocks, twice when there is a
    limit: besides the result, memory grows with m·features and n·(block_size + limit), not
    with n·m. TypeError for integers; ValueError for arrays that are empty, differ in shape
    or hold NaN or infinity, and for a negative margin, a limit or a block_size below 1.
    """
    margin = check_number("margin", margin, least=0)
    check_choice("distance", distance, DISTANCES)
    if limit is not None:
        limit = check_count("limit", limit)
    block_size = check_count("block_size", block_size)
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
    check_finite("anchor", anchor)
    check_finite("positive", positive)
    check_finite("pool", pool)
    pool_size = _refused_by_xla(tf.shape(pool, out_type=tf.int64)[0])

    def more(start: tf.Tensor, *_: tf.Tensor | tf.TensorArray) -> tf.Tensor:
        return start < pool_size

    def block_distances(start: tf.Tensor) -> tf.Tensor:
        block = pool[start : start + block_size]
        return pairwise_distances(anchor, block, distance=_comparable(distance))

    tolerance = _pool_rounding_error(anchor, pool, distance)
    near = paired_distances(anchor, positive, distance=_comparable(distance))
    check_finite("positive", near)
    reach = (_reach(near, margin, distance) - tolerance)[:, None]
    # Candidates nearer than the cutoff, the limit-th violator, are kept; of those that tie
    # with it, as many as the quota leaves room for.
    first = tf.zeros((), tf.int64)
    infinity = tf.constant(math.inf, anchor.dtype)
    cutoff, quota = tf.fill(tf.shape(reach), infinity), 0
    if limit is not None:
        most = tf.cast(tf.minimum(tf.cast(limit, tf.int64), pool_size), tf.int32)

        def survey(start: tf.Tensor, nearest: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            distances = block_distances(start)
            violating = tf.where(distances < reach, distances, infinity)
            joined = tf.concat([nearest, violating], axis=1)
            return start + block_size, -tf.math.top_k(-joined, most).values

        _, nearest = tf.while_loop(
            more,
            survey,
            (first, tf.repeat(cutoff, most, axis=1)),
            shape_invariants=(first.shape, tf.TensorShape([None, None])),
            parallel_iterations=1,
        )
        cutoff = nearest[:, -1:]
        surer = tf.math.count_nonzero(nearest - cutoff < -tolerance, axis=1, keepdims=True)
        quota = limit - surer

    def select(
        start: tf.Tensor, ties: tf.Tensor, found: tf.TensorArray
    ) -> tuple[tf.Tensor, tf.Tensor, tf.TensorArray]:
        distances = block_distances(start)
        offset = distances - cutoff
        tied = (distances < reach) & (tf.abs(offset) <= tolerance)
        place = ties + tf.cumsum(tf.cast(tied, tf.int64), axis=1)
        kept = ((distances < reach) & (offset < -tolerance)) | (tied & (place <= quota))
        found = found.write(found.size(), tf.where(kept) + tf.stack([first, start]))
        return start + block_size, place[:, -1:], found

    found = tf.TensorArray(
        tf.int64, 0, dynamic_size=True, infer_shape=False, element_shape=[None, 2]
    )
    ties = tf.zeros_like(reach, dtype=tf.int64)
    # One block at a time: iterations that overlap would each hold theirs in memory.
    _, _, found = tf.while_loop(
        more,
        select,
        (first, ties, found),
        shape_invariants=(first.shape, tf.TensorShape([None, None]), None),
        parallel_iterations=1,
    )
    pairs = found.concat()
    pairs = tf.gather(pairs, tf.argsort(pairs[:, 0], stable=True))
    return Violators(pairs[:, 0], pairs[:, 1])


def _refused_by_xla(value: tf.Tensor) -> tf.Tensor:
    """The scalar, by way of an operation that XLA has not.

    XLA does not let a TensorArray grow: without an error, nothing would be found.
    """
    return tf.unique_with_counts(value[None]).y[0]


def _search_batch(
    embeddings: tf.Tensor, labels: tf.Tensor, distance: str
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Comparable distances, and who is whose positive and whose negative; each (n, n)."""
    check_choice("distance", distance, DISTANCES)
    embeddings = tf.stop_gradient(tf.convert_to_tensor(embeddings))
    labels = tf.convert_to_tensor(labels)
    check_floating("embeddings", embeddings, ndim=2)
    check_not_empty("embeddings", embeddings)
    check_labels("labels", labels, size(embeddings, 0))
    check_finite("embeddings", embeddings)
    distances = pairwise_distances(embeddings, embeddings, distance=_comparable(distance))
    check_finite("embeddings", distances)  # the squares of large numbers overflow
    same = labels[:, None] == labels
    itself = tf.eye(tf.shape(labels)[0], dtype=tf.bool)
    return distances, same & ~itself, ~same


def _comparable(distance: str) -> str:
    """The distance to compare by: squares are in the order of their roots, rounded evenly."""
    return "sqeuclidean" if distance == "euclidean" else distance


def _reach(near: tf.Tensor, margin: float, distance: str) -> tf.Tensor:
    """Where the margin beyond `near` is met; both as comparable distances."""
    if distance == "euclidean":
        return tf.square(tf.sqrt(tf.maximum(near, 0)) + margin)
    return near + margin


def _pool_rounding_error(anchor: tf.Tensor, pool: tf.Tensor, distance: str) -> tf.Tensor:
    """`rounding_error` of all distances at once, so that it does not depend on the blocks.

    No squared distance between two rows is above four times the largest one to the center.
    """
    center = tf.reduce_mean(pool, axis=0, keepdims=True)
    spread = tf.concat([squared_distances(anchor, center), squared_distances(pool, center)], axis=0)
    check_finite("pool", spread)
    return rounding_error(4 * spread, _comparable(distance))
