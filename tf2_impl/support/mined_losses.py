"""The triplet loss of mined triplets: of the hardest ones of a batch, and of the semi-hard ones.

Sources: Schroff, Kalenichenko, Philbin (2015), FaceNet; Hermans, Beyer, Leibe (2017), In Defense
of the Triplet Loss.
"""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from tf2_impl.distances import DISTANCES, paired_distances, pairwise_distances
from tf2_impl.support.checks import check_choice, check_number
from tf2_impl.support.keras_loss import LabelLoss
from tf2_impl.support.ties import rounding_error
from tf2_impl.support.triplet_search import hardest, search_batch, semi_hard

REDUCTIONS = ("mean", "sum", "none")


@keras.saving.register_keras_serializable("fourfold")
class BatchHardTripletLoss(LabelLoss):
    """The triplet loss of `batch_hard_triplets`, as a Keras loss of embeddings and their labels.

        Σ max(0, margin + max_p d(a, p) − min_n d(a, n)) / number of anchors that have both

    Zero, with zero gradient, when there is no triplet. A margin that is met to within rounding
    counts as met. Half precision computes in float32. In a loop of your own it takes reference,
    reference_labels and same beside (y_true, y_pred), as `batch_hard_triplets` does.

    Args:
        margin: at least 0, in the unit of the distance.
        distance: cosine, sqeuclidean or euclidean.
        reduction: mean over the triplets, sum, or none: the hinge of each anchor, (n,), which is 0
            for an anchor without a triplet. Sample weights weigh anchors, and not the count of
            triplets that the mean divides by.
        name, dtype: as of any Keras loss.
    Raises:
        ValueError: for a negative margin, for a distance or a reduction that is not known, and,
            when it is called, for labels that are neither (n,) nor (n, 1).
    Source: Hermans, Beyer, Leibe (2017), equation 5.
    Example:
        >>> x, labels = tf.constant([[0.0], [1.0], [3.0]]), [0, 0, 1]
        >>> BatchHardTripletLoss(margin=3.0, distance="euclidean")(labels, x).numpy().item()
        1.5
    """

    def __init__(
        self,
        *,
        margin: float = 0.3,
        distance: str = "cosine",
        reduction: str = "mean",
        name: str = "batch_hard_triplet_loss",
        dtype: str | None = None,
    ) -> None:
        super().__init__(name=name, dtype=dtype, **_checked_options(margin, distance, reduction))

    def anchor_sums(
        self, embeddings: tf.Tensor, labels: tf.Tensor | None, **compared: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        margin, distance = self.config["margin"], self.config["distance"]
        searched = search_batch(embeddings, labels, distance, **compared)
        reference = compared.get("reference", embeddings)
        farthest, nearest, found = hardest(*searched, distance)  # (n,)
        rows = (tf.gather(reference, index) for index in (farthest, nearest))  # (n, features)
        near, far = (paired_distances(embeddings, row, distance=distance) for row in rows)  # (n,)
        tolerance = rounding_error(tf.stop_gradient(tf.stack([near, far])), distance)
        return _hinge_sums(margin + near - far, found, tolerance)


@keras.saving.register_keras_serializable("fourfold")
class SemiHardTripletLoss(LabelLoss):
    """The triplet loss of `semi_hard_triplets`, as a Keras loss of embeddings and their labels.

        Σ (margin + d(a, p) − d(a, n)) / number of semi-hard triplets (a, p, n)

    Zero, with zero gradient, when there is no triplet. Half precision computes in float32. In a
    loop of your own it takes reference, reference_labels and same beside (y_true, y_pred), as
    `semi_hard_triplets` does.

    Args:
        margin: at least 0, in the unit of the distance.
        distance: cosine, sqeuclidean or euclidean.
        reduction: mean over the triplets, sum, or none: the sum of the hinges of each anchor, (n,).
            Sample weights weigh anchors, and not the count of triplets that the mean divides by.
        name, dtype: as of any Keras loss.
    Raises:
        ValueError: for a negative margin, for a distance or a reduction that is not known, and,
            when it is called, for labels that are neither (n,) nor (n, 1).
    Source: Schroff, Kalenichenko, Philbin (2015), section 3.2.
    Example:
        >>> x, labels = tf.constant([[0.0], [1.0], [3.0]]), [0, 0, 1]
        >>> SemiHardTripletLoss(margin=3.0, distance="euclidean")(labels, x).numpy().item()
        1.5
    """

    def __init__(
        self,
        *,
        margin: float = 0.3,
        distance: str = "cosine",
        reduction: str = "mean",
        name: str = "semi_hard_triplet_loss",
        dtype: str | None = None,
    ) -> None:
        super().__init__(name=name, dtype=dtype, **_checked_options(margin, distance, reduction))

    def anchor_sums(
        self, embeddings: tf.Tensor, labels: tf.Tensor | None, **compared: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        margin, distance = self.config["margin"], self.config["distance"]
        searched = search_batch(embeddings, labels, distance, **compared)
        reference = compared.get("reference", embeddings)
        nearest, found = semi_hard(*searched, margin, distance)  # (n, m)
        # The distances are computed again, for their gradient: the mining compares squares.
        distances = pairwise_distances(embeddings, reference, distance=distance)
        violation = margin + distances - tf.gather(distances, nearest, batch_dims=1)
        tolerance = rounding_error(tf.stop_gradient(distances), distance)
        return _hinge_sums(violation, found, tolerance)


def _checked_options(margin: float, distance: str, reduction: str) -> dict[str, Any]:
    margin = check_number("margin", margin, least=0)
    check_choice("distance", distance, DISTANCES)
    check_choice("reduction", reduction, REDUCTIONS)
    return {"margin": margin, "distance": distance, "reduction": reduction}


def _hinge_sums(
    violation: tf.Tensor, found: tf.Tensor, tolerance: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """The hinges of what was found, (n,) or (n, m), added for each anchor, and how many it is."""
    active = found & (tf.stop_gradient(violation) > tolerance)
    hinges = tf.where(active, violation, tf.zeros_like(violation))
    sums = tf.reduce_sum(hinges, axis=1) if hinges.shape.rank > 1 else hinges
    return sums, tf.math.count_nonzero(found)
