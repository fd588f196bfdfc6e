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

import numpy as np
import theano
import theano.tensor as T
from theano.gradient import disconnected_grad
from theano.tensor.var import TensorVariable

from theano_impl.distances import (
    DISTANCES,
    paired_distances,
    pairwise_distances,
    squared_distances,
)
from theano_impl.support.checks import (
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
)
from theano_impl.support.ties import first_minimum, rounding_error, tied_ranks


class Triplets(NamedTuple):
    """Rows of a batch, each (triplets,), int64."""

    anchors: TensorVariable
    positives: TensorVariable
    negatives: TensorVariable


class Violators(NamedTuple):
    """Rows of the pairs and rows of the pool, each (violators,), int64."""

    anchors: TensorVariable
    candidates: TensorVariable


def batch_hard_triplets(
    embeddings: TensorVariable, labels: TensorVariable, *, distance: str = "cosine"
) -> Triplets:
    """The farthest positive and the nearest negative of every anchor that has both.

    embeddings: (n, features); labels: (n,) integers. Anchors ascend; there may be none.
    TypeError for integer embeddings; AssertionError, when it runs, for an empty batch, NaN or
    infinity.
    """
    distances, positive, negative = _search_batch(embeddings, labels, distance)
    tolerance = rounding_error(distances, _comparable(distance))
    infinity = np.asarray(math.inf, distances.dtype)
    farthest = first_minimum(T.switch(positive, -distances, infinity), tolerance)
    nearest = first_minimum(T.switch(negative, distances, infinity), tolerance)
    (anchors,) = (T.any(positive, axis=1) & T.any(negative, axis=1)).nonzero()
    return Triplets(anchors, farthest[anchors], nearest[anchors])


def semi_hard_triplets(
    embeddings: TensorVariable,
    labels: TensorVariable,
    *,
    margin: float = 0.3,
    distance: str = "cosine",
) -> Triplets:
    """For each pair of a class the nearest negative farther than the positive, within the margin.

    embeddings: (n, features); labels: (n,) integers. Ordered by anchor, then by positive; a
    pair without such a negative is left out. Work n² log n, memory n². TypeError for integer
    embeddings, ValueError for a negative margin; AssertionError, when it runs, for an empty
    batch, NaN or infinity.
    """
    margin = check_number("margin", margin, least=0)
    distances, positive, negative = _search_batch(embeddings, labels, distance)
    tolerance = rounding_error(distances, _comparable(distance))
    n = distances.shape[0]
    rows = T.arange(n)[:, None]
    ranks = tied_ranks(distances, tolerance)
    # One sorted row of keys, ordered by distance and then by index, answers for all positives.
    # It ends in at least one n², for the anchor itself, where no negative is farther.
    keys = T.sort(T.switch(negative, ranks * n + T.arange(n), n * n), axis=1)
    # Theano searches in one sorted row, not in many: sort what is sought and the keys together
    # and count the keys before it.
    order = T.argsort(T.concatenate([(ranks + 1) * n, keys], axis=1), axis=1, kind="mergesort")
    keys_before = T.cumsum(T.cast(order >= n, "int64"), axis=1)
    key = keys[rows, keys_before[rows, T.argsort(order, axis=1)[:, :n]]]
    nearest = key % n
    # A root magnifies the rounding of a small square, so it is taken from the lower end.
    reach = _reach(distances - tolerance, margin, distance) - tolerance
    within = distances[rows, nearest] < reach
    anchors, positives = (positive & (key < n * n) & within).nonzero()
    return Triplets(anchors, positives, nearest[anchors, positives])


