"""Triplet loss: an anchor must be nearer to its positive than to its negative, by a margin.

    max(0, margin + d(anchor, positive) − d(anchor, negative))

Sources: Schroff, Kalenichenko, Philbin (2015), FaceNet; over all triplets of a batch: Hermans,
Beyer, Leibe (2017), In Defense of the Triplet Loss.
"""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from tf2_impl.distances import DISTANCES, paired_distances, pairwise_distances
from tf2_impl.fast import triplet_loss as fast
from tf2_impl.support.checks import (
    check_choice,
    check_floating,
    check_labels,
    check_like,
    check_not_empty,
    check_number,
    size,
)
from tf2_impl.support.keras_loss import FloatingLoss
from tf2_impl.support.precision import in_single_precision
from tf2_impl.support.ties import rounding_error

REDUCTIONS = ("mean", "sum", "none")
ALL_TRIPLETS_REDUCTIONS = ("mean", "active", "sum", "none")


@in_single_precision
def triplet_loss(
    anchor: tf.Tensor,
    positive: tf.Tensor,
    negative: tf.Tensor,
    *,
    margin: float = 0.3,
    distance: str = "cosine",
    reduction: str = "mean",
) -> tf.Tensor:
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
        >>> x = tf.eye(3)
        >>> triplet_loss(x[:1], x[1:2], x[2:], margin=0.5).numpy().item()  # both distances are 1
        0.5
    """
    margin = check_number("margin", margin, least=0)
    check_choice("distance", distance, DISTANCES)
    check_choice("reduction", reduction, REDUCTIONS)
    anchor = tf.convert_to_tensor(anchor)
    positive = tf.convert_to_tensor(positive)
    negative = tf.convert_to_tensor(negative)
    check_floating("anchor", anchor, ndim=2)
    check_not_empty("anchor", anchor)
    check_like("positive", positive, "anchor", anchor)
    check_like("negative", negative, "anchor", anchor)
    near = paired_distances(anchor, positive, distance=distance)  # (batch,)
    far = paired_distances(anchor, negative, distance=distance)
    hinge = tf.nn.relu(margin + near - far)
    if reduction == "none":
        return hinge
    return tf.reduce_mean(hinge) if reduction == "mean" else tf.reduce_sum(hinge)


@in_single_precision
def all_triplets_loss(
    embeddings: tf.Tensor,
    labels: tf.Tensor,
    *,
    margin: float = 0.3,
    distance: str = "cosine",
    reduction: str = "mean",
) -> tf.Tensor:
    """The hinges of all triplets in a batch: p another row of a's class, n of another class.

        Σ max(0, margin + d(a, p) − d(a, n)) / number of triplets (a, p, n)

    Zero, with zero gradient, when there is no triplet. A margin that is met to within rounding
    counts as met. Half precision computes in float32. Work n² log n and memory n²; under
    XLA n³ comparisons.

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
        >>> all_triplets_loss(tf.eye(3), tf.constant([0, 0, 1]), margin=0.5).numpy().item()
        0.5
    """
    margin = check_number("margin", margin, least=0)
    check_choice("distance", distance, DISTANCES)
    check_choice("reduction", reduction, ALL_TRIPLETS_REDUCTIONS)
    embeddings, labels = tf.convert_to_tensor(embeddings), tf.convert_to_tensor(labels)
    check_floating("embeddings", embeddings, ndim=2)
    check_not_empty("embeddings", embeddings)
    check_labels("labels", labels, size(embeddings, 0))
    distances = pairwise_distances(embeddings, embeddings, distance=distance)  # (n, n)
    constant = tf.stop_gradient(distances)
    tolerance = rounding_error(constant, distance)
    if fast.applies():  # where XLA does not compile: its search compares all with all
        counts, active = fast.count_active(constant, labels, margin, tolerance)
    else:
        counts, active = _count_active(constant, labels, margin, tolerance)
    sums = tf.reduce_sum(counts * distances, axis=1) + margin * active  # of each anchor, (n,)
    if reduction == "none":
        return sums
    if reduction == "sum":
        return tf.reduce_sum(sums)
    same = labels[:, None] == labels
    n_negatives = tf.math.count_nonzero(~same, axis=1, dtype=sums.dtype)
    valid = (tf.math.count_nonzero(same, axis=1, dtype=sums.dtype) - 1) * n_negatives
    count = tf.reduce_sum(active if reduction == "active" else valid)
    return tf.reduce_sum(sums) / tf.maximum(count, 1)


def _count_active(
    distances: tf.Tensor, labels: tf.Tensor, margin: float, tolerance: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Count the active triplets, those that violate the margin, by comparing all of them.

    With A the active triplets of anchor a, and A_p and A_n those with p and with n, its hinges are

        Σ_p #A_p · d(a, p) − Σ_n #A_n · d(a, n) + margin · #A

    The counts are constants: this sum has derivatives of any order, and no comparison is kept
    for a gradient, so that memory is n² bytes for each anchor instead of n³.
    Returns #A_p and −#A_n, (n, n), and #A, (n,).
    """
    same = labels[:, None] == labels
    positive = same & ~tf.eye(tf.shape(labels)[0], dtype=tf.bool)

    def count(anchor: tuple[tf.Tensor, tf.Tensor, tf.Tensor]) -> tf.Tensor:
        d, p, n = anchor  # its distances, its positives and its negatives, (n,)
        active = p[:, None] & n & (d < (d + margin - tolerance)[:, None])  # (positives, negatives)
        active = tf.cast(active, d.dtype)
        return tf.reduce_sum(active, axis=1) - tf.reduce_sum(active, axis=0)

    counts = tf.map_fn(count, (distances, positive, ~same), fn_output_signature=distances.dtype)
    return counts, tf.reduce_sum(tf.nn.relu(counts), axis=1)


@keras.saving.register_keras_serializable("fourfold")
class TripletLoss(FloatingLoss):
    """`triplet_loss` as a Keras loss of y_pred, (batch, 3, features); y_true is not looked at.

    The three rows of an example are anchor, positive and negative.

    Args:
        margin, distance, reduction: as of `triplet_loss`.
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
    ) -> None:
        margin = check_number("margin", margin, least=0)
        check_choice("distance", distance, DISTANCES)
        check_choice("reduction", reduction, REDUCTIONS)
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        self.config: dict[str, Any] = {"margin": margin, "distance": distance}

    def call(self, y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
        check_floating("y_pred", y_pred, ndim=3)
        anchor, positive, negative = tf.unstack(y_pred, num=3, axis=1)
        return triplet_loss(anchor, positive, negative, reduction="none", **self.config)
