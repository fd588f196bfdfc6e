"""Triplet mining: the triplets from which a triplet loss still learns, as indices.

    batch hard    per anchor   argmax d(anchor, positive),  argmin d(anchor, negative)
    semi-hard     per pair     argmin d(a, n)  with  d(a, p) < d(a, n) < d(a, p) + margin
    violators     per pair     every n of a pool  with  d(a, n) < d(a, p) + margin

Of equal distances the lower index wins. Distances that differ by no more than rounding are equal,
and a margin that is met to within rounding is met. Indices have no gradient.

Sources: Schroff, Kalenichenko, Philbin (2015), FaceNet; Hermans, Beyer, Leibe (2017), In Defense
of the Triplet Loss.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from tf2_impl.distances import DISTANCES, paired_distances, pairwise_distances
from tf2_impl.fast import triplet_mining as fast
from tf2_impl.support.checks import check_choice, check_count, check_finite, check_number
from tf2_impl.support.keras_loss import LabelLoss
from tf2_impl.support.precision import in_single_precision
from tf2_impl.support.ties import first_minimum, rounding_error
from tf2_impl.support.triplet_search import (
    among_nearest,
    checked_pool,
    comparable_distance,
    margin_reach,
    pool_rounding_error,
    search_batch,
    triplet_rows,
)

REDUCTIONS = ("mean", "sum", "none")


class Triplets(NamedTuple):
    """Indices of rows, each (triplets,), int64.

    Anchors are rows of the batch, positives and negatives of the reference, or without one of the
    batch too.
    """

    anchors: tf.Tensor
    positives: tf.Tensor
    negatives: tf.Tensor


class TripletStatistics(NamedTuple):
    """How many triplets a mining has found, and how hard they are: numbers without axes.

    count: of the triplets, int64. violating: the share of them that violates the margin.
    positive_distance, negative_distance, hinge: means. Of no triplets, all but the count are NaN.
    """

    count: tf.Tensor
    violating: tf.Tensor
    positive_distance: tf.Tensor
    negative_distance: tf.Tensor
    hinge: tf.Tensor


class Violators(NamedTuple):
    """Indices of the pairs and of rows of the pool, each (violators,), int64."""

    anchors: tf.Tensor
    candidates: tf.Tensor


@in_single_precision
def batch_hard_triplets(
    embeddings: tf.Tensor,
    labels: tf.Tensor | None,
    *,
    distance: str = "cosine",
    positives: str = "hardest",
    reference: tf.Tensor | None = None,
    reference_labels: tf.Tensor | None = None,
    same: tf.Tensor | None = None,
) -> Triplets:
    """The farthest positive and the nearest negative of every anchor that has both.

        argmax_p d(a, p),  argmin_n d(a, n);  with positives="easiest"  argmin_p d(a, p)

    Half precision computes in float32.

    Args:
        embeddings: (n, features), floating.
        labels: (n,), integers; or several labels of a row, (n, classes), bool: two rows are
            positives when they share one, negatives when they share none.
        distance: cosine, sqeuclidean or euclidean.
        positives: hardest, or easiest for the nearest positive of every anchor: rows of one class
            then need not all lie together.
        reference, reference_labels: (m, features) and (m,) or (m, classes), as embeddings and
            labels: positives and negatives are rows of the reference, such as a memory bank, none
            of which is left out as the anchor itself.
        same: (n, m), bool, in the place of the labels, which are None then: which rows of the
            reference, or of the batch, are of the anchor's class.
    Returns:
        Triplets, ordered by anchor; there may be none.
    Raises:
        TypeError: for integer embeddings, for labels that are neither integers nor several bool
            for a row, and for dtypes that differ.
        ValueError: for an empty batch, wrong shapes, NaN or infinity.
    Source: Hermans, Beyer, Leibe (2017), equation 5; easiest: Xuan, Stylianou, Pless (2020),
        Improved embeddings with easy positive triplet mining.
    Example:
        >>> x = tf.constant([[0.0], [1.0], [3.0], [4.0]])
        >>> labels = tf.constant([0, 0, 0, 1])
        >>> found = batch_hard_triplets(x, labels, distance="euclidean")
        >>> [index.numpy().tolist() for index in found]
        [[0, 1, 2], [2, 2, 0], [3, 3, 3]]
    """
    check_choice("positives", positives, ("hardest", "easiest"))
    searched = search_batch(embeddings, labels, distance, reference, reference_labels, same)
    chosen, nearest, has_both = _hardest(*searched, distance, positives)  # (n,)
    anchors = tf.where(has_both)[:, 0]
    return Triplets(anchors, tf.gather(chosen, anchors), tf.gather(nearest, anchors))


def _hardest(
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


@in_single_precision
def semi_hard_triplets(
    embeddings: tf.Tensor,
    labels: tf.Tensor | None,
    *,
    margin: float = 0.3,
    distance: str = "cosine",
    reference: tf.Tensor | None = None,
    reference_labels: tf.Tensor | None = None,
    same: tf.Tensor | None = None,
) -> Triplets:
    """For each pair of a class the nearest negative farther than the positive, within the margin.

        argmin_n d(a, n)  with  d(a, p) < d(a, n) < d(a, p) + margin

    A pair without such a negative is left out. Work n·m log m and memory n·m for a
    reference of m rows, or m = n. Half precision computes in
    float32.

    Args:
        embeddings: (n, features), floating.
        labels: (n,), integers; or several labels of a row, (n, classes), bool: two rows are
            positives when they share one, negatives when they share none.
        margin: at least 0, in the unit of the distance.
        distance: cosine, sqeuclidean or euclidean.
        reference, reference_labels: (m, features) and (m,) or (m, classes), as embeddings and
            labels: positives and negatives are rows of the reference, such as a memory bank, none
            of which is left out as the anchor itself.
        same: (n, m), bool, in the place of the labels, which are None then: which rows of the
            reference, or of the batch, are of the anchor's class.
    Returns:
        Triplets, ordered by anchor, then by positive; there may be none.
    Raises:
        TypeError: for integer embeddings, for labels that are neither integers nor several bool
            for a row, and for dtypes that differ.
        ValueError: for an empty batch, wrong shapes, NaN or infinity, or a negative margin.
    Source: Schroff, Kalenichenko, Philbin (2015), section 3.2.
    Example:
        >>> x = tf.constant([[0.0], [1.0], [3.0], [4.0]])
        >>> labels = tf.constant([0, 0, 1, 2])
        >>> found = semi_hard_triplets(x, labels, margin=3.0, distance="euclidean")
        >>> [index.numpy().tolist() for index in found]
        [[0, 1], [1, 0], [2, 2]]
    """
    margin = check_number("margin", margin, least=0)
    searched = search_batch(embeddings, labels, distance, reference, reference_labels, same)
    nearest, found = _semi_hard(*searched, margin, distance)  # (n, m)
    pairs = tf.where(found)
    return Triplets(pairs[:, 0], pairs[:, 1], tf.gather_nd(nearest, pairs))


def _semi_hard(
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

        every n of the pool  with  d(a, n) < d(a, p) + margin

    A pool larger than a block is read in blocks, twice when there is a limit: besides the result,
    memory grows with m·features and n·(block_size + limit), not with n·m. Half precision computes
    in float32.

    Args:
        anchor, positive: (n, features), floating, a pair in each row.
        pool: (m, features), of the same dtype: candidate negatives.
        margin: at least 0, in the unit of the distance.
        distance: cosine, sqeuclidean or euclidean.
        limit: how many violators to keep for each pair, the nearest; all when None.
        block_size: how many candidates to compare at a time.
    Returns:
        Violators, ordered by anchor, then by candidate; there may be none.
    Raises:
        TypeError: for integers and for dtypes that differ.
        ValueError: for arrays that are empty, differ in shape or hold NaN or infinity, a negative
            margin, and a limit or a block_size below 1.
    Example:
        >>> x = tf.constant([[3.0], [2.0], [1.0], [4.0], [9.0]])
        >>> found = margin_violators(x[:1], x[1:2], x[2:], margin=1.5, distance="euclidean")
        >>> [index.numpy().tolist() for index in found]
        [[0, 0], [0, 1]]
    """
    margin = check_number("margin", margin, least=0)
    check_choice("distance", distance, DISTANCES)
    limit = limit if limit is None else check_count("limit", limit)
    block_size = check_count("block_size", block_size)
    anchor, positive, pool = checked_pool(anchor, positive, pool)
    tolerance = pool_rounding_error(anchor, pool, distance)
    comparable = comparable_distance(distance)
    near = paired_distances(anchor, positive, distance=comparable)
    check_finite("positive", near)
    reach = (margin_reach(near, margin, distance) - tolerance)[:, None]  # (n, 1)
    if fast.applies_to_pool(pool, block_size):  # a pool of more than one block, or of unknown size
        pairs = fast.violators(
            anchor, pool, reach, tolerance, distance=comparable, limit=limit, block_size=block_size
        )
        return Violators(pairs[:, 0], pairs[:, 1])
    distances = pairwise_distances(anchor, pool, distance=comparable)  # (n, m)
    violates = distances < reach
    if limit is not None and limit < pool.shape[0]:
        infinity = tf.constant(math.inf, distances.dtype)
        violates &= among_nearest(tf.where(violates, distances, infinity), limit, tolerance)
    pairs = tf.where(violates)
    return Violators(pairs[:, 0], pairs[:, 1])


