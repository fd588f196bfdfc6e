"""Soft nearest neighbor loss: do the neighbors of a point belong to the class of the point?

    loss_i = −log ( Σ_{j≠i, y_j = y_i} exp(−D_ij / T)  /  Σ_{j≠i} exp(−D_ij / T) )

Source: Frosst, Papernot, Hinton (2019), "Analyzing and Improving Representations with the Soft
Nearest Neighbor Loss", arXiv 1902.01889.
"""

from __future__ import annotations

import math
from typing import Any

import keras
import tensorflow as tf

from tf2_impl.distances import DISTANCES
from tf2_impl.fast import soft_nearest_neighbor_loss as fast
from tf2_impl.support import checks
from tf2_impl.support.keras_loss import LabelLoss
from tf2_impl.support.learned_temperature import LearnedTemperature
from tf2_impl.support.precision import in_single_precision
from tf2_impl.support.soft_neighbors import (
    count_anchors,
    count_rows,
    losses_by_labels,
    losses_by_pairs,
    reduced,
)

REDUCTIONS = ("mean", "sum", "none")


@in_single_precision
def soft_nearest_neighbor_loss(
    embeddings: tf.Tensor,
    labels: tf.Tensor | None,
    *,
    temperature: float | tf.Tensor = 1.0,
    distance: str = "sqeuclidean",
    reduction: str = "mean",
    block_size: int | None = None,
    reference: tf.Tensor | None = None,
    reference_labels: tf.Tensor | None = None,
    same: tf.Tensor | None = None,
) -> tf.Tensor:
    """Minus the log of the share that the anchor's class has of its soft neighborhood.

        loss_i = log Σ_{j≠i} exp(−D_ij / T) − log Σ_{j≠i, y_j = y_i} exp(−D_ij / T)

    Args:
        embeddings: (n, features), floating. Halves compute in float32.
        labels: (n,), integers; or several labels of a row, (n, classes), bool: two rows are
            positives when they share one.
        temperature: T, a positive number, or a scalar tensor.
        distance: D: sqeuclidean as in the paper, euclidean or cosine.
        reduction: mean over the anchors that share their label with another point, sum or none.
        block_size: rows of a block, two of which are computed at a time: memory is n · block_size
            instead of n².
        reference, reference_labels: (m, features) and (m,) or (m, classes), as embeddings and
            labels: the neighbors are rows of the reference, such as a memory bank, and none is left
            out as the anchor itself. Gradients flow into the reference.
        same: (n, m), bool, in the place of the labels, which are None then: which rows of the
            reference, or of the batch, are of the anchor's class. With a reference, several labels
            or same there are n·m bools besides the blocks.
    Returns:
        A scalar; (n,) for reduction none. An anchor that is alone in its class has loss 0 and no
        gradient.
    Raises:
        TypeError: embeddings that are not floating, labels that are not integers.
        ValueError: an empty batch, wrong shapes, a temperature that is not positive.
    Example:
        >>> x = tf.constant([[0.0], [1.0], [3.0]])
        >>> loss = soft_nearest_neighbor_loss(x, [0, 0, 1])
        >>> round(float(loss), 4)  # (log(1 + e⁻⁸) + log(1 + e⁻³)) / 2
        0.0245
    """
    block_size = _check_options(distance, reduction, block_size)
    embeddings = tf.convert_to_tensor(embeddings)
    labels = labels if labels is None else tf.convert_to_tensor(labels)
    checks.check_floating("embeddings", embeddings, ndim=2)
    checks.check_not_empty("embeddings", embeddings)
    temperature = checks.check_positive("temperature", temperature, embeddings)
    several = labels is None or labels.dtype == tf.bool
    if several or not (reference is None and reference_labels is None and same is None):
        compared = (reference, reference_labels, same, temperature, distance, block_size)
        losses, positive = losses_by_pairs(_losses, embeddings, labels, *compared)
        return reduced(losses, reduction, lambda: count_rows(positive, losses.dtype))
    checks.check_labels("labels", labels, checks.size(embeddings, 0))

    def plain_losses(
        embeddings: tf.Tensor,
        labels: tf.Tensor,
        temperature: tf.Tensor,
        block_size: int | None = block_size,
    ) -> tf.Tensor:
        return losses_by_labels(_losses, embeddings, labels, temperature, distance, block_size)

    if fast.applies(embeddings, distance):  # where all D are small against T, else plain
        losses = fast.losses(embeddings, labels, temperature, block_size, plain_losses)
    else:
        losses = plain_losses(embeddings, labels, temperature)
    return reduced(losses, reduction, lambda: count_anchors(labels, losses.dtype))


