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

import numpy as np
import theano
import theano.tensor as T
from theano.gradient import disconnected_grad
from theano.tensor.var import TensorVariable

from theano_impl.distances import DISTANCES, paired_distances, pairwise_distances
from theano_impl.fast import triplet_mining as fast
from theano_impl.support.checks import check_choice, check_count, check_finite, check_number
from theano_impl.support.layer import Layer
from theano_impl.support.ties import first_minimum, rounding_error
from theano_impl.support.triplet_search import (
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

    anchors: TensorVariable
    positives: TensorVariable
    negatives: TensorVariable


class TripletStatistics(NamedTuple):
    """How many triplets a mining has found, and how hard they are: numbers without axes.

    count: of the triplets, int64. violating: the share of them that violates the margin.
    positive_distance, negative_distance, hinge: means. Of no triplets, all but the count are NaN.
    """

    count: TensorVariable
    violating: TensorVariable
    positive_distance: TensorVariable
    negative_distance: TensorVariable
    hinge: TensorVariable


class Violators(NamedTuple):
    """Indices of the pairs and of rows of the pool, each (violators,), int64."""

    anchors: TensorVariable
    candidates: TensorVariable


def batch_hard_triplets(
    embeddings: TensorVariable,
    labels: TensorVariable | None,
    *,
    distance: str = "cosine",
    positives: str = "hardest",
    reference: TensorVariable | None = None,
    reference_labels: TensorVariable | None = None,
    same: TensorVariable | None = None,
) -> Triplets:
    """The farthest positive and the nearest negative of every anchor that has both.

        argmax_p d(a, p),  argmin_n d(a, n);  with positives="easiest"  argmin_p d(a, p)

    Args:
        embeddings: (n, features), float32 or float64.
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
        ValueError: for a wrong number of axes.
        AssertionError: when it runs, for an empty batch, a wrong number of labels, NaN or infinity.
    Source: Hermans, Beyer, Leibe (2017), equation 5; easiest: Xuan, Stylianou, Pless (2020),
        Improved embeddings with easy positive triplet mining.
    Example:
        >>> x = np.array([[0.0], [1.0], [3.0], [4.0]])
        >>> labels = np.array([0, 0, 0, 1])
        >>> found = batch_hard_triplets(x, labels, distance="euclidean")
        >>> [index.eval().tolist() for index in found]
        [[0, 1, 2], [2, 2, 0], [3, 3, 3]]
    """
    check_choice("positives", positives, ("hardest", "easiest"))
    searched = search_batch(embeddings, labels, distance, reference, reference_labels, same)
    chosen, nearest, has_both = _hardest(*searched, distance, positives)  # (n,)
    (anchors,) = has_both.nonzero()
    return Triplets(anchors, chosen[anchors], nearest[anchors])


def _hardest(
    distances: TensorVariable,
    positive: TensorVariable,
    negative: TensorVariable,
    distance: str,
    positives: str = "hardest",
) -> tuple[TensorVariable, TensorVariable, TensorVariable]:
    """Of each anchor the hardest or easiest positive, the nearest negative, and if it has both.

    Each is (n,).
    """
    tolerance = rounding_error(distances, comparable_distance(distance))
    infinity = np.asarray(math.inf, distances.dtype)
    order = -distances if positives == "hardest" else distances
    chosen = first_minimum(T.switch(positive, order, infinity), tolerance)  # (n,)
    nearest = first_minimum(T.switch(negative, distances, infinity), tolerance)
    return chosen, nearest, T.any(positive, axis=1) & T.any(negative, axis=1)


def semi_hard_triplets(
    embeddings: TensorVariable,
    labels: TensorVariable | None,
    *,
    margin: float = 0.3,
    distance: str = "cosine",
    reference: TensorVariable | None = None,
    reference_labels: TensorVariable | None = None,
    same: TensorVariable | None = None,
) -> Triplets:
    """For each pair of a class the nearest negative farther than the positive, within the margin.

        argmin_n d(a, n)  with  d(a, p) < d(a, n) < d(a, p) + margin

    A pair without such a negative is left out. Work n·m log m and memory n·m for a
    reference of m rows, or m = n.

    Args:
        embeddings: (n, features), float32 or float64.
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
        ValueError: for a wrong number of axes or a negative margin.
        AssertionError: when it runs, for an empty batch, a wrong number of labels, NaN or infinity.
    Source: Schroff, Kalenichenko, Philbin (2015), section 3.2.
    Example:
        >>> x = np.array([[0.0], [1.0], [3.0], [4.0]])
        >>> labels = np.array([0, 0, 1, 2])
        >>> found = semi_hard_triplets(x, labels, margin=3.0, distance="euclidean")
        >>> [index.eval().tolist() for index in found]
        [[0, 1], [1, 0], [2, 2]]
    """
    margin = check_number("margin", margin, least=0)
    searched = search_batch(embeddings, labels, distance, reference, reference_labels, same)
    nearest, found = _semi_hard(*searched, margin, distance)  # (n, m)
    anchors, positives = found.nonzero()
    return Triplets(anchors, positives, nearest[anchors, positives])


def _semi_hard(
    distances: TensorVariable,
    positive: TensorVariable,
    negative: TensorVariable,
    margin: float,
    distance: str,
) -> tuple[TensorVariable, TensorVariable]:
    """Of each anchor and row the nearest negative farther than the row, and if they are triplets.

    (n, m) int64 and bool.
    """
    tolerance = rounding_error(distances, comparable_distance(distance))
    if fast.applies():  # to any number of rows, which is not known here
        nearest, exists = fast.nearest_farther(distances, negative, tolerance)
    else:
        nearest, exists = _nearest_farther(distances, negative, tolerance)
    # A root magnifies the rounding of a small square, so it is taken from the lower end.
    reach = margin_reach(distances - tolerance, margin, distance) - tolerance
    within = distances[T.arange(distances.shape[0])[:, None], nearest] < reach
    return nearest, positive & exists & within


def _nearest_farther(
    distances: TensorVariable, negative: TensorVariable, tolerance: TensorVariable
) -> tuple[TensorVariable, TensorVariable]:
    """For each anchor and row, of the negatives farther than the row the nearest, and if any is.

    Every negative is compared with every row, for one anchor at a time. (n, m) int64 and bool.
    """
    infinity = np.asarray(math.inf, distances.dtype)

    def search(d, n, tolerance):
        """Of one anchor: its distances and its negatives, (n,)."""
        farther = n & (d > (d + tolerance)[:, None])  # (rows, negatives)
        candidates = T.switch(farther, d, infinity)
        return first_minimum(candidates, tolerance), T.any(farther, axis=1)

    found, _ = theano.scan(search, [distances, negative], non_sequences=[tolerance], strict=True)
    return found[0], found[1]


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

        every n of the pool  with  d(a, n) < d(a, p) + margin

    The pool is read in blocks, twice: besides the result, memory grows with m·features and
    n·(block_size + limit), not with n·m.

    Args:
        anchor, positive: (n, features), float32 or float64, a pair in each row.
        pool: (m, features), of the same dtype: candidate negatives.
        margin: at least 0, in the unit of the distance.
        distance: cosine, sqeuclidean or euclidean.
        limit: how many violators to keep for each pair, the nearest; all when None.
        block_size: how many candidates to compare at a time.
    Returns:
        Violators, ordered by anchor, then by candidate; there may be none.
    Raises:
        TypeError: for integers and for dtypes that differ.
        ValueError: for a negative margin, and a limit or a block_size below 1.
        AssertionError: when it runs, for arrays that are empty, differ in shape or hold NaN or
            infinity.
    Example:
        >>> x = np.array([[3.0], [2.0], [1.0], [4.0], [9.0]])
        >>> found = margin_violators(x[:1], x[1:2], x[2:], margin=1.5, distance="euclidean")
        >>> [index.eval().tolist() for index in found]
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
    near = check_finite("positive", near)
    reach = (margin_reach(near, margin, distance) - tolerance)[:, None]  # (n, 1)
    if fast.applies_to_pool():  # of any size, which is not known here
        found = fast.violators(
            anchor, pool, reach, tolerance, distance=comparable, limit=limit, block_size=block_size
        )
        return Violators(*found)
    distances = pairwise_distances(anchor, pool, distance=comparable)  # (n, m)
    violates = distances < reach
    if limit is not None:
        infinity = np.asarray(math.inf, distances.dtype)
        violates &= among_nearest(T.switch(violates, distances, infinity), limit, tolerance)
    return Violators(*violates.nonzero())


def triplet_statistics(
    embeddings: TensorVariable,
    triplets: Sequence[TensorVariable],
    *,
    margin: float = 0.3,
    distance: str = "cosine",
    reference: TensorVariable | None = None,
) -> TripletStatistics:
    """How hard the triplets are that a mining has found: numbers to watch while a model learns.

        share with d(a, n) < d(a, p) + margin,  means of d(a, p), d(a, n) and the hinge

    A margin that is met to within rounding is met. The numbers have no gradient.

    Args:
        embeddings: (n, features), float32 or float64.
        triplets: indices of anchors, positives and negatives, (triplets,) integers each, such as
            `Triplets`.
        margin: at least 0, in the unit of the distance.
        distance: cosine, sqeuclidean or euclidean.
        reference: (m, features), whose rows positives and negatives are; embeddings when None.
    Returns:
        TripletStatistics. Of no triplets the count is 0 and all else NaN: no mean exists.
    Raises:
        TypeError: for integer embeddings, indices that are no integers, and dtypes that differ.
        ValueError: for a wrong number of axes or a negative margin.
        AssertionError: when it runs, for an empty batch, wrong shapes or rows that do not exist.
    Example:
        >>> x = T.constant([[0.0], [1.0], [3.0]])
        >>> triplets = batch_hard_triplets(x, np.array([0, 0, 1]), distance="euclidean")
        >>> found = triplet_statistics(x, triplets, margin=1.5, distance="euclidean")
        >>> [number.eval().item() for number in found]  # 1 − 3 and 1 − 2: one violates 1.5
        [2, 0.5, 1.0, 2.5, 0.25]
    """
    margin = check_number("margin", margin, least=0)
    check_choice("distance", distance, DISTANCES)
    anchor, positive, negative = triplet_rows(embeddings, triplets, reference)
    near = paired_distances(anchor, positive, distance=distance)  # (triplets,)
    far = paired_distances(anchor, negative, distance=distance)
    zero = T.zeros((1,), dtype=near.dtype)
    tolerance = rounding_error(T.concatenate([near, far, zero]), distance)
    violation = np.asarray(margin, near.dtype) + near - far
    violating = T.cast(violation > tolerance, near.dtype)
    # The mean of nothing would be 0 / 0, of which NumPy warns.
    count, nan = near.shape[0], np.asarray(math.nan, near.dtype)
    some = T.cast(T.maximum(count, 1), near.dtype)
    hinge = T.maximum(violation, 0)
    means = (T.switch(count > 0, T.sum(x) / some, nan) for x in (violating, near, far, hinge))
    return TripletStatistics(count, *means)


class BatchHardTripletLoss(Layer):
    """The triplet loss of `batch_hard_triplets`, as a layer: `.output` is the loss.

        Σ max(0, margin + max_p d(a, p) − min_n d(a, n)) / number of anchors that have both

    Zero, with zero gradient, when there is no triplet. A margin that is met to within rounding
    counts as met. It has no `.params`.

    Args:
        embeddings, labels: as of `batch_hard_triplets`.
        margin: at least 0, in the unit of the distance.
        distance: cosine, sqeuclidean or euclidean.
        reduction: mean over the triplets, sum, or none: the hinge of each anchor, (n,), which is 0
            for an anchor without a triplet.
    Raises:
        ValueError: for a negative margin, and for a distance or a reduction that is not known.
    Source: Hermans, Beyer, Leibe (2017), equation 5.
    Example:
        >>> x, labels = T.constant([[0.0], [1.0], [3.0]]), T.constant([0, 0, 1])
        >>> loss = BatchHardTripletLoss(x, labels, margin=3.0, distance="euclidean")
        >>> loss.output.eval().item()  # of 1 and 2
        1.5
    """

    def __init__(
        self,
        embeddings: TensorVariable,
        labels: TensorVariable,
        *,
        margin: float = 0.3,
        distance: str = "cosine",
        reduction: str = "mean",
    ) -> None:
        config = _checked_options(margin, distance, reduction)
        super().__init__(embeddings, labels, config=config)
        searched = search_batch(embeddings, labels, distance)
        farthest, nearest, found = _hardest(*searched, distance)
        columns = (one[:, None] for one in (farthest, nearest, found))  # (n, 1)
        self.output = _loss_of_found(embeddings, *columns, **self.config)


class SemiHardTripletLoss(Layer):
    """The triplet loss of `semi_hard_triplets`, as a layer: `.output` is the loss.

        Σ (margin + d(a, p) − d(a, n)) / number of semi-hard triplets (a, p, n)

    Zero, with zero gradient, when there is no triplet. It has no `.params`.

    Args:
        embeddings, labels: as of `semi_hard_triplets`.
        margin: at least 0, in the unit of the distance.
        distance: cosine, sqeuclidean or euclidean.
        reduction: mean over the triplets, sum, or none: the sum of the hinges of each anchor, (n,).
    Raises:
        ValueError: for a negative margin, and for a distance or a reduction that is not known.
    Source: Schroff, Kalenichenko, Philbin (2015), section 3.2.
    Example:
        >>> x, labels = T.constant([[0.0], [1.0], [3.0]]), T.constant([0, 0, 1])
        >>> loss = SemiHardTripletLoss(x, labels, margin=3.0, distance="euclidean")
        >>> loss.output.eval().item()  # of 1 and 2
        1.5
    """

    def __init__(
        self,
        embeddings: TensorVariable,
        labels: TensorVariable,
        *,
        margin: float = 0.3,
        distance: str = "cosine",
        reduction: str = "mean",
    ) -> None:
        config = _checked_options(margin, distance, reduction)
        super().__init__(embeddings, labels, config=config)
        searched = search_batch(embeddings, labels, distance)
        nearest, found = _semi_hard(*searched, margin, distance)  # (n, n)
        positives = T.arange(labels.shape[0])[None, :]
        self.output = _loss_of_found(embeddings, positives, nearest, found, **self.config)


def _checked_options(margin: float, distance: str, reduction: str) -> dict[str, Any]:
    margin = check_number("margin", margin, least=0)
    check_choice("distance", distance, DISTANCES)
    check_choice("reduction", reduction, REDUCTIONS)
    return {"margin": margin, "distance": distance, "reduction": reduction}


def _loss_of_found(
    embeddings: TensorVariable,
    positives: TensorVariable,
    negatives: TensorVariable,
    found: TensorVariable,
    *,
    margin: float,
    distance: str,
    reduction: str,
) -> TensorVariable:
    """The hinges of the triplets of each anchor: rows by index, and which of them count, (n, k).

    The distances are computed again, for their gradient: the mining compares squares.
    """
    distances = pairwise_distances(embeddings, embeddings, distance=distance)  # (n, n)
    rows = T.arange(distances.shape[0])[:, None]
    typed_margin = np.asarray(margin, distances.dtype)  # a Python float would upcast float32
    violation = typed_margin + distances[rows, positives] - distances[rows, negatives]
    tolerance = rounding_error(disconnected_grad(distances), distance)
    active = found & (disconnected_grad(violation) > tolerance)
    sums = T.sum(T.switch(active, violation, T.zeros_like(violation)), axis=1)  # of each anchor
    if reduction == "none":
        return sums
    total = T.sum(sums)
    count = T.cast(T.maximum(T.sum(found), 1), total.dtype)
    return total / count if reduction == "mean" else total
