"""The triplet loss of mined triplets: of the hardest ones of a batch, and of the semi-hard ones.

Sources: Schroff, Kalenichenko, Philbin (2015), FaceNet; Hermans, Beyer, Leibe (2017), In Defense
of the Triplet Loss.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from pytorch_impl.distances import DISTANCES, paired_distances, pairwise_distances
from pytorch_impl.fast import triplet_mining as fast
from pytorch_impl.support.checks import check_choice, check_number
from pytorch_impl.support.configured import ConfiguredModule
from pytorch_impl.support.precision import in_single_precision
from pytorch_impl.support.ties import rounding_error
from pytorch_impl.support.triplet_search import checked_batch, hardest, semi_hard

REDUCTIONS = ("mean", "sum", "none")


class BatchHardTripletLoss(ConfiguredModule):
    """The triplet loss of `batch_hard_triplets`, as a module called with (embeddings, labels).

        Σ max(0, margin + max_p d(a, p) − min_n d(a, n)) / number of anchors that have both

    Zero, with zero gradient, when there is no triplet. A margin that is met to within rounding
    counts as met. Half precision computes in float32. After (embeddings, labels) it takes
    reference, reference_labels and same, as `batch_hard_triplets` does. Gradients flow
    into the reference.

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
    def forward(
        self,
        embeddings: Tensor,
        labels: Tensor | None,
        reference: Tensor | None = None,
        reference_labels: Tensor | None = None,
        same: Tensor | None = None,
    ) -> Tensor:
        margin, distance, reduction = self.config.values()
        given = (reference, reference_labels, same)
        if fast.applies_on_a_gpu(embeddings, labels, *given):  # in float32, labels of one class
            assert labels is not None
            options = {"margin": margin, "distance": distance}
            violations = fast.gpu_hardest_violations(embeddings, labels, **options)
            return _reduced(*violations, reduction)
        with torch.no_grad():
            classes = checked_batch(embeddings, labels, distance, reference, reference_labels, same)
            farthest, nearest, found = hardest(embeddings, classes, distance)  # (n,)
        reference = classes.reference
        near = paired_distances(embeddings, reference[farthest], distance=distance)  # (n,)
        far = paired_distances(embeddings, reference[nearest], distance=distance)
        tolerance = rounding_error(torch.stack([near.detach(), far.detach()]), distance)
        return _reduced(margin + near - far, found, tolerance, reduction)


class SemiHardTripletLoss(ConfiguredModule):
    """The triplet loss of `semi_hard_triplets`, as a module called with (embeddings, labels).

        Σ (margin + d(a, p) − d(a, n)) / number of semi-hard triplets (a, p, n)

    Zero, with zero gradient, when there is no triplet. Half precision computes in float32. After
    (embeddings, labels) it takes reference, reference_labels and same, as `semi_hard_triplets`
    does. Gradients flow into the reference.

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
    def forward(
        self,
        embeddings: Tensor,
        labels: Tensor | None,
        reference: Tensor | None = None,
        reference_labels: Tensor | None = None,
        same: Tensor | None = None,
    ) -> Tensor:
        margin, distance, reduction = self.config.values()
        with torch.no_grad():
            classes = checked_batch(embeddings, labels, distance, reference, reference_labels, same)
            nearest, found = semi_hard(embeddings, classes, margin, distance)  # (n, m)
        # The distances are computed again, for their gradient: the mining compares squares.
        distances = pairwise_distances(embeddings, classes.reference, distance=distance)
        violation = margin + distances - distances.gather(1, nearest)
        tolerance = rounding_error(distances.detach(), distance)
        return _reduced(violation, found, tolerance, reduction)


def _checked_options(margin: float, distance: str, reduction: str) -> dict[str, Any]:
    margin = check_number("margin", margin, least=0)
    check_choice("distance", distance, DISTANCES)
    check_choice("reduction", reduction, REDUCTIONS)
    return {"margin": margin, "distance": distance, "reduction": reduction}


def _reduced(violation: Tensor, found: Tensor, tolerance: Tensor, reduction: str) -> Tensor:
    """The hinges of what was found, (n,) or (n, m), reduced over all or added for each anchor."""
    active = found & (violation.detach() > tolerance)
    hinges = torch.where(active, violation, 0)
    if reduction == "none":
        return hinges.sum(1) if hinges.ndim > 1 else hinges
    total = hinges.sum()
    return total / found.sum().clamp_min(1) if reduction == "mean" else total
