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
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from pytorch_impl.distances import (
    DISTANCES,
    paired_distances,
    pairwise_distances,
    squared_distances,
)
from pytorch_impl.fast.classmates import classmates
from pytorch_impl.support.checks import (
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
from pytorch_impl.support.precision import in_single_precision
from pytorch_impl.support.ties import first_minimum, rounding_error, tied_ranks


class Triplets(NamedTuple):
    """Rows of a batch, each (triplets,), int64."""

    anchors: Tensor
    positives: Tensor
    negatives: Tensor


class Violators(NamedTuple):
    """Rows of the pairs and rows of the pool, each (violators,), int64."""

    anchors: Tensor
    candidates: Tensor


@in_single_precision
@torch.no_grad()
def batch_hard_triplets(
    embeddings: Tensor, labels: Tensor, *, distance: str = "cosine"
) -> Triplets:
    """The farthest positive and the nearest negative of every anchor that has both.

    embeddings: (n, features); labels: (n,) integers. Anchors ascend; there may be none.
    TypeError for integer embeddings, ValueError for an empty batch, NaN or infinity. Halves compute
    in float32.
    """
    distances = _search_batch(embeddings, labels, distance)
    tolerance = rounding_error(distances, _comparable(distance))
    positives, real = classmates(labels)
    opposite = distances.gather(1, positives).neg().masked_fill(~real, math.inf)
    farthest = positives.gather(1, first_minimum(opposite, tolerance)[:, None]).squeeze(1)
    same = labels[:, None] == labels
    nearest = first_minimum(distances.masked_fill_(same, math.inf), tolerance)
    (anchors,) = (real.any(1) & (real.sum(1) < len(labels) - 1)).nonzero(as_tuple=True)
    return Triplets(anchors, farthest[anchors], nearest[anchors])


@in_single_precision
@torch.no_grad()
def semi_hard_triplets(
    embeddings: Tensor, labels: Tensor, *, margin: float = 0.3, distance: str = "cosine"
) -> Triplets:
    """For each pair of a class the nearest negative farther than the positive, within the margin.

    embeddings: (n, features); labels: (n,) integers. Ordered by anchor, then by positive; a
    pair without such a negative is left out. Work n² log n, memory n². TypeError for integer
    embeddings, ValueError for an empty batch, NaN or infinity, or a negative margin. Halves compute
    in float32.
    """
    margin = check_number("margin", margin, least=0)
    distances = _search_batch(embeddings, labels, distance)
    tolerance = rounding_error(distances, _comparable(distance))
    n = labels.shape[0]
    same = labels[:, None] == labels
    positive = same.clone().fill_diagonal_(False)
    ranks = tied_ranks(distances, tolerance)
    # One sorted row of keys, ordered by distance and then by index, answers for all positives.
    # It ends in at least one n², for the anchor itself, where no negative is farther.
    keys = (ranks * n + torch.arange(n, device=labels.device)).masked_fill(same, n * n)
    keys = keys.sort(dim=1).values
    key = keys.gather(1, torch.searchsorted(keys, (ranks + 1) * n))
    nearest = key % n
    # A root magnifies the rounding of a small square, so it is taken from the lower end.
    reach = _reach(distances - tolerance, margin, distance) - tolerance
    within = distances.gather(1, nearest) < reach
    anchors, positives = (positive & (key < n * n) & within).nonzero(as_tuple=True)
    return Triplets(anchors, positives, nearest[anchors, positives])


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

    anchor, positive: (n, features), a pair in each row; pool: (m, features) candidate
    negatives. With a limit, only so many of the nearest are kept for each pair. Ordered by
    anchor, then by candidate. The pool is looked through in blocks, twice when there is a
    limit: besides the result, memory grows with m·features and n·(block_size + limit), not
    with n·m. TypeError for integers; ValueError for arrays that are empty, differ in shape
    or hold NaN or infinity, and for a negative margin, a limit or a block_size below 1. Halves
    compute in float32.
    """
    margin = check_number("margin", margin, least=0)
    check_choice("distance", distance, DISTANCES)
    if limit is not None:
        limit = check_count("limit", limit)
    block_size = check_count("block_size", block_size)
    check_floating("anchor", anchor, ndim=2)
    check_not_empty("anchor", anchor)
    check_like("positive", positive, "anchor", anchor)
    check_floating("pool", pool, ndim=2)
    check_dtype("pool", pool, anchor.dtype)
    check_width("pool", pool, anchor.shape[1])
    check_not_empty("pool", pool)
    check_finite("anchor", anchor)
    check_finite("positive", positive)
    check_finite("pool", pool)

    def blocks() -> Iterator[tuple[int, Tensor]]:
        for start in range(0, len(pool), block_size):
            block = pool[start : start + block_size]
            yield start, pairwise_distances(anchor, block, distance=_comparable(distance))

    tolerance = _pool_rounding_error(anchor, pool, distance)
    near = paired_distances(anchor, positive, distance=_comparable(distance))
    check_finite("positive", near)
    reach = (_reach(near, margin, distance) - tolerance)[:, None]
    # Candidates nearer than the cutoff, the limit-th violator, are kept; of those that tie
    # with it, as many as the quota leaves room for.
    cutoff, quota = torch.full_like(reach, math.inf), 0
    if limit is not None:
        nearest = cutoff.repeat(1, min(limit, len(pool)))
        for _, distances in blocks():
            violating = distances.masked_fill(distances >= reach, math.inf)
            joined = torch.cat([nearest, violating], dim=1)
            nearest = joined.topk(nearest.shape[1], largest=False).values
        cutoff = nearest[:, -1:]
        quota = limit - (nearest - cutoff < -tolerance).sum(1, keepdim=True)

    ties = torch.zeros_like(reach, dtype=torch.int64)
    found = []
    for start, distances in blocks():
        offset = distances - cutoff
        tied = (distances < reach) & (offset.abs() <= tolerance)
        place = ties + tied.cumsum(1)
        ties = place[:, -1:]
        kept = ((distances < reach) & (offset < -tolerance)) | (tied & (place <= quota))
        rows, columns = kept.nonzero(as_tuple=True)
        found.append((rows, columns + start))
    anchors, candidates = (torch.cat(parts) for parts in zip(*found, strict=True))
    order = anchors.argsort(stable=True)
    return Violators(anchors[order], candidates[order])


def _search_batch(embeddings: Tensor, labels: Tensor, distance: str) -> Tensor:
    """Comparable distances of all pairs, (n, n), of a batch that has been checked."""
    check_choice("distance", distance, DISTANCES)
    check_floating("embeddings", embeddings, ndim=2)
    check_not_empty("embeddings", embeddings)
    check_labels("labels", labels, embeddings.shape[0])
    check_finite("embeddings", embeddings)
    distances = pairwise_distances(embeddings, embeddings, distance=_comparable(distance))
    check_finite("embeddings", distances.max())  # the squares of large numbers overflow
    return distances


def _comparable(distance: str) -> str:
    """The distance to compare by: squares are in the order of their roots, rounded evenly."""
    return "sqeuclidean" if distance == "euclidean" else distance


def _reach(near: Tensor, margin: float, distance: str) -> Tensor:
    """Where the margin beyond `near` is met; both as comparable distances."""
    if distance == "euclidean":
        return (near.clamp_min(0).sqrt() + margin).square()
    return near + margin


def _pool_rounding_error(anchor: Tensor, pool: Tensor, distance: str) -> Tensor:
    """`rounding_error` of all distances at once, so that it does not depend on the blocks.

    No squared distance between two rows is above four times the largest one to the center.
    """
    center = pool.mean(0, keepdim=True)
    spread = torch.cat([squared_distances(anchor, center), squared_distances(pool, center)])
    check_finite("pool", spread)
    return rounding_error(4 * spread, _comparable(distance))
