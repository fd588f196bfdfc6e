"""All triplets of a batch, or of a batch and a reference: their hinges are summed, not formed.

    Σ max(0, margin + d(a, p) − d(a, n)) / number of triplets (a, p, n)

Source: Hermans, Beyer, Leibe (2017), In Defense of the Triplet Loss, section 2 ("batch all").
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from pytorch_impl.distances import DISTANCES, pairwise_distances
from pytorch_impl.fast import triplet_loss as fast
from pytorch_impl.support.checks import (
    check_choice,
    check_flag,
    check_floating,
    check_not_empty,
    check_number,
)
from pytorch_impl.support.configured import ConfiguredModule
from pytorch_impl.support.labels import class_pairs
from pytorch_impl.support.precision import in_single_precision
from pytorch_impl.support.soft_margin import soft_margin_sums
from pytorch_impl.support.ties import rounding_error

ANCHORS = 32  # of which all triplets are formed at a time
REDUCTIONS = ("mean", "active", "sum", "none")


@in_single_precision
def all_triplets_loss(
    embeddings: Tensor,
    labels: Tensor | None,
    *,
    margin: float = 0.3,
    distance: str = "cosine",
    reduction: str = "mean",
    soft_margin: bool = False,
    reference: Tensor | None = None,
    reference_labels: Tensor | None = None,
    same: Tensor | None = None,
) -> Tensor:
    """The hinges of all triplets in a batch: p another row of a's class, n of another class.

        Σ max(0, margin + d(a, p) − d(a, n)) / number of triplets (a, p, n)

    Zero, with zero gradient, when there is no triplet. A margin that is met to within rounding
    counts as met. Half precision computes in float32. Work n·m log m and memory n·m for a
    reference of m rows, or m = n; under torch.func, and for few rows, n·m² comparisons.

    Args:
        embeddings: (n, features), floating.
        labels: (n,), integers; or several labels of a row, (n, classes), bool: two rows are
            positives when they share one, negatives when they share none.
        margin: at least 0, in the unit of the distance.
        distance: cosine, sqeuclidean or euclidean.
        reduction: mean over all triplets, active (mean over those that violate the margin), sum
            or none.
        soft_margin: whether log(1 + exp(v)) stands in the place of each hinge max(0, v). Every
            triplet is active then, and all of them are formed, in blocks of anchors.
        reference, reference_labels: (m, features) and (m,) or (m, classes), as embeddings and
            labels: positives and negatives are rows of the reference, such as a memory bank, and
            embeddings are anchors alone. No row is left out as the anchor itself. Gradients flow
            into the reference; detach a memory bank.
        same: (n, m), bool, in the place of the labels, which are None then: which rows of the
            reference, or of the batch, are of the anchor's class.
    Returns:
        A scalar; with reduction none the sum of the hinges of each anchor, (n,).
    Raises:
        TypeError: for integer embeddings, for labels that are neither integers nor several bool
            for a row, and for dtypes that differ.
        ValueError: for an empty batch, wrong shapes or a negative margin.
    Source: Hermans, Beyer, Leibe (2017), section 2 ("batch all").
    Example:
        >>> all_triplets_loss(torch.eye(3), torch.tensor([0, 0, 1]), margin=0.5).item()
        0.5
    """
    margin = check_number("margin", margin, least=0)
    check_choice("distance", distance, DISTANCES)
    check_choice("reduction", reduction, REDUCTIONS)
    soft_margin = check_flag("soft_margin", soft_margin)
    check_floating("embeddings", embeddings, ndim=2)
    check_not_empty("embeddings", embeddings)
    reference, positive, negative = class_pairs(
        embeddings, labels, reference, reference_labels, same
    )

    def n_valid() -> Tensor:
        """The triplets of each anchor, (n,)."""
        return positive.sum(1) * negative.sum(1)

    def hinges(embeddings: Tensor, reference: Tensor) -> tuple[Tensor, Tensor]:
        """The sum of the hinges of each anchor, and how many of them are active, (n,) each."""
        distances = pairwise_distances(embeddings, reference, distance=distance)  # (n, m)
        if soft_margin:
            return soft_margin_sums(distances, positive, negative, margin), n_valid()
        counts, active = _active(distances, positive, negative, margin, distance)
        return (counts * distances).sum(1) + margin * active, active

    in_blocks = reduction != "none" and not soft_margin
    if in_blocks and fast.applies_in_blocks(embeddings, reference):  # many rows on a GPU
        pairs = (embeddings, reference, positive, negative, margin, distance)
        sums, active, valid = fast.blocked_sums(*pairs, lambda x, y: hinges(x, y)[0].sum())
    else:
        sums, active = hinges(embeddings, reference)
        valid = n_valid()
    if reduction == "none":
        return sums
    if reduction == "sum":
        return sums.sum()
    count = (active if reduction == "active" else valid).sum()
    return sums.sum() / count.clamp_min(1)


def _active(
    distances: Tensor, positive: Tensor, negative: Tensor, margin: float, distance: str
) -> tuple[Tensor, Tensor]:
    """The active triplets, counted by the faster way where that applies."""
    distances = distances.detach()
    tolerance = rounding_error(distances, distance)
    if fast.applies(distances):  # more than a few rows, and no torch.func transform
        return fast.count_active(distances, positive, negative, margin, tolerance)
    return _count_active(distances, positive, negative, margin, tolerance)


def _count_active(
    distances: Tensor, positive: Tensor, negative: Tensor, margin: float, tolerance: Tensor
) -> tuple[Tensor, Tensor]:
    """Count the active triplets, those that violate the margin, by comparing all of them.

    With A the active triplets of anchor a, and A_p and A_n those with p and with n, its hinges are

        Σ_p #A_p · d(a, p) − Σ_n #A_n · d(a, n) + margin · #A

    The counts are constants: this sum has derivatives of any order, and no comparison is kept
    for a gradient, so that memory is ANCHORS · n² bytes at a time instead of n³.
    Returns #A_p and −#A_n, (n, m), and #A, (n,).
    """
    counts = []
    blocks = (x.split(ANCHORS) for x in (distances, positive, negative))
    for d, p, n in zip(*blocks, strict=True):
        violates = d[:, None, :] < (d + margin - tolerance)[:, :, None]
        active = p[:, :, None] & n[:, None, :] & violates  # (anchors, positives, negatives)
        counts.append(active.sum(2) - active.sum(1))
    weights = torch.cat(counts).to(distances.dtype)
    return weights, weights.clamp_min(0).sum(1)


class AllTripletsLoss(ConfiguredModule):
    """`all_triplets_loss` as a module, called with (embeddings, labels).

    After them it takes reference, reference_labels and same, as the function does.

    Args:
        margin, distance, reduction, soft_margin: as of `all_triplets_loss`.
    Raises:
        ValueError: for a negative margin, and for a distance or a reduction that is not known.
    Example:
        >>> AllTripletsLoss(margin=0.5)(torch.eye(3), torch.tensor([0, 0, 1])).item()
        0.5
    """

    def __init__(
        self,
        *,
        margin: float = 0.3,
        distance: str = "cosine",
        reduction: str = "mean",
        soft_margin: bool = False,
    ) -> None:
        super().__init__()
        margin = check_number("margin", margin, least=0)
        check_choice("distance", distance, DISTANCES)
        check_choice("reduction", reduction, REDUCTIONS)
        self.config = {"margin": margin, "distance": distance, "reduction": reduction}
        self.config["soft_margin"] = check_flag("soft_margin", soft_margin)

    def forward(
        self,
        embeddings: Tensor,
        labels: Tensor | None,
        reference: Tensor | None = None,
        reference_labels: Tensor | None = None,
        same: Tensor | None = None,
    ) -> Tensor:
        compared = {"reference": reference, "reference_labels": reference_labels, "same": same}
        options: dict[str, Any] = {**self.config, **compared}
        return all_triplets_loss(embeddings, labels, **options)
