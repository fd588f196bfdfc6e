"""How evenly a batch uses the experts of a mixture: two losses that are 0 for even use.

    balance(v) = variance(v) / mean(v)²      v: one number for each expert

`load_balance_loss` takes the sums of the gates for v, `load_loss` a smooth count of the rows that
choose each expert. Source: Shazeer et al. 2017 (arXiv 1701.06538), section 4 and appendix A.
"""

from __future__ import annotations

import math

import tensorflow as tf

from numpy_infer.support.plain_checks import LARGEST
from tf2_impl.support.checks import (
    check_count,
    check_floating,
    check_like,
    check_not_empty,
    size,
)
from tf2_impl.support.precision import in_single_precision
from tf2_impl.support.ties import among_top_k


@in_single_precision
def load_balance_loss(gates: tf.Tensor) -> tf.Tensor:
    """Squared coefficient of variation of the experts' importance.

        importance_e = Σ_rows gate_e,    loss = variance(importance) / mean(importance)²

    The loss is 0 when all experts are equally important and n_experts − 1 when a single expert is
    used. An expert whose gate is 0 in every row gets no gradient here; it does from `load_loss`.

    Args:
        gates: (batch, n_experts), floating. Halves are computed in float32.
    Returns:
        A scalar.
    Raises:
        TypeError: gates are integers.
        ValueError: gates have another rank, or the batch is empty.
    Source: Shazeer et al. 2017, section 4.
    Example:
        >>> float(load_balance_loss(tf.constant([[1.0, 0.0], [1.0, 0.0]])))
        1.0
    """
    gates = tf.convert_to_tensor(gates)
    check_floating("gates", gates, ndim=2)
    check_not_empty("gates", gates)
    return squared_variation(tf.reduce_sum(gates, axis=0))


@in_single_precision
def load_loss(logits: tf.Tensor, noise: tf.Tensor, scale: tf.Tensor, k: int) -> tf.Tensor:
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
        >>> logits = tf.constant([[2.0, 0.0]])
        >>> round(float(load_loss(logits, tf.zeros((1, 2)), tf.ones((1, 2)), k=1)), 4)
        0.9111
    """
    logits, noise, scale = map(tf.convert_to_tensor, (logits, noise, scale))
    check_floating("logits", logits, ndim=2)
    check_not_empty("logits", logits)
    check_like("noise", noise, "the logits", logits)
    check_like("scale", scale, "the logits", logits)
    k = check_count("k", k, most=logits.shape[1] or LARGEST)
    noisy = logits + noise * scale
    n = size(logits, 1)  # in a graph perhaps a tensor
    ordered = tf.math.top_k(noisy, tf.minimum(k + 1, n)).values
    kth, next_ = ordered[:, k - 1 : k], ordered[:, -1:]  # (batch, 1)
    # Without an expert that is among the k largest, the next logit is the k-th largest.
    threshold = tf.where(among_top_k(noisy, k), next_, kth)  # (batch, n_experts)
    root = tf.constant(math.sqrt(0.5), logits.dtype)
    chosen = tf.math.erfc(root * (threshold - logits) / scale) / 2  # Φ(z) = erfc(−z / √2) / 2
    chosen = tf.where(k == n, 1 + 0 * noisy, chosen)  # every row chooses every expert
    return squared_variation(tf.reduce_sum(chosen, axis=0))


def squared_variation(x: tf.Tensor) -> tf.Tensor:
    """variance(x) / mean(x)², with the biased variance."""
    return tf.math.reduce_variance(x) / tf.reduce_mean(x) ** 2
