"""Triplet loss: an anchor must be nearer to its positive than to its negative, by a margin.

    max(0, margin + d(anchor, positive) − d(anchor, negative))

Sources: Schroff, Kalenichenko, Philbin (2015), FaceNet; over all triplets of a batch: Hermans,
Beyer, Leibe (2017), In Defense of the Triplet Loss.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from pytorch_impl.distances import DISTANCES, paired_distances
from pytorch_impl.fast import triplet_loss as fast
from pytorch_impl.support.all_triplets import AllTripletsLoss, all_triplets_loss
from pytorch_impl.support.checks import (
    check_choice,
    check_flag,
    check_floating,
    check_like,
    check_not_empty,
    check_number,
)
from pytorch_impl.support.configured import ConfiguredModule
from pytorch_impl.support.precision import in_single_precision
from pytorch_impl.support.soft_margin import softplus

__all__ = ["AllTripletsLoss", "TripletLoss", "all_triplets_loss", "triplet_loss"]
REDUCTIONS = ("mean", "sum", "none")


@in_single_precision
def triplet_loss(
    anchor: Tensor,
    positive: Tensor,
    negative: Tensor,
    *,
    margin: float = 0.3,
    distance: str = "cosine",
    reduction: str = "mean",
    soft_margin: bool = False,
    swap: bool = False,
) -> Tensor:
    """The hinge of the triplet in each row.

        max(0, margin + d(anchor, positive) − d(anchor, negative))

    With a soft margin log(1 + exp(v)) stands in the place of each hinge max(0, v): a triplet that
    meets its margin still learns a little. Its authors use it with margin 0.

    The gradient of a hinge is zero where the margin is met exactly. Half precision computes in
    float32.

    Args:
        anchor, positive, negative: (batch, features), of one floating dtype.
        margin: at least 0, in the unit of the distance.
        distance: cosine, sqeuclidean or euclidean.
        reduction: mean, sum or none.
        soft_margin: whether log(1 + exp(v)) stands in the place of max(0, v).
        swap: whether the smaller one of d(anchor, negative) and d(positive, negative) is pushed. Of
            equal ones it is the anchor's.
    Returns:
        A scalar; with reduction none the losses of the rows, (batch,).
    Raises:
        TypeError: for integers and for dtypes that differ.
        ValueError: for an empty batch, shapes that differ or a negative margin.
    Source: Schroff, Kalenichenko, Philbin (2015), section 3.1; soft margin: Hermans, Beyer, Leibe
        (2017), section 2; swap: Balntas, Riba, Ponsa, Mikolajczyk (2016), section 2.3.
    Example:
        >>> x = torch.eye(3)
        >>> triplet_loss(x[:1], x[1:2], x[2:], margin=0.5).item()  # both distances are 1
        0.5
    """
    margin = check_number("margin", margin, least=0)
    check_choice("distance", distance, DISTANCES)
    check_choice("reduction", reduction, REDUCTIONS)
    soft_margin = check_flag("soft_margin", soft_margin)
    swap = check_flag("swap", swap)
    check_floating("anchor", anchor, ndim=2)
    check_not_empty("anchor", anchor)
    check_like("positive", positive, "anchor", anchor)
    check_like("negative", negative, "anchor", anchor)
    by_rows: Callable[..., Tensor] = paired_distances
    if fast.applies_to_rows(distance):  # each row normalized once, Euclidean distances by the norm
        anchor, positive, negative = fast.prepared_rows(anchor, positive, negative, distance)
        by_rows = fast.row_distances
    near = by_rows(anchor, positive, distance=distance)  # (batch,)
    far = by_rows(anchor, negative, distance=distance)
    if swap:
        swapped = by_rows(positive, negative, distance=distance)
        far = torch.where(swapped < far, swapped, far)  # torch.minimum would share a tie's gradient
    violation = margin + near - far
    losses = softplus(violation) if soft_margin else torch.relu(violation)
    if reduction == "none":
        return losses
    return losses.mean() if reduction == "mean" else losses.sum()


class TripletLoss(ConfiguredModule):
    """`triplet_loss` as a module, called with (anchor, positive, negative).

    Args:
        margin, distance, reduction, soft_margin, swap: as of `triplet_loss`.
    Raises:
        ValueError: for a negative margin, and for a distance or a reduction that is not known.
    Example:
        >>> x = torch.eye(3)
        >>> TripletLoss(margin=0.5)(x[:1], x[1:2], x[2:]).item()
        0.5
    """

    def __init__(
        self,
        *,
        margin: float = 0.3,
        distance: str = "cosine",
        reduction: str = "mean",
        soft_margin: bool = False,
        swap: bool = False,
    ) -> None:
        super().__init__()
        margin = check_number("margin", margin, least=0)
        check_choice("distance", distance, DISTANCES)
        check_choice("reduction", reduction, REDUCTIONS)
        soft_margin = check_flag("soft_margin", soft_margin)
        swap = check_flag("swap", swap)
        self.config = {"margin": margin, "distance": distance, "reduction": reduction}
        self.config |= {"soft_margin": soft_margin, "swap": swap}

    def forward(self, anchor: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
        return triplet_loss(anchor, positive, negative, **self.config)