def margin_violators(
    anchor: TensorVariable,
    positive: TensorVariable,
    pool: TensorVariable,
    *,
    margin: float = 0.3,
    distance: str = "cosine",
    limit: int | None = None,
    block_size: int = 4096,
) -> Violators:
    """The candidates of a pool that are not yet farther than the positive by the margin.

    anchor, positive: (n, features), a pair in each row; pool: (m, features) candidate
    negatives. With a limit, only so many of the nearest are kept for each pair. Ordered by
    anchor, then by candidate. The pool is looked through in blocks, twice: besides the
    result, memory grows with m·features and n·(block_size + limit), not with n·m. TypeError
    for integers; ValueError for a negative margin, a limit or a block_size below 1;
    AssertionError, when it runs, for arrays that are empty, differ in shape or hold NaN or
    infinity.
    """
    margin = check_number("margin", margin, least=0)
    check_choice("distance", distance, DISTANCES)
    if limit is not None:
        limit = check_count("limit", limit)
    block_size = check_count("block_size", block_size)
    anchor, positive, pool = (
        disconnected_grad(T.as_tensor_variable(x)) for x in (anchor, positive, pool)
    )
    check_floating("anchor", anchor, ndim=2)
    anchor = check_not_empty("anchor", anchor)
    positive = check_like("positive", positive, "anchor", anchor)
    check_floating("pool", pool, ndim=2)
    check_dtype("pool", pool, anchor.dtype)
    pool = check_width("pool", pool, anchor.shape[1])
    pool = check_not_empty("pool", pool)
    anchor = check_finite("anchor", anchor)
    positive = check_finite("positive", positive)
    pool = check_finite("pool", pool)

    def block_distances(
        start: TensorVariable, anchor: TensorVariable, pool: TensorVariable
    ) -> TensorVariable:
        block = pool[start : start + block_size]
        return pairwise_distances(anchor, block, distance=_comparable(distance))

    tolerance = _pool_rounding_error(anchor, pool, distance)
    near = paired_distances(anchor, positive, distance=_comparable(distance))
    near = check_finite("positive", near)
    reach = (_reach(near, margin, distance) - tolerance)[:, None]
    # Candidates nearer than the cutoff, the limit-th violator, are kept; of those that tie
    # with it, as many as the quota leaves room for.
    # What a scan carries keeps its shape, so a list of violators cannot grow in it: one scan
    # counts them, the next writes each into its place in a result of the right length.
    starts = T.arange(0, pool.shape[0], block_size)
    infinity = np.asarray(math.inf, anchor.dtype)
    cutoff, quota = T.alloc(infinity, anchor.shape[0], 1), T.zeros_like(reach, dtype="int64")
    counts = T.zeros((anchor.shape[0],), dtype="int64")
    if limit is None:

        def count(start, counts, anchor, pool, reach):
            violating = block_distances(start, anchor, pool) < reach
            return counts + T.sum(violating, axis=1)

        counts, _ = theano.scan(count, starts, counts, [anchor, pool, reach], strict=True)
        counts = counts[-1]
    else:

        def survey(start, nearest, anchor, pool, reach):
            distances = block_distances(start, anchor, pool)
            violating = T.switch(distances < reach, distances, infinity)
            joined = T.sort(T.concatenate([nearest, violating], axis=1), axis=1)
            return joined[:, : nearest.shape[1]]

        most = T.minimum(limit, pool.shape[0])
        nearest = T.alloc(infinity, anchor.shape[0], most)
        nearest, _ = theano.scan(survey, starts, nearest, [anchor, pool, reach], strict=True)
        nearest = nearest[-1]
        cutoff = nearest[:, -1][:, None]  # -1: would not be known to broadcast
        quota = limit - T.sum(nearest - cutoff < -tolerance, axis=1, keepdims=True)
        counts = T.sum(nearest < infinity, axis=1)

    def select(start, candidates, free, ties, anchor, pool, reach, cutoff, quota, tolerance):
        distances = block_distances(start, anchor, pool)
        offset = distances - cutoff
        tied = (distances < reach) & (abs(offset) <= tolerance)
        place = ties[:, None] + T.cumsum(T.cast(tied, "int64"), axis=1)
        kept = ((distances < reach) & (offset < -tolerance)) | (tied & (place <= quota))
        slots = free[:, None] + T.cumsum(T.cast(kept, "int64"), axis=1)
        rows, columns = kept.nonzero()
        candidates = T.set_subtensor(candidates[slots[rows, columns] - 1], start + columns)
        return candidates, slots[:, -1], place[:, -1]

    candidates = T.zeros((T.sum(counts),), dtype="int64")
    free, ties = T.cumsum(counts) - counts, T.zeros_like(counts)
    (candidates, _, _), _ = theano.scan(
        select,
        starts,
        [candidates, free, ties],
        [anchor, pool, reach, cutoff, quota, tolerance],
        strict=True,
    )
    return Violators(T.repeat(T.arange(anchor.shape[0]), counts), candidates[-1])


def _search_batch(
    embeddings: TensorVariable, labels: TensorVariable, distance: str
) -> tuple[TensorVariable, TensorVariable, TensorVariable]:
    """Comparable distances, and who is whose positive and whose negative; each (n, n)."""
    check_choice("distance", distance, DISTANCES)
    embeddings = disconnected_grad(T.as_tensor_variable(embeddings))
    labels = T.as_tensor_variable(labels)
    check_floating("embeddings", embeddings, ndim=2)
    embeddings = check_not_empty("embeddings", embeddings)
    labels = check_labels("labels", labels, embeddings.shape[0])
    embeddings = check_finite("embeddings", embeddings)
    distances = pairwise_distances(embeddings, embeddings, distance=_comparable(distance))
    distances = check_finite("embeddings", distances)  # the squares of large numbers overflow
    same = T.eq(labels[:, None], labels)
    return distances, same & T.eq(T.eye(labels.shape[0]), 0), T.eq(same, 0)


def _comparable(distance: str) -> str:
    """The distance to compare by: squares are in the order of their roots, rounded evenly."""
    return "sqeuclidean" if distance == "euclidean" else distance


def _reach(near: TensorVariable, margin: float, distance: str) -> TensorVariable:
    """Where the margin beyond `near` is met; both as comparable distances."""
    step = np.asarray(margin, near.dtype)
    if distance == "euclidean":
        return (T.sqrt(T.maximum(near, 0)) + step) ** 2
    return near + step


def _pool_rounding_error(
    anchor: TensorVariable, pool: TensorVariable, distance: str
) -> TensorVariable:
    """`rounding_error` of all distances at once, so that it does not depend on the blocks.

    No squared distance between two rows is above four times the largest one to the center.
    """
    center = T.mean(pool, axis=0, keepdims=True)
    spread = T.concatenate(
        [squared_distances(anchor, center), squared_distances(pool, center)], axis=0
    )
    spread = check_finite("pool", spread)
    return rounding_error(4 * spread, _comparable(distance))
