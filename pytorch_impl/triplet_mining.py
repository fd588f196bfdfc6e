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

import torch
from torch import Tensor

from pytorch_impl.distances import DISTANCES, paired_distances, pairwise_distances
from pytorch_impl.fast import triplet_mining as fast
from pytorch_impl.support.checks import check_choice, check_count, check_finite, check_number
from pytorch_impl.support.configured import ConfiguredModule
from pytorch_impl.support.precision import in_single_precision
from pytorch_impl.support.ties import first_minimum, rounding_error
from pytorch_impl.support.triplet_search import (
    among_nearest,
    checked_pool,
    comparable_distance,
    margin_reach,
    pool_rounding_error,
    search_batch,
    triplet_rows,
)

REDUCTIONS = ("mean", "sum", "none")
ANCHORS = 32  # of which all triplets are formed at a time


class Triplets(NamedTuple):
    """Indices of rows, each (triplets,), int64.

    Anchors are rows of the batch, positives and negatives of the reference, or without one of the
    batch too.
    """

    anchors: Tensor
    positives: Tensor
    negatives: Tensor


class TripletStatistics(NamedTuple):
    """How many triplets a mining has found, and how hard they are: numbers without axes.

    count: of the triplets, int64. violating: the share of them that violates the margin.
    positive_distance, negative_distance, hinge: means. Of no triplets, all but the count are NaN.
    """

    count: Tensor
    violating: Tensor
    positive_distance: Tensor
    negative_distance: Tensor
    hinge: Tensor


class Violators(NamedTuple):
    """Indices of the pairs and of rows of the pool, each (violators,), int64."""

    anchors: Tensor
    candidates: Tensor


