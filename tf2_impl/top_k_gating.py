"""Top-k gating: a softmax over the k largest logits alone, and experts blended with it.

    gate_e = exp(l_e) / Σ_{j in top k} exp(l_j) for the k largest logits l, exactly 0 elsewhere
    y = Σ_{e in top k} gate_e · (x · W_e + b_e)

Source: Shazeer et al. 2017 (arXiv 1701.06538).
"""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from numpy_infer.support.plain_checks import LARGEST
from tf2_impl.support.checks import (
    check_count,
    check_flag,
    check_floating,
    check_number,
)
from tf2_impl.support.expert_balance import load_balance_loss, load_loss
from tf2_impl.support.initializers import GlorotUniform
from tf2_impl.support.noisy_gate import NoisyGate
from tf2_impl.support.precision import in_compute_dtype, in_single_precision, widened
from tf2_impl.support.softmax import softmax
from tf2_impl.support.ties import among_top_k

__all__ = ["MixtureOfExperts", "keep_top_k", "load_balance_loss", "load_loss", "top_k_gating"]


@in_single_precision
def keep_top_k(logits: tf.Tensor, k: int, *, fill_value: float = float("-inf")) -> tf.Tensor:
    """Keep the k largest logits of each vector and set all others to fill_value.

    Args:
        logits: (..., n), floating. Of equal logits the one with the lower index is kept. NaN counts
            as the largest, and every NaN is kept. Halves are computed in float32.
        k: how many logits are kept, in 1..n.
        fill_value: any number but NaN.
    Returns:
        The shape of logits. Only the kept logits get a gradient.
    Raises:
        TypeError: logits are not floating, or k is not an integer.
        ValueError: k is outside 1..n, or fill_value is NaN.
    Example:
        >>> keep_top_k(tf.constant([1.0, 3.0, 2.0, 2.0]), k=2, fill_value=0.0).numpy()
        array([0., 3., 2., 0.], dtype=float32)
    """
    logits = tf.convert_to_tensor(logits)
    check_floating("logits", logits)
    n = logits.shape[-1] if logits.shape.rank else None
    k = check_count("k", k, most=LARGEST if n is None else n)
    fill_value = check_number("fill_value", fill_value, finite=False)
    return tf.where(among_top_k(logits, k), logits, tf.constant(fill_value, logits.dtype))


@in_single_precision
def top_k_gating(logits: tf.Tensor, k: int) -> tf.Tensor:
    """Softmax over the k largest logits of each vector, exactly 0 elsewhere.

        gate_e = exp(l_e) / Σ_{j in top k} exp(l_j)

    Args:
        logits: (..., n), floating. Of equal logits the one with the lower index is kept. Halves are
            computed in float32.
        k: how many logits are kept, in 1..n.
    Returns:
        The shape of logits. Each vector sums to 1; a vector with a NaN is NaN. Only the kept
        logits get a gradient.
    Raises:
        TypeError: logits are not floating, or k is not an integer.
        ValueError: k is outside 1..n.
    Example:
        >>> top_k_gating(tf.constant([1.0, 1.0, 0.0]), k=2).numpy()
        array([0.5, 0.5, 0. ], dtype=float32)
    """
    return softmax(keep_top_k(logits, k))


@keras.saving.register_keras_serializable("fourfold")
class MixtureOfExperts(NoisyGate):
    """A blend of k linear experts out of n_experts, chosen for each row by a gate.

    Only the chosen experts are evaluated. Under a mixed policy the gates are in float32.

    Args:
        k: how many experts each row uses, in 1..n_experts.
        noisy: whether normal noise of a learned scale is added to the logits in training.
        renormalize: whether the k gates of a row sum to 1 (`top_k_gating`), or are taken from a
            softmax over all logits. None: for k > 1. A single gate would always be 1 and give
            the gate no gradient, so that for k = 1 its probability scales the output.
    Source: for k = 1, Fedus, Zoph, Shazeer 2021, Switch Transformers (arXiv 2101.03961).
    Example:
        >>> MixtureOfExperts(5, 3, n_experts=7, k=2)(tf.ones((4, 5))).shape
        TensorShape([4, 3])
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        n_experts: int,
        k: int,
        *,
        noisy: bool = False,
        renormalize: bool | None = None,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        glorot = GlorotUniform(seed)
        options: dict[str, Any] = {"noisy": noisy, "initializer": glorot, "seed": seed}
        super().__init__(in_features, n_experts, k, **options, **kwargs)
        self.supports_jit = False  # XLA wants sizes that are known beforehand
        out_features = check_count("out_features", out_features)
        self.renormalize = k > 1 if renormalize is None else check_flag("renormalize", renormalize)
        shape = (*self.gate_weight.shape[::-1], out_features)
        self.expert_weight = self.add_weight(shape=shape, initializer=glorot, name="expert_weight")
        self.expert_bias = self.add_weight(
            shape=(shape[0], out_features), initializer="zeros", name="expert_bias"
        )
        sizes = {"in_features": shape[1], "out_features": shape[2], "n_experts": shape[0]}
        choices = {"k": self.k, "noisy": self.noisy, "renormalize": self.renormalize}
        self.config = {**sizes, **choices}

    @in_compute_dtype
    def gates(
        self, x: tf.Tensor, noise: tf.Tensor | None = None, *, training: bool | None = None
    ) -> tf.Tensor:
        """(batch, in_features) → (batch, n_experts), of which k in each row are not 0.

        noise: (batch, n_experts), standard normal. If None, a noisy model in training draws it.
        """
        logits = widened(self.logits(x, noise, training=training))
        if self.renormalize:
            return top_k_gating(logits, self.k)
        return softmax(logits) * tf.cast(among_top_k(logits, self.k), logits.dtype)

    @in_compute_dtype
    def call(
        self, x: tf.Tensor, noise: tf.Tensor | None = None, training: bool | None = None
    ) -> tf.Tensor:
        """(batch, in_features) → (batch, out_features). noise is that of `gates`."""
        return self.outputs_and_gates(x, noise, training=training)[0]

    @in_compute_dtype
    def outputs_and_gates(
        self, x: tf.Tensor, noise: tf.Tensor | None = None, *, training: bool | None = None
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """The outputs, (batch, out_features), and their gates, (batch, n_experts)."""
        gates = self.gates(x, noise, training=training)
        x, by_expert = tf.convert_to_tensor(x), tf.transpose(gates)
        # The choices sorted by expert, so that each expert evaluates its rows in one product.
        choice = tf.where(by_expert != 0)  # (batch · k, 2)
        row, counts = choice[:, 1], tf.math.count_nonzero(gates, axis=0)
        rows = tf.split(tf.gather(x, row), counts, num=by_expert.shape[0])
        weights, biases = (
            tf.unstack(tf.cast(w, x.dtype)) for w in (self.expert_weight, self.expert_bias)
        )
        answers = [tf.matmul(r, w) + b for r, w, b in zip(rows, weights, biases, strict=True)]
        gate = tf.cast(tf.gather_nd(by_expert, choice), x.dtype)
        blended = gate[:, None] * tf.concat(answers, axis=0)
        batch = tf.shape(x, out_type=tf.int64)[0]
        return tf.math.unsorted_segment_sum(blended, row, batch), gates
