"""Triplet loss: an anchor must be nearer to its positive than to its negative, by a margin.

    max(0, margin + d(anchor, positive) − d(anchor, negative))

Sources: Schroff et al. 2015 (FaceNet); seed topics: a speaker encoder trained on triplets,
triplet loss in TensorFlow 2.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from pytorch_impl.distances import DISTANCES, paired_distances, pairwise_distances
from pytorch_impl.fast.classmates import classmates
from pytorch_impl.support.checks import (
    check_choice,
    check_floating,
    check_labels,
    check_like,
    check_not_empty,
    check_number,
)
from pytorch_impl.support.precision import in_single_precision
from pytorch_impl.support.ties import rounding_error

REDUCTIONS = ("mean", "sum", "none")
ALL_TRIPLETS_REDUCTIONS = ("mean", "active", "sum", "none")


@in_single_precision
def triplet_loss(
    anchor: Tensor,
    positive: Tensor,
    negative: Tensor,
    *,
    margin: float = 0.3,
    distance: str = "cosine",
    reduction: str = "mean",
) -> Tensor:
    """Hinge of each row's triplet; the gradient is zero where the margin is met exactly.

    anchor, positive, negative: (batch, features). distance: cosine, sqeuclidean or euclidean.
    reduction: mean, sum, or none for (batch,). TypeError for integers, ValueError for an
    empty batch, shapes that differ or a negative margin. Halves compute in float32.
    """
    margin = check_number("margin", margin, least=0)
    check_choice("distance", distance, DISTANCES)
    check_choice("reduction", reduction, REDUCTIONS)
    check_floating("anchor", anchor, ndim=2)
    check_not_empty("anchor", anchor)
    check_like("positive", positive, "anchor", anchor)
    check_like("negative", negative, "anchor", anchor)
    near = _row_distances(anchor, positive, distance)
    far = _row_distances(anchor, negative, distance)
    hinge = torch.relu(margin + near - far)
    if reduction == "none":
        return hinge
    return hinge.mean() if reduction == "mean" else hinge.sum()


def _row_distances(x: Tensor, y: Tensor, distance: str) -> Tensor:
    """`paired_distances`, with the framework's norm where it is the distance: fewer passes."""
    if distance == "euclidean":
        difference = x - y
        # Without a second derivative at zero, where the first one is zero by convention.
        zero = ~difference.any(1, keepdim=True)
        norm = torch.linalg.vector_norm(difference.masked_fill(zero, 1), dim=1)
        return norm.masked_fill(zero[:, 0], 0)
    return paired_distances(x, y, distance=distance)


@in_single_precision
def all_triplets_loss(
    embeddings: Tensor,
    labels: Tensor,
    *,
    margin: float = 0.3,
    distance: str = "cosine",
    reduction: str = "mean",
) -> Tensor:
    """Hinge over every (anchor, positive, negative) that the labels of a batch allow.

    embeddings: (n, features); labels: (n,) integers. reduction: mean over all triplets,
    active (mean over those that violate the margin), sum, or none for each anchor's sum, (n,).
    Zero, with zero gradient, when there is no such triplet. A margin that is met to within
    rounding counts as met. Work n² log n, memory n²: the n³ triplets are counted, not formed.
    Halves compute in float32.
    """
    margin = check_number("margin", margin, least=0)
    check_choice("distance", distance, DISTANCES)
    check_choice("reduction", reduction, ALL_TRIPLETS_REDUCTIONS)
    check_floating("embeddings", embeddings, ndim=2)
    check_not_empty("embeddings", embeddings)
    check_labels("labels", labels, embeddings.shape[0])
    distances = pairwise_distances(embeddings, embeddings, distance=distance)
    tolerance = rounding_error(distances.detach(), distance)
    weights, active, valid = _count_triplets(distances.detach(), labels, margin, tolerance)
    sums = (weights * distances).sum(1) + margin * active
    if reduction == "none":
        return sums
    if reduction == "sum":
        return sums.sum()
    count = (active if reduction == "active" else valid).sum()
    return sums.sum() / count.clamp_min(1)


def _count_triplets(
    distances: Tensor, labels: Tensor, margin: float, tolerance: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """How often each distance enters the sum of the active hinges, with its sign.

    A positive enters once for each negative within its reach, a negative once for each
    positive that reaches it: with these counts the sum of n³ hinges is one of n² products.
    Returns weights (n, n), and per anchor the number of active and of valid triplets, (n,).
    """
    n = labels.shape[0]
    same = labels[:, None] == labels
    positives, real = classmates(labels)
    most = positives.shape[1]
    reach = distances.gather(1, positives) + margin - tolerance
    # Only the positives are sorted. Each negative falls between two of their reaches, and how
    # many fall before a reach is a running sum over these places.
    reaches, order = reach.masked_fill(~real, -math.inf).sort(dim=1)
    place = torch.searchsorted(reaches, distances, right=True)
    weights = (place - most).to(distances.dtype).masked_fill_(same, 0)
    fallen = place.new_zeros(n, most + 1).scatter_add(1, place, (~same).to(torch.int64))
    reached = fallen.cumsum(1)[:, :most]
    weights = weights.scatter(1, positives.gather(1, order), reached.to(distances.dtype))
    partners = real.sum(1)
    valid = partners * (n - 1 - partners)
    return weights, reached.sum(1).to(distances.dtype), valid.to(distances.dtype)


class TripletLoss(nn.Module):
    """`triplet_loss` as a module, called with (anchor, positive, negative)."""

    def __init__(
        self, *, margin: float = 0.3, distance: str = "cosine", reduction: str = "mean"
    ) -> None:
        super().__init__()
        margin = check_number("margin", margin, least=0)
        check_choice("distance", distance, DISTANCES)
        check_choice("reduction", reduction, REDUCTIONS)
        self.config: dict[str, Any] = {
            "margin": margin,
            "distance": distance,
            "reduction": reduction,
        }

    def forward(self, anchor: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
        return triplet_loss(anchor, positive, negative, **self.config)

    def extra_repr(self) -> str:
        return ", ".join(f"{name}={value!r}" for name, value in self.config.items())
