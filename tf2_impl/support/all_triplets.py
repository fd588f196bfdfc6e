"""All triplets of a batch, or of a batch and a reference: their hinges are summed, not formed.

    Σ max(0, margin + d(a, p) − d(a, n)) / number of triplets (a, p, n)

Source: Hermans, Beyer, Leibe (2017), In Defense of the Triplet Loss, section 2 ("batch all").
"""

from __future__ import annotations

import keras
import tensorflow as tf

from tf2_impl.distances import DISTANCES, pairwise_distances
from tf2_impl.fast import triplet_loss as fast
from tf2_impl.support.checks import (
    check_choice,
    check_flag,
    check_floating,
    check_not_empty,
    check_number,
)
from tf2_impl.support.keras_loss import LabelLoss
from tf2_impl.support.labels import class_pairs
from tf2_impl.support.precision import in_single_precision
from tf2_impl.support.soft_margin import soft_margin_sums
from tf2_impl.support.ties import rounding_error

REDUCTIONS = ("mean", "active", "sum", "none")


@in_single_precision
def all_triplets_loss(
    embeddings: tf.Tensor,
    labels: tf.Tensor | None,
    *,
    margin: float = 0.3,
    distance: str = "cosine",
    reduction: str = "mean",
    soft_margin: bool = False,
    reference: tf.Tensor | None = None,
    reference_labels: tf.Tensor | None = None,
    same: tf.Tensor | None = None,
) -> tf.Tensor:
    """The hinges of all triplets in a batch: p another row of a's class, n of another class.

        Σ max(0, margin + d(a, p) − d(a, n)) / number of triplets (a, p, n)

    Zero, with zero gradient, when there is no triplet. A margin that is met to within rounding
    counts as met. Half precision computes in float32. Work n·m log m and memory n·m for a
    reference of m rows, or m = n; under XLA n·m² comparisons.

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
            into the reference; a memory bank wants tf.stop_gradient.
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
        >>> all_triplets_loss(tf.eye(3), tf.constant([0, 0, 1]), margin=0.5).numpy().item()
        0.5
    """
    margin = check_number("margin", margin, least=0)
    check_choice("distance", distance, DISTANCES)
    check_choice("reduction", reduction, REDUCTIONS)
    soft_margin = check_flag("soft_margin", soft_margin)
    sums, active, valid = _anchor_sums(
        embeddings, labels, margin, distance, soft_margin, reference, reference_labels, same
    )
    if reduction == "none":
        return sums
    if reduction == "sum":
        return tf.reduce_sum(sums)
    count = tf.reduce_sum(active if reduction == "active" else valid)
    return tf.reduce_sum(sums) / tf.maximum(count, 1)


def _anchor_sums(
    embeddings: tf.Tensor,
    labels: tf.Tensor | None,
    margin: float,
    distance: str,
    soft_margin: bool,
    reference: tf.Tensor | None = None,
    reference_labels: tf.Tensor | None = None,
    same: tf.Tensor | None = None,
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Of each anchor the sum of its hinges, its active triplets and all of them, (n,) each."""
    embeddings = tf.convert_to_tensor(embeddings)
    check_floating("embeddings", embeddings, ndim=2)
    check_not_empty("embeddings", embeddings)
    reference, positive, negative = class_pairs(
        embeddings, labels, reference, reference_labels, same
    )
    distances = pairwise_distances(embeddings, reference, distance=distance)  # (n, m)
    n_negatives = tf.math.count_nonzero(negative, axis=1, dtype=distances.dtype)
    valid = tf.math.count_nonzero(positive, axis=1, dtype=distances.dtype) * n_negatives  # (n,)
    if soft_margin:
        sums, active = soft_margin_sums(distances, positive, negative, margin), valid
    else:
        counts, active = _active(distances, positive, negative, margin, distance)
        sums = tf.reduce_sum(counts * distances, axis=1) + margin * active  # of each anchor, (n,)
    return sums, active, valid


def _active(
    distances: tf.Tensor, positive: tf.Tensor, negative: tf.Tensor, margin: float, distance: str
) -> tuple[tf.Tensor, tf.Tensor]:
    """The active triplets, counted by the faster way where that applies."""
    distances = tf.stop_gradient(distances)
    tolerance = rounding_error(distances, distance)
    if fast.applies():  # where XLA does not compile: its search compares all with all
        return fast.count_active(distances, positive, negative, margin, tolerance)
    return _count_active(distances, positive, negative, margin, tolerance)


def _count_active(
    distances: tf.Tensor,
    positive: tf.Tensor,
    negative: tf.Tensor,
    margin: float,
    tolerance: tf.Tensor,
) -> tuple[tf.Tensor, tf.Tensor]:
    """Count the active triplets, those that violate the margin, by comparing all of them.

    With A the active triplets of anchor a, and A_p and A_n those with p and with n, its hinges are

        Σ_p #A_p · d(a, p) − Σ_n #A_n · d(a, n) + margin · #A

    The counts are constants: this sum has derivatives of any order, and no comparison is kept
    for a gradient, so that memory is n² bytes for each anchor instead of n³.
    Returns #A_p and −#A_n, (n, m), and #A, (n,).
    """

    def count(anchor: tuple[tf.Tensor, tf.Tensor, tf.Tensor]) -> tf.Tensor:
        d, p, n = anchor  # its distances, its positives and its negatives, (n,)
        active = p[:, None] & n & (d < (d + margin - tolerance)[:, None])  # (positives, negatives)
        active = tf.cast(active, d.dtype)
        return tf.reduce_sum(active, axis=1) - tf.reduce_sum(active, axis=0)

    counts = tf.map_fn(count, (distances, positive, negative), fn_output_signature=distances.dtype)
    return counts, tf.reduce_sum(tf.nn.relu(counts), axis=1)


@keras.saving.register_keras_serializable("fourfold")
class AllTripletsLoss(LabelLoss):
    """`all_triplets_loss` as a Keras loss: y_pred are the embeddings, y_true the labels.

    In a loop of your own it takes reference, reference_labels and same beside them.

    Args:
        margin, distance, reduction, soft_margin: as of `all_triplets_loss`. Sample weights weigh
            anchors, and not the count of triplets that the mean divides by.
        name, dtype: as of any Keras loss.
    Raises:
        ValueError: for a negative margin, for a distance or a reduction that is not known, and,
            when it is called, for labels that are neither (n,) nor (n, 1).
    Example:
        >>> AllTripletsLoss(margin=0.5)([0, 0, 1], tf.eye(3)).numpy().item()
        0.5
    """

    def __init__(
        self,
        *,
        margin: float = 0.3,
        distance: str = "cosine",
        reduction: str = "mean",
        soft_margin: bool = False,
        name: str = "all_triplets_loss",
        dtype: str | None = None,
    ) -> None:
        margin = check_number("margin", margin, least=0)
        check_choice("distance", distance, DISTANCES)
        check_choice("reduction", reduction, REDUCTIONS)
        super().__init__(
            name=name,
            dtype=dtype,
            margin=margin,
            distance=distance,
            reduction=reduction,
            soft_margin=check_flag("soft_margin", soft_margin),
        )

    def anchor_sums(
        self, embeddings: tf.Tensor, labels: tf.Tensor | None, **compared: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        options = dict(self.config)
        reduction = options.pop("reduction")
        sums, active, valid = _anchor_sums(embeddings, labels, **options, **compared)
        return sums, tf.reduce_sum(valid if reduction != "active" else active)