@in_single_precision
def triplet_statistics(
    embeddings: tf.Tensor,
    triplets: Sequence[tf.Tensor],
    *,
    margin: float = 0.3,
    distance: str = "cosine",
    reference: tf.Tensor | None = None,
) -> TripletStatistics:
    """How hard the triplets are that a mining has found: numbers to watch while a model learns.

        share with d(a, n) < d(a, p) + margin,  means of d(a, p), d(a, n) and the hinge

    A margin that is met to within rounding is met. The numbers have no gradient. Half precision
    computes in float32.

    Args:
        embeddings: (n, features), floating.
        triplets: indices of anchors, positives and negatives, (triplets,) integers each, such as
            `Triplets`.
        margin: at least 0, in the unit of the distance.
        distance: cosine, sqeuclidean or euclidean.
        reference: (m, features), whose rows positives and negatives are; embeddings when None.
    Returns:
        TripletStatistics. Of no triplets the count is 0 and all else NaN: no mean exists.
    Raises:
        TypeError: for integer embeddings, indices that are no integers, and dtypes that differ.
        ValueError: for an empty batch, wrong shapes, rows that do not exist, or a negative margin.
    Example:
        >>> x = tf.constant([[0.0], [1.0], [3.0]])
        >>> triplets = batch_hard_triplets(x, tf.constant([0, 0, 1]), distance="euclidean")
        >>> found = triplet_statistics(x, triplets, margin=1.5, distance="euclidean")
        >>> [number.numpy().item() for number in found]  # 1 − 3 and 1 − 2: one violates 1.5
        [2, 0.5, 1.0, 2.5, 0.25]
    """
    margin = check_number("margin", margin, least=0)
    check_choice("distance", distance, DISTANCES)
    anchor, positive, negative = triplet_rows(embeddings, triplets, reference)
    near = paired_distances(anchor, positive, distance=distance)  # (triplets,)
    far = paired_distances(anchor, negative, distance=distance)
    zero = tf.zeros((1,), near.dtype)
    tolerance = rounding_error(tf.concat([near, far, zero], axis=0), distance)
    violation = margin + near - far
    violating = tf.cast(violation > tolerance, near.dtype)
    count = tf.shape(near, out_type=tf.int64)[0]
    means = (tf.reduce_mean(x) for x in (violating, near, far, tf.nn.relu(violation)))
    return TripletStatistics(count, *means)


