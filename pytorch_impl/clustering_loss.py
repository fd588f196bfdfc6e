"""Clustering loss: each row should choose one cluster, and the batch should use all clusters.

    mean_i H(y_i) − gamma · H(mean_i y_i),    y = p + epsilon,    H(q) = −Σ_k q_k log q_k

Source: Jansen et al. (2020), "Coincidence, Categorization, and Consolidation: Learning to Recognize
Sounds with Minimal Supervision", arXiv 1911.05894.
"""

from __future__ import annotations

import torch
from torch import Tensor

from pytorch_impl.support.checks import check_floating, check_not_empty, check_number
from pytorch_impl.support.configured import ConfiguredModule
from pytorch_impl.support.precision import in_single_precision
from pytorch_impl.support.transforms import check_values


@in_single_precision
def clustering_loss(probabilities: Tensor, *, gamma: float = 1.0, epsilon: float = 1e-6) -> Tensor:
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
        >>> loss = clustering_loss(torch.eye(3))
        >>> round(loss.item(), 4)  # −log 3
        -1.0986
    """
    gamma = check_number("gamma", gamma, least=0)
    check_floating("probabilities", probabilities, ndim=2)
    epsilon = check_number("epsilon", epsilon, least=torch.finfo(probabilities.dtype).tiny)
    check_not_empty("probabilities", probabilities)
    _check_probabilities(probabilities, epsilon)
    shifted = probabilities + epsilon
    return _entropy(shifted).mean() - gamma * _entropy(shifted.mean(0))


def _entropy(y: Tensor) -> Tensor:
    """−Σ y log y over the last axis."""
    return torch.special.entr(y).sum(-1)


def _check_probabilities(probabilities: Tensor, epsilon: float) -> None:
    """ValueError for values outside 0..1 by more than rounding; NaN passes."""
    slack = 8 * torch.finfo(probabilities.dtype).eps
    low, high = -min(slack, epsilon / 2), 1 + slack  # so that p + epsilon stays positive

    def outside(p: Tensor) -> Tensor:
        return (p < low) | (p > high)

    def holds(p: Tensor) -> Tensor:
        if not p.is_cuda:
            minimum, maximum = p.aminmax()
            inside = (minimum >= low) & (maximum <= high)  # one pass; false for NaN
            if inside:
                return inside
        return ~outside(p).any()

    def got(p: Tensor) -> object:
        return p[outside(p)][0].item()

    check_values(holds, "probabilities: expected values in 0..1", got, probabilities.detach())


class ClusteringLoss(ConfiguredModule):
    """`clustering_loss` as a module, called with the probabilities.

    Args:
        gamma, epsilon: as in `clustering_loss`.
    Raises:
        ValueError: an option out of range.
    Example:
        >>> loss = ClusteringLoss(gamma=2.0)
        >>> round(loss(torch.eye(3)).item(), 4)  # −2 log 3
        -2.1972
    """

    def __init__(self, *, gamma: float = 1.0, epsilon: float = 1e-6) -> None:
        super().__init__()
        gamma = check_number("gamma", gamma, least=0)
        epsilon = check_number("epsilon", epsilon, above=0)
        self.config = {"gamma": gamma, "epsilon": epsilon}

    def forward(self, probabilities: Tensor) -> Tensor:
        return clustering_loss(probabilities, **self.config)
