"""Triplet loss: an anchor must be nearer to its positive than to its negative, by a margin.

    max(0, margin + d(anchor, positive) − d(anchor, negative))

Sources: Schroff, Kalenichenko, Philbin (2015), FaceNet; over all triplets of a batch: Hermans,
Beyer, Leibe (2017), In Defense of the Triplet Loss.
"""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from tf2_impl.distances import DISTANCES, paired_distances
from tf2_impl.support.all_triplets import AllTripletsLoss, all_triplets_loss
from tf2_impl.support.checks import (
    check_choice,
    check_flag,
    check_floating,
    check_like,
    check_not_empty,
    check_number,
)
from tf2_impl.support.keras_loss import FloatingLoss
from tf2_impl.support.precision import in_single_precision
from tf2_impl.support.soft_margin import softplus

__all__ = ["AllTripletsLoss", "TripletLoss", "all_triplets_loss", "triplet_loss"]
REDUCTIONS = ("mean", "sum", "none")


@in_single_precision
def triplet_loss(
    anchor: tf.Tensor,
    positive: tf.Tensor,
    negative: tf.Tensor,
    *,
    margin: float = 0.3,
    distance: str = "cosine",
    reduction: str = "mean",
    soft_margin: bool = False,
    swap: bool = False,
) -> tf.Tensor:
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
        >>> x = tf.eye(3)
        >>> triplet_loss(x[:1], x[1:2], x[2:], margin=0.5).numpy().item()  # both distances are 1
        0.5
    """
    margin = check_number("margin", margin, least=0)
    check_choice("distance", distance, DISTANCES)
    check_choice("reduction", reduction, REDUCTIONS)
    soft_margin = check_flag("soft_margin", soft_margin)
    swap = check_flag("swap", swap)
    anchor = tf.convert_to_tensor(anchor)
    positive = tf.convert_to_tensor(positive)
    negative = tf.convert_to_tensor(negative)
    check_floating("anchor", anchor, ndim=2)
    check_not_empty("anchor", anchor)
    check_like("positive", positive, "anchor", anchor)
    check_like("negative", negative, "anchor", anchor)
    near = paired_distances(anchor, positive, distance=distance)  # (batch,)
    far = paired_distances(anchor, negative, distance=distance)
    if swap:
        swapped = paired_distances(positive, negative, distance=distance)
        far = tf.where(swapped < far, swapped, far)
    violation = margin + near - far
    losses = softplus(violation) if soft_margin else tf.nn.relu(violation)
    if reduction == "none":
        return losses
    return tf.reduce_mean(losses) if reduction == "mean" else tf.reduce_sum(losses)


@keras.saving.register_keras_serializable("fourfold")
class TripletLoss(FloatingLoss):
    """`triplet_loss` as a Keras loss of y_pred, (batch, 3, features); y_true is not looked at.

    The three rows of an example are anchor, positive and negative.

    Args:
        margin, distance, reduction, soft_margin, swap: as of `triplet_loss`.
        name, dtype: as of any Keras loss.
    Raises:
        ValueError: for a negative margin, and for a distance or a reduction that is not known.
    Example:
        >>> TripletLoss(margin=0.5)(None, tf.eye(3)[None]).numpy().item()
        0.5
    """

    def __init__(
        self,
        *,
        margin: float = 0.3,
        distance: str = "cosine",
        reduction: str = "mean",
        name: str = "triplet_loss",
        dtype: str | None = None,
        soft_margin: bool = False,
        swap: bool = False,
    ) -> None:
        margin = check_number("margin", margin, least=0)
        check_choice("distance", distance, DISTANCES)
        check_choice("reduction", reduction, REDUCTIONS)
        soft_margin = check_flag("soft_margin", soft_margin)
        swap = check_flag("swap", swap)
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        self.config: dict[str, Any] = {"margin": margin, "distance": distance}
        self.config |= {"soft_margin": soft_margin, "swap": swap}

    def call(self, y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
        check_floating("y_pred", y_pred, ndim=3)
        anchor, positive, negative = tf.unstack(y_pred, num=3, axis=1)
        return triplet_loss(anchor, positive, negative, reduction="none", **self.config)
