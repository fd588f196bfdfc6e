"""Clustering loss: each row should choose one cluster, and the batch should use them all.

    mean_i H(y_i) − gamma · H(mean_i y_i),    y = p + epsilon,    H(q) = −Σ_k q_k log q_k

Sources: Jansen et al. 2020 (Coincidence, Categorization, and Consolidation); seed topic: a
clustering loss in TensorFlow 2.
"""

from __future__ import annotations

import numpy as np
import theano.tensor as T
from theano.tensor.var import TensorVariable

from theano_impl.support.checks import check_floating, check_not_empty, check_number, check_values
from theano_impl.support.layer import Layer


def clustering_loss(
    probabilities: TensorVariable, *, gamma: float = 1.0, epsilon: float = 1e-6
) -> TensorVariable:
    """Mean entropy of the rows minus gamma times the entropy of the mean row; lower is better.

    probabilities: (batch, clusters), normalized over the clusters, as a softmax over axis 1
    leaves them; nothing is normalized here. Returns a scalar. The first term falls as each
    row settles on one cluster, the second as the batch spreads evenly over the K clusters.
    For epsilon → 0 the loss lies between −gamma·log K (rows one-hot, clusters used evenly) and
    log K (gamma 0, rows uniform); since the mean row's entropy is never the smaller one, it
    cannot exceed max(0, 1 − gamma)·log K. Epsilon keeps the logarithm of a zero, and its
    gradient, finite. TypeError for integers; ValueError for a negative gamma or an epsilon that
    is not positive; AssertionError, when it runs, for an empty batch or values outside 0..1
    (logits, say).
    """
    gamma = check_number("gamma", gamma, least=0)
    probabilities = T.as_tensor_variable(probabilities)
    check_floating("probabilities", probabilities, ndim=2)
    epsilon = check_number("epsilon", epsilon, least=float(np.finfo(probabilities.dtype).tiny))
    probabilities = check_not_empty("probabilities", probabilities)
    probabilities = _check_probabilities(probabilities, epsilon)
    shifted = probabilities + np.asarray(epsilon, probabilities.dtype)
    weight = np.asarray(gamma, probabilities.dtype)
    return T.mean(_entropy(shifted)) - weight * _entropy(T.mean(shifted, axis=0))


def _entropy(y: TensorVariable) -> TensorVariable:
    """−Σ y log y over the last axis."""
    return -T.sum(y * T.log(y), axis=-1)


def _check_probabilities(probabilities: TensorVariable, epsilon: float) -> TensorVariable:
    """AssertionError for values outside 0..1 by more than rounding; NaN is let through."""
    slack = 8 * float(np.finfo(probabilities.dtype).eps)
    low, high = -min(slack, epsilon / 2), 1 + slack  # so that p + epsilon stays positive
    outside = (probabilities < low) | (probabilities > high)
    return check_values(probabilities, T.eq(T.sum(outside), 0), "probabilities", "values in 0..1")


class ClusteringLoss(Layer):
    """`clustering_loss` as a layer: `.output` is the loss; it has no `.params`."""

    def __init__(
        self, probabilities: TensorVariable, *, gamma: float = 1.0, epsilon: float = 1e-6
    ) -> None:
        super().__init__(probabilities, config={"gamma": gamma, "epsilon": epsilon})
        self.output = clustering_loss(probabilities, **self.config)
