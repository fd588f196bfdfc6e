"""Clustering loss: each row should choose one cluster, and the batch should use all clusters.

    mean_i H(y_i) − gamma · H(mean_i y_i),    y = p + epsilon,    H(q) = −Σ_k q_k log q_k

Source: Jansen et al. (2020), "Coincidence, Categorization, and Consolidation: Learning to Recognize
Sounds with Minimal Supervision", arXiv 1911.05894.
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

        mean_i H(y_i) − gamma · H(mean_i y_i)

    The first term falls when each row settles on one cluster, the second when the batch spreads
    evenly over the K clusters. For epsilon → 0 the loss is between −gamma · log K, for one-hot rows
    that use the clusters evenly, and max(0, 1 − gamma) · log K, for uniform rows or rows that all
    choose the same cluster: the entropy of the mean row is never smaller than the mean entropy.

    Args:
        probabilities: (batch, clusters), floating, normalized over the clusters (axis 1) as by a
            softmax; they are not normalized here. Halves compute in float32.
        gamma: weight of the even use of the clusters, at least 0.
        epsilon: is added to the probabilities, and keeps the logarithm of 0 and its gradient
            finite; above 0.
    Returns:
        A scalar.
    Raises:
        TypeError: probabilities that are not floating.
        ValueError: other than two axes, an empty batch, values outside 0..1, such as logits, a
            negative gamma, an epsilon that is not positive.
    Example:
        >>> loss = clustering_loss(tf.eye(3))
        >>> round(float(loss), 4)  # −log 3
        -1.0986
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
    """ValueError for values outside 0..1 by more than rounding; NaN passes."""
    slack = 8 * machine_epsilon(probabilities.dtype)
    low, high = -min(slack, epsilon / 2), 1 + slack  # so that p + epsilon stays positive
    outside = tf.boolean_mask(probabilities, (probabilities < low) | (probabilities > high))
    check_values(tf.size(outside) == 0, "probabilities", "values in 0..1", outside)


@keras.saving.register_keras_serializable("fourfold")
class ClusteringLoss(FloatingLoss):
    """`clustering_loss` as a Keras loss: y_pred are the probabilities, y_true is ignored.

    Args:
        gamma, epsilon: as in `clustering_loss`.
        name, dtype: as in every Keras loss.
    Raises:
        ValueError: an option out of range, or a sample_weight when it is called: the loss belongs
            to the batch, not to its rows.
    Example:
        >>> loss = ClusteringLoss(gamma=2.0)
        >>> round(float(loss(None, tf.eye(3))), 4)  # −2 log 3
        -2.1972
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
        # The loss is a scalar: Keras has nothing to reduce.
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
