"""Top-k gating: a softmax over the k largest logits alone, and experts blended with it.

    gate_e = exp(l_e) / Σ_{j in top k} exp(l_j) for the k largest logits, and exactly 0 elsewhere
    y = Σ_{e in top k} gate_e · (x · W_e + b_e)

Sources: Shazeer et al. 2017 (arXiv 1701.06538); seed topic: top-k gating with Theano.
"""

from __future__ import annotations

import math
from typing import Any

import keras
import tensorflow as tf

from tf2_impl.checks import (
    LARGEST,
    check_count,
    check_dtype,
    check_flag,
    check_floating,
    check_like,
    check_not_empty,
    check_number,
    check_seed,
    check_width,
)
from tf2_impl.initializers import GlorotUniform
from tf2_impl.layer import Layer
from tf2_impl.precision import in_compute_dtype, in_single_precision


@in_single_precision
def keep_top_k(logits: tf.Tensor, k: int, *, fill_value: float = float("-inf")) -> tf.Tensor:
    """The k largest logits of each vector where they stand, fill_value everywhere else.

    logits: (..., n), floating. Returns the same shape; the gradient reaches what is kept. Of
    equal logits the lower index is kept. NaN counts as the largest, and stays however many
    there are. ValueError for k outside 1..n or a fill_value of NaN, TypeError for a k that is
    not an integer.
    """
    logits = tf.convert_to_tensor(logits)
    check_floating("logits", logits)
    n = logits.shape[-1] if logits.shape.rank else None
    k = check_count("k", k, most=LARGEST if n is None else n)
    fill_value = check_number("fill_value", fill_value, finite=False)
    nan = tf.math.is_nan(logits)
    ranked = tf.where(nan, tf.constant(math.inf, logits.dtype), tf.stop_gradient(logits))
    # Its k-th value, and its equals counted from the left: a mask without a scatter.
    last = tf.math.top_k(ranked, k).values[..., -1:]
    above, equal = ranked > last, ranked == last
    room = k - tf.reduce_sum(tf.cast(above, tf.int32), axis=-1, keepdims=True)
    kept = above | (equal & (tf.cumsum(tf.cast(equal, tf.int32), axis=-1) <= room)) | nan
    return tf.where(kept, logits, tf.constant(fill_value, logits.dtype))


@in_single_precision
def top_k_gating(logits: tf.Tensor, k: int) -> tf.Tensor:
    """Softmax over the k largest logits of each vector, exact zeros elsewhere.

    logits: (..., n), floating. Returns the same shape; each vector sums to 1, and what was
    dropped gets no gradient. A vector with a NaN is NaN. Ties and errors as in `keep_top_k`.
    """
    kept = keep_top_k(logits, k)
    # In float32, tf.nn.softmax gives 0 for minus infinity even beside a NaN.
    share = tf.exp(kept - tf.stop_gradient(tf.reduce_max(kept, axis=-1, keepdims=True)))
    return share / tf.reduce_sum(share, axis=-1, keepdims=True)


@in_single_precision
def load_balance_loss(gates: tf.Tensor) -> tf.Tensor:
    """Squared coefficient of variation of the experts' importance, their gates' sum: a scalar.

    gates: (batch, n_experts). 0 when all experts matter alike, n_experts − 1 when only one
    does. TypeError for integers, ValueError for an empty batch.
    """
    gates = tf.convert_to_tensor(gates)
    check_floating("gates", gates, ndim=2)
    check_not_empty("gates", gates)
    importance = tf.reduce_sum(gates, axis=0)
    return tf.math.reduce_variance(importance) / tf.reduce_mean(importance) ** 2