@in_single_precision
@torch.no_grad()
def batch_hard_triplets(
    embeddings: Tensor,
    labels: Tensor | None,
    *,
    distance: str = "cosine",
    positives: str = "hardest",
    reference: Tensor | None = None,
    reference_labels: Tensor | None = None,
    same: Tensor | None = None,
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
        >>> x = torch.tensor([[0.0], [1.0], [3.0], [4.0]])
        >>> labels = torch.tensor([0, 0, 0, 1])
        >>> found = batch_hard_triplets(x, labels, distance="euclidean")
        >>> [index.tolist() for index in found]
        [[0, 1, 2], [2, 2, 0], [3, 3, 3]]
    """
    check_choice("positives", positives, ("hardest", "easiest"))
    check_choice("distance", distance, DISTANCES)
    given = (reference, reference_labels, same)
    if fast.applies_on_a_gpu(embeddings, labels, *given):  # in float32, labels of one class
        chosen, nearest, has_both = fast.gpu_hardest(embeddings, labels, distance, positives)
    else:
        searched = search_batch(embeddings, labels, distance, *given)
        chosen, nearest, has_both = _hardest(*searched, distance, positives)  # (n,)
    (anchors,) = has_both.nonzero(as_tuple=True)
    return Triplets(anchors, chosen[anchors], nearest[anchors])


def _hardest(
    distances: Tensor, positive: Tensor, negative: Tensor, distance: str, positives: str = "hardest"
) -> tuple[Tensor, Tensor, Tensor]:
    """Of each anchor the hardest or easiest positive, the nearest negative, and if it has both.

    Each is (n,).
    """
    tolerance = rounding_error(distances, comparable_distance(distance))
    order = -distances if positives == "hardest" else distances
    chosen = first_minimum(torch.where(positive, order, math.inf), tolerance)  # (n,)
    nearest = first_minimum(torch.where(negative, distances, math.inf), tolerance)
    return chosen, nearest, positive.any(1) & negative.any(1)


@in_single_precision
@torch.no_grad()
def semi_hard_triplets(
    embeddings: Tensor,
    labels: Tensor | None,
    *,
    margin: float = 0.3,
    distance: str = "cosine",
    reference: Tensor | None = None,
    reference_labels: Tensor | None = None,
    same: Tensor | None = None,
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
        >>> x = torch.tensor([[0.0], [1.0], [3.0], [4.0]])
        >>> labels = torch.tensor([0, 0, 1, 2])
        >>> found = semi_hard_triplets(x, labels, margin=3.0, distance="euclidean")
        >>> [index.tolist() for index in found]
        [[0, 1], [1, 0], [2, 2]]
    """
    margin = check_number("margin", margin, least=0)
    searched = search_batch(embeddings, labels, distance, reference, reference_labels, same)
    nearest, found = _semi_hard(*searched, margin, distance)  # (n, m)
    anchors, positives = found.nonzero(as_tuple=True)
    return Triplets(anchors, positives, nearest[anchors, positives])


def _semi_hard(
    distances: Tensor, positive: Tensor, negative: Tensor, margin: float, distance: str
) -> tuple[Tensor, Tensor]:
    """Of each anchor and row the nearest negative farther than the row, and if they are triplets.

    (n, m) int64 and bool.
    """
    tolerance = rounding_error(distances, comparable_distance(distance))
    if fast.applies(distances):  # more than a few rows
        nearest, exists = fast.nearest_farther(distances, negative, tolerance)
    else:
        nearest, exists = _nearest_farther(distances, negative, tolerance)
    # A root magnifies the rounding of a small square, so it is taken from the lower end.
    reach = margin_reach(distances - tolerance, margin, distance) - tolerance
    within = distances.gather(1, nearest) < reach
    return nearest, positive & exists & within


def _nearest_farther(
    distances: Tensor, negative: Tensor, tolerance: Tensor
) -> tuple[Tensor, Tensor]:
    """For each anchor and row, of the negatives farther than the row the nearest, and if any is.

    Every negative is compared with every row, for ANCHORS anchors at a time. (n, m) int64 and bool.
    """
    nearest, exists = [], []
    for d, n in zip(distances.split(ANCHORS), negative.split(ANCHORS), strict=True):
        candidates = d[:, None, :]  # (anchors, 1, negatives)
        farther = n[:, None, :] & (candidates > (d + tolerance)[:, :, None])
        nearest.append(first_minimum(torch.where(farther, candidates, math.inf), tolerance))
        exists.append(farther.any(2))
    return torch.cat(nearest), torch.cat(exists)


@in_single_precision
@torch.no_grad()
def margin_violators(
    anchor: Tensor,
    positive: Tensor,
    pool: Tensor,
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
        >>> x = torch.tensor([[3.0], [2.0], [1.0], [4.0], [9.0]])
        >>> found = margin_violators(x[:1], x[1:2], x[2:], margin=1.5, distance="euclidean")
        >>> [index.tolist() for index in found]
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
    if fast.applies_to_pool(pool, block_size):  # a pool of more than one block
        found = fast.violators(
            anchor, pool, reach, tolerance, distance=comparable, limit=limit, block_size=block_size
        )
        return Violators(*found)
    distances = pairwise_distances(anchor, pool, distance=comparable)  # (n, m)
    violates = distances < reach
    if limit is not None and limit < len(pool):
        violates &= among_nearest(distances.masked_fill(~violates, math.inf), limit, tolerance)
    return Violators(*violates.nonzero(as_tuple=True))


@in_single_precision
@torch.no_grad()
def triplet_statistics(
    embeddings: Tensor,
    triplets: Sequence[Tensor],
    *,
    margin: float = 0.3,
    distance: str = "cosine",
    reference: Tensor | None = None,
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
        >>> x = torch.tensor([[0.0], [1.0], [3.0]])
        >>> triplets = batch_hard_triplets(x, torch.tensor([0, 0, 1]), distance="euclidean")
        >>> found = triplet_statistics(x, triplets, margin=1.5, distance="euclidean")
        >>> [number.item() for number in found]  # 1 − 3 and 1 − 2, of which one violates 1.5
        [2, 0.5, 1.0, 2.5, 0.25]
    """
    margin = check_number("margin", margin, least=0)
    check_choice("distance", distance, DISTANCES)
    anchor, positive, negative = triplet_rows(embeddings, triplets, reference)
    near = paired_distances(anchor, positive, distance=distance)  # (triplets,)
    far = paired_distances(anchor, negative, distance=distance)
    tolerance = rounding_error(torch.cat([near, far, near.new_zeros(1)]), distance)
    violation = margin + near - far
    violating = (violation > tolerance).to(near.dtype)
    count = torch.tensor(len(near), device=near.device)
    means = (x.mean() for x in (violating, near, far, torch.relu(violation)))
    return TripletStatistics(count, *means)


class BatchHardTripletLoss(ConfiguredModule):
    """The triplet loss of `batch_hard_triplets`, as a module called with (embeddings, labels).

        Σ max(0, margin + max_p d(a, p) − min_n d(a, n)) / number of anchors that have both

    Zero, with zero gradient, when there is no triplet. A margin that is met to within rounding
    counts as met. Half precision computes in float32.

    Args:
        margin: at least 0, in the unit of the distance.
        distance: cosine, sqeuclidean or euclidean.
        reduction: mean over the triplets, sum, or none: the hinge of each anchor, (n,), which is 0
            for an anchor without a triplet.
    Raises:
        ValueError: for a negative margin, and for a distance or a reduction that is not known.
    Source: Hermans, Beyer, Leibe (2017), equation 5.
    Example:
        >>> x, labels = torch.tensor([[0.0], [1.0], [3.0]]), torch.tensor([0, 0, 1])
        >>> BatchHardTripletLoss(margin=3.0, distance="euclidean")(x, labels).item()  # 1 and 2
        1.5
    """

    def __init__(
        self, *, margin: float = 0.3, distance: str = "cosine", reduction: str = "mean"
    ) -> None:
        super().__init__()
        self.config = _checked_options(margin, distance, reduction)

    @in_single_precision
    def forward(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        if fast.applies_on_a_gpu(embeddings, labels):  # in float32, labels of one class
            return fast.gpu_batch_hard_loss(embeddings, labels, **self.config)
        with torch.no_grad():
            distance = self.config["distance"]
            searched = search_batch(embeddings, labels, distance)
            farthest, nearest, found = _hardest(*searched, distance)
        columns = (one[:, None] for one in (farthest, nearest, found))  # (n, 1)
        return _loss_of_found(embeddings, *columns, **self.config)


class SemiHardTripletLoss(ConfiguredModule):
    """The triplet loss of `semi_hard_triplets`, as a module called with (embeddings, labels).

        Σ (margin + d(a, p) − d(a, n)) / number of semi-hard triplets (a, p, n)

    Zero, with zero gradient, when there is no triplet. Half precision computes in float32.

    Args:
        margin: at least 0, in the unit of the distance.
        distance: cosine, sqeuclidean or euclidean.
        reduction: mean over the triplets, sum, or none: the sum of the hinges of each anchor, (n,).
    Raises:
        ValueError: for a negative margin, and for a distance or a reduction that is not known.
    Source: Schroff, Kalenichenko, Philbin (2015), section 3.2.
    Example:
        >>> x, labels = torch.tensor([[0.0], [1.0], [3.0]]), torch.tensor([0, 0, 1])
        >>> SemiHardTripletLoss(margin=3.0, distance="euclidean")(x, labels).item()  # 1 and 2
        1.5
    """

    def __init__(
        self, *, margin: float = 0.3, distance: str = "cosine", reduction: str = "mean"
    ) -> None:
        super().__init__()
        self.config = _checked_options(margin, distance, reduction)

    @in_single_precision
    def forward(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        with torch.no_grad():
            margin, distance = self.config["margin"], self.config["distance"]
            searched = search_batch(embeddings, labels, distance)
            nearest, found = _semi_hard(*searched, margin, distance)  # (n, n)
        positives = torch.arange(len(labels), device=found.device).expand_as(found)
        return _loss_of_found(embeddings, positives, nearest, found, **self.config)


def _checked_options(margin: float, distance: str, reduction: str) -> dict[str, Any]:
    margin = check_number("margin", margin, least=0)
    check_choice("distance", distance, DISTANCES)
    check_choice("reduction", reduction, REDUCTIONS)
    return {"margin": margin, "distance": distance, "reduction": reduction}


def _loss_of_found(
    embeddings: Tensor,
    positives: Tensor,
    negatives: Tensor,
    found: Tensor,
    *,
    margin: float,
    distance: str,
    reduction: str,
) -> Tensor:
    """The hinges of the triplets of each anchor: rows by index, and which of them count, (n, k).

    The distances are computed again, for their gradient: the mining compares squares.
    """
    distances = pairwise_distances(embeddings, embeddings, distance=distance)  # (n, n)
    violation = margin + distances.gather(1, positives) - distances.gather(1, negatives)
    active = found & (violation.detach() > rounding_error(distances.detach(), distance))
    sums = torch.where(active, violation, 0).sum(1)  # of each anchor, (n,)
    if reduction == "none":
        return sums
    total = sums.sum()
    return total / found.sum().clamp_min(1) if reduction == "mean" else total
