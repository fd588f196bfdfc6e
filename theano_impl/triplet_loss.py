"""Triplet loss: an anchor must be nearer to its positive than to its negative, by a margin.

    max(0, margin + d(anchor, positive) − d(anchor, negative))

Sources: Schroff, Kalenichenko, Philbin (2015), FaceNet; over all triplets of a batch: Hermans,
Beyer, Leibe (2017), In Defense of the Triplet Loss.
"""

from __future__ import annotations

import numpy as np
import theano.tensor as T
from theano.tensor.var import TensorVariable

from theano_impl.distances import DISTANCES, paired_distances
from theano_impl.support.all_triplets import AllTripletsLoss, all_triplets_loss
from theano_impl.support.checks import (
    check_choice,
    check_flag,
    check_floating,
    check_like,
    check_not_empty,
    check_number,
)
from theano_impl.support.layer import Layer
from theano_impl.support.soft_margin import softplus

__all__ = ["AllTripletsLoss", "TripletLoss", "all_triplets_loss", "triplet_loss"]
REDUCTIONS = ("mean", "sum", "none")


def triplet_loss(
    anchor: TensorVariable,
    positive: TensorVariable,
    negative: TensorVariable,
    *,
    margin: float = 0.3,
    distance: str = "cosine",
    reduction: str = "mean",
    soft_margin: bool = False,
    swap: bool = False,
) -> TensorVariable:
    """The hinge of the triplet in each row.

        max(0, margin + d(anchor, positive) − d(anchor, negative))

    With a soft margin log(1 + exp(v)) stands in the place of each hinge max(0, v): a triplet that
    meets its margin still learns a little. Its authors use it with margin 0.

    The gradient of a hinge is zero where the margin is met exactly.

    Args:
        anchor, positive, negative: (batch, features), float32 or float64.
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
        ValueError: for a negative margin.
        AssertionError: when it runs, for an empty batch or shapes that differ.
    Source: Schroff, Kalenichenko, Philbin (2015), section 3.1; soft margin: Hermans, Beyer, Leibe
        (2017), section 2; swap: Balntas, Riba, Ponsa, Mikolajczyk (2016), section 2.3.
    Example:
        >>> x = T.eye(3)
        >>> triplet_loss(x[:1], x[1:2], x[2:], margin=0.5).eval().item()  # both distances are 1
        0.5
    """
    margin = check_number("margin", margin, least=0)
    check_choice("distance", distance, DISTANCES)
    check_choice("reduction", reduction, REDUCTIONS)
    soft_margin = check_flag("soft_margin", soft_margin)
    swap = check_flag("swap", swap)
    anchor = T.as_tensor_variable(anchor)
    positive = T.as_tensor_variable(positive)
    negative = T.as_tensor_variable(negative)
    check_floating("anchor", anchor, ndim=2)
    anchor = check_not_empty("anchor", anchor)
    positive = check_like("positive", positive, "anchor", anchor)
    negative = check_like("negative", negative, "anchor", anchor)
    near = paired_distances(anchor, positive, distance=distance)  # (batch,)
    far = paired_distances(anchor, negative, distance=distance)
    if swap:
        swapped = paired_distances(positive, negative, distance=distance)
        far = T.switch(swapped < far, swapped, far)  # T.minimum would give a tie's gradient twice
    violation = np.asarray(margin, anchor.dtype) + near - far
    # nnet.relu has gradient 0.5 at exactly 0; a switch the other way round would hide NaN.
    hinge = T.switch(violation <= 0, T.zeros_like(violation), violation)
    losses = softplus(violation) if soft_margin else hinge
    if reduction == "none":
        return losses
    return T.mean(losses) if reduction == "mean" else T.sum(losses)


class TripletLoss(Layer):
    """`triplet_loss` as a layer: `.output` is the loss; it has no `.params`.

    Args:
        anchor, positive, negative, margin, distance, reduction, soft_margin, swap: as of
            `triplet_loss`.
    Raises:
        As `triplet_loss` does.
    Example:
        >>> x = T.eye(3)
        >>> TripletLoss(x[:1], x[1:2], x[2:], margin=0.5).output.eval().item()
        0.5
    """

    def __init__(
        self,
        anchor: TensorVariable,
        positive: TensorVariable,
        negative: TensorVariable,
        *,
        margin: float = 0.3,
        distance: str = "cosine",
        reduction: str = "mean",
        soft_margin: bool = False,
        swap: bool = False,
    ) -> None:
        config = {"margin": margin, "distance": distance, "reduction": reduction}
        config |= {"soft_margin": soft_margin, "swap": swap}
        super().__init__(anchor, positive, negative, config=config)
        self.output = triplet_loss(anchor, positive, negative, **self.config)
