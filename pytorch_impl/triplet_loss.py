"""Triplet loss: an anchor must be nearer to its positive than to its negative, by a margin.

    max(0, margin + d(anchor, positive) − d(anchor, negative))

Sources: Schroff, Kalenichenko, Philbin (2015), FaceNet; over all triplets of a batch: Hermans,
Beyer, Leibe (2017), In Defense of the Triplet Loss.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from pytorch_impl.distances import DISTANCES, paired_distances, pairwise_distances
from pytorch_impl.fast import triplet_loss as fast
from pytorch_impl.support.checks import (
    check_choice,
    check_floating,
    check_labels,
    check_like,
    check_not_empty,
    check_number,
)
from pytorch_impl.support.configured import ConfiguredModule
from pytorch_impl.support.precision import in_single_precision
from pytorch_impl.support.ties import rounding_error

REDUCTIONS = ("mean", "sum", "none")
ALL_TRIPLETS_REDUCTIONS = ("mean", "active", "sum", "none")
ANCHORS = 32  # of which all triplets are formed at a time


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
    """The hinge of the triplet in each row.

        max(0, margin + d(anchor, positive) − d(anchor, negative))

    The gradient is zero where the margin is met exactly. Half precision computes in float32.

    Args:
        anchor, positive, negative: (batch, features), of one floating dtype.
        margin: at least 0, in the unit of the distance.
        distance: cosine, sqeuclidean or euclidean.
        reduction: mean, sum or none.
    Returns:
        A scalar; with reduction none the losses of the rows, (batch,).
    Raises:
        TypeError: for integers and for dtypes that differ.
        ValueError: for an empty batch, shapes that differ or a negative margin.
    Source: Schroff, Kalenichenko, Philbin (2015), section 3.1.
    Example:
        >>> x = torch.eye(3)
        >>> triplet_loss(x[:1], x[1:2], x[2:], margin=0.5).item()  # both distances are 1
        0.5
    """
    margin = check_number("margin", margin, least=0)
    check_choice("distance", distance, DISTANCES)
    check_choice("reduction", reduction, REDUCTIONS)
    check_floating("anchor", anchor, ndim=2)
    check_not_empty("anchor", anchor)
    check_like("positive", positive, "anchor", anchor)
    check_like("negative", negative, "anchor", anchor)
    # Euclidean distances by PyTorch's norm take fewer passes.
    by_rows: Callable[..., Tensor] = paired_distances
    if fast.applies_to_rows(distance):
        by_rows = fast.row_distances
    near = by_rows(anchor, positive, distance=distance)  # (batch,)
    far = by_rows(anchor, negative, distance=distance)
    hinge = torch.relu(margin + near - far)
    if reduction == "none":
        return hinge
    return hinge.mean() if reduction == "mean" else hinge.sum()


@in_single_precision
def all_triplets_loss(
    embeddings: Tensor,
    labels: Tensor,
    *,
    margin: float = 0.3,
    distance: str = "cosine",
    reduction: str = "mean",
) -> Tensor:
    """The hinges of all triplets in a batch: p another row of a's class, n of another class.

        Σ max(0, margin + d(a, p) − d(a, n)) / number of triplets (a, p, n)

    Zero, with zero gradient, when there is no triplet. A margin that is met to within rounding
    counts as met. Half precision computes in float32. Work n² log n and memory n²; under
    torch.func, and for few rows, n³ comparisons.

    Args:
        embeddings: (n, features), floating.
        labels: (n,), integers.
        margin: at least 0, in the unit of the distance.
        distance: cosine, sqeuclidean or euclidean.
        reduction: mean over all triplets, active (mean over those that violate the margin), sum
            or none.
    Returns:
        A scalar; with reduction none the sum of the hinges of each anchor, (n,).
    Raises:
        TypeError: for integer embeddings and for labels that are no integers.
        ValueError: for an empty batch, wrong shapes or a negative margin.
    Source: Hermans, Beyer, Leibe (2017), section 2 ("batch all").
    Example:
        >>> all_triplets_loss(torch.eye(3), torch.tensor([0, 0, 1]), margin=0.5).item()
        0.5
    """
    margin = check_number("margin", margin, least=0)
    check_choice("distance", distance, DISTANCES)
    check_choice("reduction", reduction, ALL_TRIPLETS_REDUCTIONS)
    check_floating("embeddings", embeddings, ndim=2)
    check_not_empty("embeddings", embeddings)
    check_labels("labels", labels, embeddings.shape[0])
    distances = pairwise_distances(embeddings, embeddings, distance=distance)  # (n, n)
    constant = distances.detach()
    tolerance = rounding_error(constant, distance)
    if fast.applies(constant):  # more than a few rows, and no torch.func transform
        counts, active = fast.count_active(constant, labels, margin, tolerance)
    else:
        counts, active = _count_active(constant, labels, margin, tolerance)
    sums = (counts * distances).sum(1) + margin * active  # the hinges of each anchor, (n,)
    if reduction == "none":
        return sums
    if reduction == "sum":
        return sums.sum()
    n_positives = (labels[:, None] == labels).sum(1) - 1
    valid = n_positives * (len(labels) - 1 - n_positives)
    count = (active if reduction == "active" else valid).sum()
    return sums.sum() / count.clamp_min(1)


def _count_active(
    distances: Tensor, labels: Tensor, margin: float, tolerance: Tensor
) -> tuple[Tensor, Tensor]:
    """Count the active triplets, those that violate the margin, by comparing all of them.

    With A the active triplets of anchor a, and A_p and A_n those with p and with n, its hinges are

        Σ_p #A_p · d(a, p) − Σ_n #A_n · d(a, n) + margin · #A

    The counts are constants: this sum has derivatives of any order, and no comparison is kept
    for a gradient, so that memory is ANCHORS · n² bytes at a time instead of n³.
    Returns #A_p and −#A_n, (n, n), and #A, (n,).
    """
    same = labels[:, None] == labels
    positive = same & ~torch.eye(len(labels), dtype=torch.bool, device=labels.device)
    counts = []
    blocks = (x.split(ANCHORS) for x in (distances, positive, ~same))
    for d, p, n in zip(*blocks, strict=True):
        violates = d[:, None, :] < (d + margin - tolerance)[:, :, None]
        active = p[:, :, None] & n[:, None, :] & violates  # (anchors, positives, negatives)
        counts.append(active.sum(2) - active.sum(1))
    weights = torch.cat(counts).to(distances.dtype)
    return weights, weights.clamp_min(0).sum(1)


class TripletLoss(ConfiguredModule):
    """`triplet_loss` as a module, called with (anchor, positive, negative).

    Args:
        margin, distance, reduction: as of `triplet_loss`.
    Raises:
        ValueError: for a negative margin, and for a distance or a reduction that is not known.
    Example:
        >>> x = torch.eye(3)
        >>> TripletLoss(margin=0.5)(x[:1], x[1:2], x[2:]).item()
        0.5
    """

    def __init__(
        self, *, margin: float = 0.3, distance: str = "cosine", reduction: str = "mean"
    ) -> None:
        super().__init__()
        margin = check_number("margin", margin, least=0)
        check_choice("distance", distance, DISTANCES)
        check_choice("reduction", reduction, REDUCTIONS)
        self.config = {"margin": margin, "distance": distance, "reduction": reduction}

    def forward(self, anchor: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
        return triplet_loss(anchor, positive, negative, **self.config)
