"""Clustering loss: each row should choose one cluster, and the batch should use them all.

    mean_i H(y_i) − gamma · H(mean_i y_i),    y = p + epsilon,    H(q) = −Σ_k q_k log q_k

Sources: Jansen et al. 2020 (Coincidence, Categorization, and Consolidation); seed topic: a
clustering loss in TensorFlow 2.
"""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf

from tf2_impl.support.checks import check_floating, check_not_empty, check_number, check_values
from tf2_impl.support.keras_loss import FloatingLoss
from tf2_impl.support.precision import in_single_precision
from tf2_impl.support.ties import machine_epsilon


@in_single_precision
def clustering_loss(
    probabilities: tf.Tensor, *, gamma: float = 1.0, epsilon: float = 1e-6
) -> tf.Tensor:
    """Mean entropy of the rows minus gamma times the entropy of the mean row; lower is better.

    probabilities: (batch, clusters), normalized over the clusters, as a softmax over axis 1
    leaves them; nothing is normalized here. Returns a scalar. The first term falls as each
    row settles on one cluster, the second as the batch spreads evenly over the K clusters.
    For epsilon → 0 the loss lies between −gamma·log K (rows one-hot, clusters used evenly) and
    log K (gamma 0, rows uniform); since the mean row's entropy is never the smaller one, it
    cannot exceed max(0, 1 − gamma)·log K. Epsilon keeps the logarithm of a zero, and its
    gradient, finite. TypeError for integers; ValueError for an empty batch, for values outside
    0..1 (logits, say), for a negative gamma, for an epsilon that is not positive.
    """
    gamma = check_number("gamma", gamma, least=0)
    probabilities = tf.convert_to_tensor(probabilities)
    check_floating("probabilities", probabilities, ndim=2)
    tiny = np.finfo(probabilities.dtype.as_numpy_dtype).tiny
    epsilon = check_number("epsilon", epsilon, least=float(tiny))
    check_not_empty("probabilities", probabilities)
    _check_probabilities(probabilities, epsilon)
    shifted = probabilities + epsilon
    return tf.reduce_mean(_entropy(shifted)) - gamma * _entropy(tf.reduce_mean(shifted, axis=0))


def _entropy(y: tf.Tensor) -> tf.Tensor:
    """−Σ y log y over the last axis."""
    return -tf.reduce_sum(y * tf.math.log(y), axis=-1)


def _check_probabilities(probabilities: tf.Tensor, epsilon: float) -> None:
    """ValueError for values outside 0..1 by more than rounding; NaN is let through."""
    slack = 8 * machine_epsilon(probabilities.dtype)
    low, high = -min(slack, epsilon / 2), 1 + slack  # so that p + epsilon stays positive
    outside = tf.boolean_mask(probabilities, (probabilities < low) | (probabilities > high))
    check_values(tf.size(outside) == 0, "probabilities", "values in 0..1", outside)


@keras.saving.register_keras_serializable("fourfold")
class ClusteringLoss(FloatingLoss):
    """`clustering_loss` as a Keras loss: y_pred are the probabilities, y_true is not looked at.

    ValueError for a sample_weight: the loss belongs to the batch, not to its rows.
    """

    def __init__(
        self,
        *,
        gamma: float = 1.0,
        epsilon: float = 1e-6,
        name: str = "clustering_loss",
        dtype: str | None = None,
    ) -> None:
        gamma = check_number("gamma", gamma, least=0)
        epsilon = check_number("epsilon", epsilon, above=0)
        # A scalar leaves Keras nothing to reduce.
        super().__init__(name=name, reduction="none", dtype=dtype)
        self.gamma = gamma
        self.epsilon = epsilon

    def __call__(
        self, y_true: tf.Tensor, y_pred: tf.Tensor, sample_weight: tf.Tensor | None = None
    ) -> tf.Tensor:
        if sample_weight is not None:
            raise ValueError("sample_weight: expected None, got weights for the rows of a batch")
        return super().__call__(y_true, y_pred)

    def call(self, y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
        return clustering_loss(y_pred, gamma=self.gamma, epsilon=self.epsilon)

    def get_config(self) -> dict:
        config = {**super().get_config(), "gamma": self.gamma, "epsilon": self.epsilon}
        del config["reduction"]
        return config
