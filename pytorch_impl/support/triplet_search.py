"""What the searches for triplets share: checks, comparable distances, where a margin is met."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from pytorch_impl.distances import DISTANCES, pairwise_distances, squared_distances
from pytorch_impl.support.checks import (
    check_choice,
    check_dtype,
    check_finite,
    check_floating,
    check_integers,
    check_like,
    check_not_empty,
    check_size,
    check_width,
)
from pytorch_impl.support.labels import class_pairs
from pytorch_impl.support.ties import rounding_error
from pytorch_impl.support.transforms import check_range


def search_batch(
    embeddings: Tensor,
    labels: Tensor | None,
    distance: str,
    reference: Tensor | None = None,
    reference_labels: Tensor | None = None,
    same: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Comparable distances, and which pairs are positive and which negative; each (n, m).

    From the m rows of the reference, or without one from the rows of the batch.
    """
    check_choice("distance", distance, DISTANCES)
    check_floating("embeddings", embeddings, ndim=2)
    check_not_empty("embeddings", embeddings)
    reference, positive, negative = class_pairs(
        embeddings, labels, reference, reference_labels, same
    )
    check_finite("embeddings", embeddings)
    if reference is not embeddings:
        check_finite("reference", reference)
    distances = pairwise_distances(embeddings, reference, distance=comparable_distance(distance))
    check_finite("embeddings", distances.max())  # the squares of large numbers overflow
    return distances, positive, negative


def checked_pool(anchor: Tensor, positive: Tensor, pool: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Pairs, (n, features) each, and a pool, (m, features), neither empty; all finite."""
    check_floating("anchor", anchor, ndim=2)
    check_not_empty("anchor", anchor)
    check_like("positive", positive, "anchor", anchor)
    check_floating("pool", pool, ndim=2)
    check_dtype("pool", pool, anchor.dtype)
    check_width("pool", pool, anchor.shape[1])
    check_not_empty("pool", pool)
    for name, x in (("anchor", anchor), ("positive", positive), ("pool", pool)):
        check_finite(name, x)
    return anchor, positive, pool


def comparable_distance(distance: str) -> str:
    """The distance to compare by: squares are in the order of their roots, rounded evenly."""
    return "sqeuclidean" if distance == "euclidean" else distance


def margin_reach(near: Tensor, margin: float, distance: str) -> Tensor:
    """Where the margin beyond `near` is met; both as comparable distances."""
    if distance == "euclidean":
        return (near.clamp_min(0).sqrt() + margin).square()
    return near + margin


def pool_rounding_error(anchor: Tensor, pool: Tensor, distance: str) -> Tensor:
    """`rounding_error` of all distances at once, so that it does not depend on the blocks.

    No squared distance between two rows is above four times the largest one to the center.
    """
    center = pool.mean(0, keepdim=True)
    spread = torch.cat([squared_distances(anchor, center), squared_distances(pool, center)])
    check_finite("pool", spread)
    return rounding_error(4 * spread, comparable_distance(distance))


def among_nearest(distances: Tensor, limit: int, tolerance: Tensor) -> Tensor:
    """Which are among so many nearest of their row; of those that tie for it the lower indices."""
    # The offset of two infinite distances is NaN, and every comparison with it is False.
    offset = distances - distances.topk(limit, largest=False).values[:, -1:]
    nearer = offset < -tolerance
    tied = offset.abs() <= tolerance
    return nearer | (tied & (tied.cumsum(1) <= limit - nearer.sum(1, keepdim=True)))


def triplet_rows(
    embeddings: Tensor, triplets: Sequence[Tensor], reference: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    """Anchors, rows of embeddings, with positives and negatives, rows of the reference, if any."""
    check_floating("embeddings", embeddings, ndim=2)
    check_not_empty("embeddings", embeddings)
    pool = embeddings if reference is None else reference
    check_floating("reference", pool, ndim=2)
    check_not_empty("reference", pool)
    check_dtype("reference", pool, embeddings.dtype)
    check_width("reference", pool, embeddings.shape[1])
    anchors, positives, negatives = triplets
    found = []
    for name, rows, x in (
        ("anchors", anchors, embeddings),
        ("positives", positives, pool),
        ("negatives", negatives, pool),
    ):
        check_integers(name, rows, ndim=1)
        check_size(name, rows, 0, anchors.shape[0], "indices")
        check_range(name, rows, "rows", len(x) - 1)
        found.append(x[rows.long()])
    anchor, positive, negative = found
    return anchor, positive, negative
