"""Clustering loss: each row should choose one cluster, and the batch should use all clusters.

    mean_i H(y_i) − gamma · H(mean_i y_i),    y = p + epsilon,    H(q) = −Σ_k q_k log q_k

Source: Jansen et al. (2020), "Coincidence, Categorization, and Consolidation: Learning to Recognize
Sounds with Minimal Supervision", arXiv 1911.05894.
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

        mean_i H(y_i) − gamma · H(mean_i y_i)

    The first term falls when each row settles on one cluster, the second when the batch spreads
    evenly over the K clusters. For epsilon → 0 the loss is between −gamma · log K, for one-hot rows
    that use the clusters evenly, and max(0, 1 − gamma) · log K, for uniform rows or rows that all
    choose the same cluster: the entropy of the mean row is never smaller than the mean entropy.

    Args:
        probabilities: (batch, clusters), float32 or float64, normalized over the clusters (axis 1)
            as by a softmax; they are not normalized here.
        gamma: weight of the even use of the clusters, at least 0.
        epsilon: is added to the probabilities, and keeps the logarithm of 0 and its gradient
            finite; above 0.
    Returns:
        A scalar.
    Raises:
        TypeError: probabilities that are not floating.
        ValueError: other than two axes, a negative gamma, an epsilon that is not positive.
        AssertionError: when it runs, for an empty batch or values outside 0..1, such as logits.
    Example:
        >>> loss = clustering_loss(T.eye(3))
        >>> round(float(loss.eval()), 4)  # −log 3
        -1.0986
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
    """AssertionError for values outside 0..1 by more than rounding; NaN passes."""
    slack = 8 * float(np.finfo(probabilities.dtype).eps)
    low, high = -min(slack, epsilon / 2), 1 + slack  # so that p + epsilon stays positive
    outside = (probabilities < low) | (probabilities > high)
    return check_values(probabilities, T.eq(T.sum(outside), 0), "probabilities", "values in 0..1")


class ClusteringLoss(Layer):
    """`clustering_loss` as a layer: `.output` is the loss, and `.params` is empty.

    Args:
        probabilities, gamma, epsilon: as in `clustering_loss`.
    Raises:
        ValueError: an option out of range.
    Example:
        >>> loss = ClusteringLoss(T.eye(3), gamma=2.0)
        >>> round(float(loss.output.eval()), 4)  # −2 log 3
        -2.1972
    """

    def __init__(
        self, probabilities: TensorVariable, *, gamma: float = 1.0, epsilon: float = 1e-6
    ) -> None:
        super().__init__(probabilities, config={"gamma": gamma, "epsilon": epsilon})
        self.output = clustering_loss(probabilities, **self.config)
