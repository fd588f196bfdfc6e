"""How evenly a batch uses the experts of a mixture: two losses that are 0 for even use.

    balance(v) = variance(v) / mean(v)²      v: one number for each expert

`load_balance_loss` takes the sums of the gates for v, `load_loss` a smooth count of the rows that
choose each expert. Source: Shazeer et al. 2017 (arXiv 1701.06538), section 4 and appendix A.
"""

from __future__ import annotations

import numpy as np

from numpy_infer.support.checks import (
    check_count,
    check_dtype,
    check_floating,
    check_not_empty,
    check_shape,
)
from numpy_infer.support.normal_cdf import normal_cdf
from numpy_infer.support.ties import among_top_k


def load_balance_loss(gates: np.ndarray) -> np.ndarray:
    """Squared coefficient of variation of the experts' importance.

        importance_e = Σ_rows gate_e,    loss = variance(importance) / mean(importance)²

    The loss is 0 when all experts are equally important and n_experts − 1 when a single expert is
    used. An expert whose gate is 0 in every row gets no gradient here; it does from `load_loss`.

    Args:
        gates: (batch, n_experts), floating.
    Returns:
        A scalar.
    Raises:
        TypeError: gates are integers.
        ValueError: gates have another rank, or the batch is empty.
    Source: Shazeer et al. 2017, section 4.
    Example:
        >>> float(load_balance_loss(np.array([[1.0, 0.0], [1.0, 0.0]])))
        1.0
    """
    check_floating("gates", gates, ndim=2)
    check_not_empty("gates", gates)
    return squared_variation(gates.sum(axis=0))


def load_loss(logits: np.ndarray, noise: np.ndarray, scale: np.ndarray, k: int) -> np.ndarray:
    """Squared coefficient of variation of the experts' load, smooth in the logits.

        load_e = Σ_rows Φ((l_e − t_e) / s_e)
        t_e = the k-th largest of l_j + noise_j · s_j over all j ≠ e

    Φ is the normal distribution function. Each summand is the probability that expert e is among
    the k largest when only its own noise is drawn again. So every expert gets a gradient, also an
    expert that no row chooses. The loss is 0 for k = n_experts.

    Args:
        logits: (batch, n_experts), floating, before the noise is added. Of equal logits the one
            with the lower index counts as the larger.
        noise: (batch, n_experts), standard normal.
        scale: (batch, n_experts), positive: what the noise is multiplied by.
        k: how many experts a row chooses, in 1..n_experts.
    Returns:
        A scalar.
    Raises:
        TypeError: an argument is not floating, dtypes differ, or k is not an integer.
        ValueError: the batch is empty, shapes differ, or k is outside 1..n_experts.
    Source: Shazeer et al. 2017, appendix A.
    Example:
        >>> logits = np.array([[2.0, 0.0]])
        >>> round(float(load_loss(logits, np.zeros((1, 2)), np.ones((1, 2)), k=1)), 4)
        0.9111
    """
    check_floating("logits", logits, ndim=2)
    check_not_empty("logits", logits)
    for name, array in {"noise": noise, "scale": scale}.items():
        check_floating(name, array)
        check_dtype(name, array, logits.dtype)
        check_shape(name, array, logits.shape)
    k = check_count("k", k, most=logits.shape[1])
    noisy = logits + noise * scale
    if k == logits.shape[1]:  # every row chooses every expert
        return squared_variation((1 + 0 * noisy).sum(axis=0))
    ordered = np.sort(noisy, axis=1)[:, ::-1]
    kth, next_ = ordered[:, k - 1 : k], ordered[:, k : k + 1]  # (batch, 1)
    # Without an expert that is among the k largest, the next logit is the k-th largest.
    threshold = np.where(among_top_k(noisy, k), next_, kth)  # (batch, n_experts)
    return squared_variation(normal_cdf((logits - threshold) / scale).sum(axis=0))


def squared_variation(x: np.ndarray) -> np.ndarray:
    """variance(x) / mean(x)², with the biased variance."""
    variation: np.ndarray = x.var() / np.square(x.mean())
    return variation