def _losses(
    D: tf.Tensor, others: tf.Tensor, positives: tf.Tensor, temperature: tf.Tensor
) -> tf.Tensor:
    """Minus the log of the share of the positives in all others, of each row."""
    # A singleton, an anchor without positives, gets two equal sums: loss 0, or NaN for a NaN.
    singletons = ~tf.reduce_any(positives, axis=1, keepdims=True)
    others, positives = others | singletons, positives | singletons
    # Subtract the distance to the nearest positive in both sums: it cancels, and keeps precision
    # when all distances are large.
    infinity = tf.constant(math.inf, D.dtype)
    masked = tf.where(positives, tf.stop_gradient(D), infinity)
    nearest = tf.reduce_min(masked, axis=1, keepdims=True)
    logits = (nearest - D) / temperature
    log_all = tf.reduce_logsumexp(tf.where(others, logits, -infinity), axis=1)
    log_same = tf.reduce_logsumexp(tf.where(positives, logits, -infinity), axis=1)
    return log_all - log_same


def _check_options(distance: str, reduction: str, block_size: int | None) -> int | None:
    checks.check_choice("distance", distance, DISTANCES)
    checks.check_choice("reduction", reduction, REDUCTIONS)
    return None if block_size is None else checks.check_count("block_size", block_size)


@keras.saving.register_keras_serializable("fourfold")
class SoftNearestNeighborLoss(LearnedTemperature):
    """`soft_nearest_neighbor_loss` as a layer, called with (embeddings, labels).

    It is no Keras loss, since these have no weights; `SoftNearestNeighborKerasLoss` is one, with a
    temperature that stays.

    With learn_temperature, T is trained too. The weight is `log_inverse_temperature`, −log T: T
    stays positive after any step of an optimizer, and stays in e^±32.

    As a penalty the loss is maximized over the embeddings, which mixes the classes, and still
    minimized over T, so that T is the scale at which the classes are most distinct. Let T learn
    faster than the embeddings: while T lags behind, the loss is above that of mixed classes.

    Args:
        temperature: T, or its start when it is learned; a positive number.
        learn_temperature: whether T is a weight.
        distance, reduction, block_size: as in `soft_nearest_neighbor_loss`.
    Raises:
        ValueError: an option out of range.
    Example:
        >>> x = tf.Variable([[2.0, -2.6], [0.4, -0.6], [-0.5, -0.2], [-2.0, -0.2]])
        >>> labels = tf.constant([0, 0, 1, 1])
        >>> loss = SoftNearestNeighborLoss(learn_temperature=True)
        >>> mixing, cooling = keras.optimizers.Adam(0.05), keras.optimizers.Adam(0.5)
        >>> for _ in range(60):
        ...     with tf.GradientTape() as tape:
        ...         value = loss(x, labels)
        ...     grad_x, grad_t = tape.gradient(value, [x, loss.log_inverse_temperature])
        ...     mixing.apply([-grad_x], [x])  # maximized over x
        ...     cooling.apply([grad_t], [loss.log_inverse_temperature])  # minimized over T
        >>> 0.5 < float(loss(x, labels)) < math.log(3) + 0.01  # the classes are mixed
        True
    """

    def __init__(
        self,
        *,
        temperature: float = 1.0,
        learn_temperature: bool = False,
        distance: str = "sqeuclidean",
        reduction: str = "mean",
        block_size: int | None = None,
        **kwargs: Any,
    ) -> None:
        block_size = _check_options(distance, reduction, block_size)
        options = {"distance": distance, "reduction": reduction, "block_size": block_size}
        super().__init__(temperature, learn_temperature, options, **kwargs)

    @in_single_precision
    def call(self, embeddings: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        return soft_nearest_neighbor_loss(embeddings, labels, **self.options(embeddings))


@keras.saving.register_keras_serializable("fourfold")
class SoftNearestNeighborKerasLoss(LabelLoss):
    """`soft_nearest_neighbor_loss` as a Keras loss: y_pred are the embeddings, y_true the labels.

    Args:
        temperature: T, a positive number.
        distance, reduction, block_size: as in `soft_nearest_neighbor_loss`. Sample weights weigh
            anchors, and not the number of anchors that the mean divides by.
        name, dtype: as of any Keras loss.
    Raises:
        ValueError: an option out of range, and, when it is called, labels that are neither (n,) nor
            (n, 1).
    Example:
        >>> x = tf.constant([[0.0], [1.0], [3.0]])
        >>> round(float(SoftNearestNeighborKerasLoss()([0, 0, 1], x)), 4)
        0.0245
    """

    def __init__(
        self,
        *,
        temperature: float = 1.0,
        distance: str = "sqeuclidean",
        reduction: str = "mean",
        block_size: int | None = None,
        name: str = "soft_nearest_neighbor_loss",
        dtype: str | None = None,
    ) -> None:
        temperature = checks.check_number("temperature", temperature, above=0)
        block_size = _check_options(distance, reduction, block_size)
        options = {"distance": distance, "reduction": reduction, "block_size": block_size}
        super().__init__(name=name, dtype=dtype, temperature=temperature, **options)

    def anchor_sums(
        self, embeddings: tf.Tensor, labels: tf.Tensor | None, **compared: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        if compared or labels is None:
            raise TypeError(f"{self.name}: expected labels alone, got {', '.join(compared)}")
        options = {**self.config, "reduction": "none"}
        losses = soft_nearest_neighbor_loss(embeddings, labels, **options)
        return losses, count_anchors(labels, losses.dtype)