@keras.saving.register_keras_serializable("fourfold")
class BatchHardTripletLoss(LabelLoss):
    """The triplet loss of `batch_hard_triplets`, as a Keras loss of embeddings and their labels.

        Σ max(0, margin + max_p d(a, p) − min_n d(a, n)) / number of anchors that have both

    Zero, with zero gradient, when there is no triplet. A margin that is met to within rounding
    counts as met. Half precision computes in float32.

    Args:
        margin: at least 0, in the unit of the distance.
        distance: cosine, sqeuclidean or euclidean.
        reduction: mean over the triplets, sum, or none: the hinge of each anchor, (n,), which is 0
            for an anchor without a triplet. Sample weights weigh anchors, and not the count of
            triplets that the mean divides by.
        name, dtype: as of any Keras loss.
    Raises:
        ValueError: for a negative margin, for a distance or a reduction that is not known, and,
            when it is called, for labels that are neither (n,) nor (n, 1).
    Source: Hermans, Beyer, Leibe (2017), equation 5.
    Example:
        >>> x, labels = tf.constant([[0.0], [1.0], [3.0]]), [0, 0, 1]
        >>> BatchHardTripletLoss(margin=3.0, distance="euclidean")(labels, x).numpy().item()
        1.5
    """

    def __init__(
        self,
        *,
        margin: float = 0.3,
        distance: str = "cosine",
        reduction: str = "mean",
        name: str = "batch_hard_triplet_loss",
        dtype: str | None = None,
    ) -> None:
        super().__init__(name=name, dtype=dtype, **_checked_options(margin, distance, reduction))

    def anchor_sums(self, embeddings: tf.Tensor, labels: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        margin, distance = self.config["margin"], self.config["distance"]
        searched = search_batch(embeddings, labels, distance)
        farthest, nearest, found = _hardest(*searched, distance)
        columns = (one[:, None] for one in (farthest, nearest, found))  # (n, 1)
        return _hinges_of_found(embeddings, *columns, margin=margin, distance=distance)


@keras.saving.register_keras_serializable("fourfold")
class SemiHardTripletLoss(LabelLoss):
    """The triplet loss of `semi_hard_triplets`, as a Keras loss of embeddings and their labels.

        Σ (margin + d(a, p) − d(a, n)) / number of semi-hard triplets (a, p, n)

    Zero, with zero gradient, when there is no triplet. Half precision computes in float32.

    Args:
        margin: at least 0, in the unit of the distance.
        distance: cosine, sqeuclidean or euclidean.
        reduction: mean over the triplets, sum, or none: the sum of the hinges of each anchor, (n,).
            Sample weights weigh anchors, and not the count of triplets that the mean divides by.
        name, dtype: as of any Keras loss.
    Raises:
        ValueError: for a negative margin, for a distance or a reduction that is not known, and,
            when it is called, for labels that are neither (n,) nor (n, 1).
    Source: Schroff, Kalenichenko, Philbin (2015), section 3.2.
    Example:
        >>> x, labels = tf.constant([[0.0], [1.0], [3.0]]), [0, 0, 1]
        >>> SemiHardTripletLoss(margin=3.0, distance="euclidean")(labels, x).numpy().item()
        1.5
    """

    def __init__(
        self,
        *,
        margin: float = 0.3,
        distance: str = "cosine",
        reduction: str = "mean",
        name: str = "semi_hard_triplet_loss",
        dtype: str | None = None,
    ) -> None:
        super().__init__(name=name, dtype=dtype, **_checked_options(margin, distance, reduction))

    def anchor_sums(self, embeddings: tf.Tensor, labels: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        margin, distance = self.config["margin"], self.config["distance"]
        searched = search_batch(embeddings, labels, distance)
        nearest, found = _semi_hard(*searched, margin, distance)  # (n, n)
        positives = tf.broadcast_to(tf.range(tf.shape(found)[0]), tf.shape(found))
        return _hinges_of_found(
            embeddings, positives, nearest, found, margin=margin, distance=distance
        )


def _checked_options(margin: float, distance: str, reduction: str) -> dict[str, Any]:
    margin = check_number("margin", margin, least=0)
    check_choice("distance", distance, DISTANCES)
    check_choice("reduction", reduction, REDUCTIONS)
    return {"margin": margin, "distance": distance, "reduction": reduction}


def _hinges_of_found(
    embeddings: tf.Tensor,
    positives: tf.Tensor,
    negatives: tf.Tensor,
    found: tf.Tensor,
    *,
    margin: float,
    distance: str,
) -> tuple[tf.Tensor, tf.Tensor]:
    """The hinges of the triplets of each anchor: rows by index, and which of them count, (n, k).

    The distances are computed again, for their gradient: the mining compares squares.
    Returns the sums, (n,), and the number of triplets.
    """
    distances = pairwise_distances(embeddings, embeddings, distance=distance)  # (n, n)
    near = tf.gather(distances, positives, batch_dims=1)
    violation = margin + near - tf.gather(distances, negatives, batch_dims=1)
    tolerance = rounding_error(tf.stop_gradient(distances), distance)
    active = found & (tf.stop_gradient(violation) > tolerance)
    sums = tf.reduce_sum(tf.where(active, violation, tf.zeros_like(violation)), axis=1)
    return sums, tf.math.count_nonzero(found)
