"""Triplet loss: an anchor must be nearer to its positive than to its negative, by a margin.

    max(0, margin + d(anchor, positive) − d(anchor, negative))

Sources: Schroff et al. 2015 (FaceNet); seed topics: a speaker encoder trained on triplets,
triplet loss in TensorFlow 2.
"""

from __future__ import annotations

import math

import keras
import tensorflow as tf

from tf2_impl.distances import DISTANCES, paired_distances, pairwise_distances
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
    """Hinge of each row's triplet; the gradient is zero where the margin is met exactly.

    anchor, positive, negative: (batch, features). distance: cosine, sqeuclidean or euclidean.
    reduction: mean, sum, or none for (batch,). TypeError for integers, ValueError for an
    empty batch, shapes that differ or a negative margin.
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
    near = paired_distances(anchor, positive, distance=distance)
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
    """Hinge over every (anchor, positive, negative) that the labels of a batch allow.

    embeddings: (n, features); labels: (n,) integers. reduction: mean over all triplets,
    active (mean over those that violate the margin), sum, or none for each anchor's sum, (n,).
    Zero, with zero gradient, when there is no such triplet. A margin that is met to within
    rounding counts as met. Work n² log n, memory n²: the n³ triplets are counted, not formed.
    """
    margin = check_number("margin", margin, least=0)
    check_choice("distance", distance, DISTANCES)
    check_choice("reduction", reduction, ALL_TRIPLETS_REDUCTIONS)
    embeddings, labels = tf.convert_to_tensor(embeddings), tf.convert_to_tensor(labels)
    check_floating("embeddings", embeddings, ndim=2)
    check_not_empty("embeddings", embeddings)
    check_labels("labels", labels, size(embeddings, 0))
    distances = pairwise_distances(embeddings, embeddings, distance=distance)
    constant = tf.stop_gradient(distances)
    tolerance = rounding_error(constant, distance)
    weights, active, valid = _count_triplets(constant, labels, margin, tolerance)
    sums = tf.reduce_sum(weights * distances, axis=1) + margin * active
    if reduction == "none":
        return sums
    if reduction == "sum":
        return tf.reduce_sum(sums)
    count = tf.reduce_sum(active if reduction == "active" else valid)
    return tf.reduce_sum(sums) / tf.maximum(count, 1)


def _count_triplets(
    distances: tf.Tensor, labels: tf.Tensor, margin: float, tolerance: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """How often each distance enters the sum of the active hinges, with its sign.

    A positive enters once for each negative within its reach, a negative once for each
    positive that reaches it: with these counts the sum of n³ hinges is one of n² products.
    Returns weights (n, n), and per anchor the number of active and of valid triplets, (n,).
    """
    n = tf.shape(labels)[0]
    infinity = tf.constant(math.inf, distances.dtype)
    same = labels[:, None] == labels
    positive = same & ~tf.eye(n, dtype=tf.bool)
    reach = distances + margin - tolerance
    negatives = tf.sort(tf.where(same, infinity, distances), axis=1)
    reaches = tf.sort(tf.where(positive, reach, -infinity), axis=1)
    reached = tf.searchsorted(negatives, reach)
    reaching = n - tf.searchsorted(reaches, distances, side="right")
    weights = tf.where(positive, reached, tf.where(same, 0, -reaching))
    active = tf.reduce_sum(tf.where(positive, reached, 0), axis=1)
    valid = tf.math.count_nonzero(positive, axis=1) * tf.math.count_nonzero(~same, axis=1)
    return tuple(tf.cast(count, distances.dtype) for count in (weights, active, valid))


@keras.saving.register_keras_serializable("fourfold")
class TripletLoss(FloatingLoss):
    """`triplet_loss` as a Keras loss: y_pred is (batch, 3, features), y_true is not looked at.

    The three are anchor, positive and negative.
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
        self.margin = margin
        self.distance = distance

    def call(self, y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
        check_floating("y_pred", y_pred, ndim=3)
        anchor, positive, negative = tf.unstack(y_pred, num=3, axis=1)
        return triplet_loss(
            anchor,
            positive,
            negative,
            margin=self.margin,
            distance=self.distance,
            reduction="none",
        )

    def get_config(self) -> dict:
        return {**super().get_config(), "margin": self.margin, "distance": self.distance}
