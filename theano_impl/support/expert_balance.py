"""How evenly a batch uses the experts of a mixture: two losses that are 0 for even use.

    balance(v) = variance(v) / mean(v)²      v: one number for each expert

`load_balance_loss` takes the sums of the gates for v, `load_loss` a smooth count of the rows that
choose each expert. Source: Shazeer et al. 2017 (arXiv 1701.06538), section 4 and appendix A.
"""

from __future__ import annotations

import math

import numpy as np
import theano.tensor as T
from theano.tensor.var import TensorVariable

from theano_impl.support.checks import (
    check_count,
    check_floating,
    check_like,
    check_not_empty,
    check_values,
)
from theano_impl.support.ties import among_top_k


def load_balance_loss(gates: TensorVariable) -> TensorVariable:
    """Squared coefficient of variation of the experts' importance.

        importance_e = Σ_rows gate_e,    loss = variance(importance) / mean(importance)²

    The loss is 0 when all experts are equally important and n_experts − 1 when a single expert is
    used. An expert whose gate is 0 in every row gets no gradient here; it does from `load_loss`.

    Args:
        gates: (batch, n_experts), float32 or float64.
    Returns:
        A scalar.
    Raises:
        TypeError: gates are integers.
        ValueError: gates have another rank.
        AssertionError: when the function runs, for an empty batch.
    Source: Shazeer et al. 2017, section 4.
    Example:
        >>> float(load_balance_loss(T.constant([[1.0, 0.0], [1.0, 0.0]])).eval())
        1.0
    """
    gates = T.as_tensor_variable(gates)
    check_floating("gates", gates, ndim=2)
    gates = check_not_empty("gates", gates)
    return squared_variation(T.sum(gates, axis=0))


def load_loss(
    logits: TensorVariable, noise: TensorVariable, scale: TensorVariable, k: int
) -> TensorVariable:
    """Squared coefficient of variation of the experts' load, smooth in the logits.

        load_e = Σ_rows Φ((l_e − t_e) / s_e)
        t_e = the k-th largest of l_j + noise_j · s_j over all j ≠ e

    Φ is the normal distribution function. Each summand is the probability that expert e is among
    the k largest when only its own noise is drawn again. So every expert gets a gradient, also an
    expert that no row chooses. The loss is 0 for k = n_experts.

    Args:
        logits: (batch, n_experts), before the noise is added. Of equal logits the one with the
            lower index counts as the larger.
        noise: (batch, n_experts), standard normal.
        scale: (batch, n_experts), positive: what the noise is multiplied by.
        k: how many experts a row chooses, in 1..n_experts.
    Returns:
        A scalar.
    Raises:
        TypeError: an argument is not floating, dtypes differ, or k is not an integer.
        ValueError: k is below 1.
        AssertionError: when the function runs, for an empty batch, shapes that differ, or k above
            n_experts.
    Source: Shazeer et al. 2017, appendix A.
    Example:
        >>> logits = T.constant([[2.0, 0.0]])
        >>> loss = load_loss(logits, T.zeros((1, 2)), T.ones((1, 2)), k=1)
        >>> round(float(loss.eval()), 4)
        0.9111
    """
    logits, noise, scale = map(T.as_tensor_variable, (logits, noise, scale))
    check_floating("logits", logits, ndim=2)
    logits = check_not_empty("logits", logits)
    noise = check_like("noise", noise, "the logits", logits)
    scale = check_like("scale", scale, "the logits", logits)
    k = check_count("k", k)
    n = logits.shape[1]
    logits = check_values(logits, T.ge(n, k), "k", "no more than there are logits")
    noisy = logits + noise * scale
    # Sorted by indices, lower ones first among equal numbers, so that the gradient is right.
    rows = T.arange(noisy.shape[0])[:, None]
    ordered = noisy[rows, T.argsort(-noisy, axis=1, kind="mergesort")]
    kth = T.addbroadcast(ordered[:, k - 1 : k], 1)  # (batch, 1)
    next_ = ordered[:, T.minimum(k, n - 1)].dimshuffle(0, "x")
    # Without an expert that is among the k largest, the next logit is the k-th largest.
    threshold = T.switch(among_top_k(noisy, k), next_, kth)  # (batch, n_experts)
    root = np.asarray(math.sqrt(0.5), logits.dtype)
    half = np.asarray(0.5, logits.dtype)
    chosen = half * T.erfc(root * (threshold - logits) / scale)  # Φ(z) = erfc(−z / √2) / 2
    chosen = T.switch(T.eq(n, k), 1 + 0 * noisy, chosen)  # every row chooses every expert
    return squared_variation(T.sum(chosen, axis=0))


def squared_variation(x: TensorVariable) -> TensorVariable:
    """variance(x) / mean(x)², with the biased variance."""
    return T.var(x) / T.mean(x) ** 2