@keras.saving.register_keras_serializable("fourfold")
class MixtureOfExperts(Layer):
    """A blend of k linear experts out of n_experts, chosen for each row by a gate.

    Only the chosen experts are evaluated: the cost grows with k. noisy adds normal noise to
    the gate's logits in training, of a scale that is learned for each expert; it is drawn from
    a generator of the layer's own, as that of a dropout is.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        n_experts: int,
        k: int,
        *,
        noisy: bool = False,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(autocast=False, **kwargs)
        self.supports_jit = False  # XLA wants sizes that are known beforehand
        in_features = check_count("in_features", in_features)
        out_features = check_count("out_features", out_features)
        n_experts = check_count("n_experts", n_experts)
        k = check_count("k", k, most=n_experts)
        noisy = check_flag("noisy", noisy)
        seed = check_seed("seed", seed)
        self.config = {
            "in_features": in_features,
            "out_features": out_features,
            "n_experts": n_experts,
            "k": k,
            "noisy": noisy,
        }
        self.k = k
        self.noisy = noisy
        glorot = GlorotUniform(seed)
        self.gate_weight = self.add_weight(
            shape=(in_features, n_experts), initializer=glorot, name="gate_weight"
        )
        if noisy:
            self.noise_weight = self.add_weight(
                shape=(in_features, n_experts), initializer="zeros", name="noise_weight"
            )
            self.noise_source = keras.random.SeedGenerator(seed)
        self.expert_weight = self.add_weight(
            shape=(n_experts, in_features, out_features), initializer=glorot, name="expert_weight"
        )
        self.expert_bias = self.add_weight(
            shape=(n_experts, out_features), initializer="zeros", name="expert_bias"
        )

    @in_compute_dtype
    def gates(
        self, x: tf.Tensor, noise: tf.Tensor | None = None, *, training: bool | None = None
    ) -> tf.Tensor:
        """x: (batch, in_features). Returns (batch, n_experts), k of each row not zero.

        noise: (batch, n_experts), standard normal; drawn when left out of a noisy model in
        training. ValueError for noise to a model that is not noisy.
        """
        x = tf.convert_to_tensor(x)
        check_floating("x", x, ndim=2)
        check_dtype("x", x, self.compute_dtype)
        check_width("x", x, self.gate_weight.shape[0])
        logits = tf.matmul(x, tf.cast(self.gate_weight, x.dtype))
        if noise is None and self.noisy and training:
            noise = keras.random.normal(
                tf.shape(logits), dtype=x.dtype.name, seed=self.noise_source
            )
        if noise is not None:
            if not self.noisy:
                raise ValueError("noise: expected None for a model that is not noisy, got a tensor")
            noise = tf.convert_to_tensor(noise)
            check_like("noise", noise, "the logits", logits)
            scale = tf.math.softplus(tf.matmul(x, tf.cast(self.noise_weight, x.dtype)))
            logits = logits + noise * scale
        return top_k_gating(logits, self.k)

    @in_compute_dtype
    def call(
        self, x: tf.Tensor, noise: tf.Tensor | None = None, training: bool | None = None
    ) -> tf.Tensor:
        """x: (batch, in_features). Returns (batch, out_features). noise as for `gates`."""
        gates = tf.transpose(self.gates(x, noise, training=training))
        # Sorted by expert, so that each one takes its rows in one product.
        places = tf.where(gates != 0)
        rows = places[:, 1]
        counts = tf.math.count_nonzero(gates, axis=1)
        weights = zip(
            tf.unstack(tf.cast(self.expert_weight, x.dtype)),
            tf.unstack(tf.cast(self.expert_bias, x.dtype)),
            strict=True,
        )
        shares = tf.split(tf.gather(x, rows), counts, num=self.expert_bias.shape[0])
        answers = [
            tf.matmul(inputs, weight) + bias
            for inputs, (weight, bias) in zip(shares, weights, strict=True)
        ]
        share = tf.cast(tf.gather_nd(gates, places), x.dtype)
        blended = share[:, None] * tf.concat(answers, axis=0)
        return tf.math.unsorted_segment_sum(blended, rows, tf.shape(x, out_type=tf.int64)[0])

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), **self.config}
