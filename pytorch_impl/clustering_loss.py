"""Clustering loss: each row should choose one cluster, and the batch should use them all.

    mean_i H(y_i) − gamma · H(mean_i y_i),    y = p + epsilon,    H(q) = −Σ_k q_k log q_k

Sources: Jansen et al. 2020 (Coincidence, Categorization, and Consolidation); seed topic: a
clustering loss in TensorFlow 2.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pytorch_impl.support.checks import check_floating, check_not_empty, check_number
from pytorch_impl.support.precision import in_single_precision
from pytorch_impl.support.transforms import check_values


@in_single_precision
def clustering_loss(probabilities: Tensor, *, gamma: float = 1.0, epsilon: float = 1e-6) -> Tensor:
    """Mean entropy of the rows minus gamma times the entropy of the mean row; lower is better.

    probabilities: (batch, clusters), normalized over the clusters, as a softmax over axis 1
    leaves them; nothing is normalized here. Returns a scalar. The first term falls as each
    row settles on one cluster, the second as the batch spreads evenly over the K clusters.
    For epsilon → 0 the loss lies between −gamma·log K (rows one-hot, clusters used evenly) and
    log K (gamma 0, rows uniform); since the mean row's entropy is never the smaller one, it
    cannot exceed max(0, 1 − gamma)·log K. Epsilon keeps the logarithm of a zero, and its
    gradient, finite. TypeError for integers; ValueError for an empty batch, for values outside
    0..1 (logits, say), for a negative gamma, for an epsilon that is not positive. Halves compute in
    float32.
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
    """ValueError for values outside 0..1 by more than rounding; NaN is let through."""
    slack = 8 * torch.finfo(probabilities.dtype).eps
    low, high = -min(slack, epsilon / 2), 1 + slack  # so that p + epsilon stays positive

    def check(probabilities: Tensor) -> None:
        smallest, largest = probabilities.aminmax()
        if smallest >= low and largest <= high:  # one pass; a NaN takes the others
            return
        outside = probabilities[(probabilities < low) | (probabilities > high)]
        if outside.numel():
            raise ValueError(f"probabilities: expected values in 0..1, got {outside[0].item()}")

    check_values(check, probabilities.detach())


class ClusteringLoss(nn.Module):
    """`clustering_loss` as a module, called with the probabilities."""

    def __init__(self, *, gamma: float = 1.0, epsilon: float = 1e-6) -> None:
        super().__init__()
        gamma = check_number("gamma", gamma, least=0)
        epsilon = check_number("epsilon", epsilon, above=0)
        self.config = {"gamma": gamma, "epsilon": epsilon}

    def forward(self, probabilities: Tensor) -> Tensor:
        return clustering_loss(probabilities, **self.config)

    def extra_repr(self) -> str:
        return ", ".join(f"{name}={value!r}" for name, value in self.config.items())
