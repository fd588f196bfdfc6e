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

from tf2_impl.support.checks import (
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
    size,
)
from tf2_impl.support.initializers import GlorotUniform
from tf2_impl.support.layer import Layer
from tf2_impl.support.precision import in_compute_dtype, in_single_precision


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
    return tf.where(_among_top_k(logits, k), logits, tf.constant(fill_value, logits.dtype))


def _among_top_k(logits: tf.Tensor, k: int) -> tf.Tensor:
    """Which of the logits are the k largest of their vector, as `keep_top_k` has it; bool."""
    nan = tf.math.is_nan(logits)
    ranked = tf.where(nan, tf.constant(math.inf, logits.dtype), tf.stop_gradient(logits))
    # Its k-th value, and its equals counted from the left: a mask without a scatter.
    last = tf.math.top_k(ranked, k).values[..., -1:]
    above, equal = ranked > last, ranked == last
    room = k - tf.reduce_sum(tf.cast(above, tf.int32), axis=-1, keepdims=True)
    return above | (equal & (tf.cumsum(tf.cast(equal, tf.int32), axis=-1) <= room)) | nan


@in_single_precision
def top_k_gating(logits: tf.Tensor, k: int) -> tf.Tensor:
    """Softmax over the k largest logits of each vector, exact zeros elsewhere.

    logits: (..., n), floating. Returns the same shape; each vector sums to 1, and what was
    dropped gets no gradient. A vector with a NaN is NaN. Ties and errors as in `keep_top_k`.
    """
    return _softmax(keep_top_k(logits, k))


@in_single_precision
def _shares_of_all(logits: tf.Tensor, k: int) -> tf.Tensor:
    """Softmax over all logits where they are among the k largest, exact zeros elsewhere."""
    return _softmax(logits) * tf.cast(_among_top_k(logits, k), logits.dtype)


def _softmax(logits: tf.Tensor) -> tf.Tensor:
    """Softmax over the last axis, exactly 1 for a single logit.

    In float32, tf.nn.softmax gives 0 for minus infinity even beside a NaN, and on some processors
    1 − 6e-8 for a single logit, which then gets a gradient.
    """
    share = tf.exp(logits - tf.stop_gradient(tf.reduce_max(logits, axis=-1, keepdims=True)))
    return share / tf.reduce_sum(share, axis=-1, keepdims=True)


@in_single_precision
def load_balance_loss(gates: tf.Tensor) -> tf.Tensor:
    """Squared coefficient of variation of the experts' importance, their gates' sum: a scalar.

    gates: (batch, n_experts). 0 when all experts matter alike, n_experts − 1 when only one
    does. An expert whose gate is 0 in every row gets no gradient from it, and does not come back;
    `load_loss` reaches it. TypeError for integers, ValueError for an empty batch.
    """
    gates = tf.convert_to_tensor(gates)
    check_floating("gates", gates, ndim=2)
    check_not_empty("gates", gates)
    return _squared_variation(tf.reduce_sum(gates, axis=0))


@in_single_precision
def load_loss(logits: tf.Tensor, noise: tf.Tensor, scale: tf.Tensor, k: int) -> tf.Tensor:
    """Squared coefficient of variation of the experts' load, smooth in the logits: a scalar.

    The load of an expert is the number of rows that choose it. Its smooth estimate is the sum of

        P(row, e) = Φ((l_e − t_e) / s_e),    t_e = the k-th largest of l_j + noise_j · s_j, j ≠ e

    the probability that e is among the k largest once its own noise is drawn again. Every expert
    gets a gradient, those that no row chooses too. logits, before the noise; noise, standard
    normal; scale, positive, of the noise: (batch, n_experts) all. 0 for k of n_experts. Of tied
    logits the lower index is the larger one. TypeError for integers, ValueError for an empty
    batch, shapes that differ and k outside 1..n_experts.

    Source: Shazeer et al. 2017, appendix A.
    """
    logits, noise, scale = map(tf.convert_to_tensor, (logits, noise, scale))
    check_floating("logits", logits, ndim=2)
    check_not_empty("logits", logits)
    check_like("noise", noise, "the logits", logits)
    check_like("scale", scale, "the logits", logits)
    k = check_count("k", k, most=logits.shape[1] or LARGEST)
    noisy = logits + noise * scale
    n = size(logits, 1)  # of a graph it may be known only when it runs
    ordered = tf.math.top_k(noisy, tf.minimum(k + 1, n)).values
    # Without an expert that is among the k largest, the next one is the k-th.
    threshold = tf.where(_among_top_k(noisy, k), ordered[:, -1:], ordered[:, k - 1 : k])
    root = tf.constant(math.sqrt(0.5), logits.dtype)
    chosen = tf.math.erfc(root * (threshold - logits) / scale) / 2
    chosen = tf.where(k == n, 1 + 0 * noisy, chosen)  # all of them
    return _squared_variation(tf.reduce_sum(chosen, axis=0))


def _squared_variation(x: tf.Tensor) -> tf.Tensor:
    return tf.math.reduce_variance(x) / tf.reduce_mean(x) ** 2


@keras.saving.register_keras_serializable("fourfold")
class MixtureOfExperts(Layer):
    """A blend of k linear experts out of n_experts, chosen for each row by a gate.

    Only the chosen experts are evaluated: the cost grows with k. noisy adds normal noise to
    the gate's logits in training, of a scale that is learned for each expert; it is drawn from
    a generator of the layer's own, as that of a dropout is.

    renormalize: whether the k gates of a row are divided by their sum, a softmax over the kept
    logits as in `top_k_gating`, or stay their share of a softmax over all logits. Left out, they
    are for k > 1. A single gate would be 1 whatever the logits: the gate and the balance of its
    experts would get no gradient, so that with k = 1 its probability scales the output.

    Source of the latter: Fedus, Zoph, Shazeer 2021, Switch Transformers (arXiv 2101.03961).
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
        super().__init__(autocast=False, **kwargs)
        self.supports_jit = False  # XLA wants sizes that are known beforehand
        in_features = check_count("in_features", in_features)
        out_features = check_count("out_features", out_features)
        n_experts = check_count("n_experts", n_experts)
        k = check_count("k", k, most=n_experts)
        noisy = check_flag("noisy", noisy)
        renormalize = k > 1 if renormalize is None else check_flag("renormalize", renormalize)
        seed = check_seed("seed", seed)
        self.config = {
            "in_features": in_features,
            "out_features": out_features,
            "n_experts": n_experts,
            "k": k,
            "noisy": noisy,
            "renormalize": renormalize,
        }
        self.k = k
        self.noisy = noisy
        self.renormalize = renormalize
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
        training. ValueError for noise to a model that is not noisy. The gates of a noisy model in
        training are others at each call: `outputs_and_gates` gives those of its outputs.
        """
        x = self._checked(x)
        logits = tf.matmul(x, tf.cast(self.gate_weight, x.dtype))
        if noise is None and self.noisy and training:
            noise = keras.random.normal(
                tf.shape(logits), dtype=x.dtype.name, seed=self.noise_source
            )
        if noise is not None:
            logits = logits + self._checked_noise(noise, logits) * self._noise_scale(x)
        if self.renormalize:
            return top_k_gating(logits, self.k)
        return _shares_of_all(logits, self.k)

    @in_compute_dtype
    def call(
        self, x: tf.Tensor, noise: tf.Tensor | None = None, training: bool | None = None
    ) -> tf.Tensor:
        """x: (batch, in_features). Returns (batch, out_features). noise as for `gates`."""
        return self.outputs_and_gates(x, noise, training=training)[0]

    @in_compute_dtype
    def outputs_and_gates(
        self, x: tf.Tensor, noise: tf.Tensor | None = None, *, training: bool | None = None
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """The outputs and the gates that blended them, for `load_balance_loss`.

        x: (batch, in_features). noise as for `gates`. (batch, out_features), (batch, n_experts).
        """
        x = tf.convert_to_tensor(x)
        by_row = self.gates(x, noise, training=training)
        gates = tf.transpose(by_row)
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
        batch = tf.shape(x, out_type=tf.int64)[0]
        return tf.math.unsorted_segment_sum(blended, rows, batch), by_row

    @in_compute_dtype
    def load_loss(self, x: tf.Tensor, noise: tf.Tensor) -> tf.Tensor:
        """The `load_loss` of a noisy model for this noise, (batch, n_experts), standard normal."""
        x = self._checked(x)
        logits = tf.matmul(x, tf.cast(self.gate_weight, x.dtype))
        noise = self._checked_noise(noise, logits)
        return load_loss(logits, noise, self._noise_scale(x), self.k)

    def _noise_scale(self, x: tf.Tensor) -> tf.Tensor:
        return tf.math.softplus(tf.matmul(x, tf.cast(self.noise_weight, x.dtype)))

    def _checked(self, x: tf.Tensor) -> tf.Tensor:
        x = tf.convert_to_tensor(x)
        check_floating("x", x, ndim=2)
        check_dtype("x", x, self.compute_dtype)
        check_width("x", x, self.gate_weight.shape[0])
        return x

    def _checked_noise(self, noise: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
        if not self.noisy:
            raise ValueError("noise: expected None for a model that is not noisy, got a tensor")
        noise = tf.convert_to_tensor(noise)
        check_like("noise", noise, "the logits", logits)
        return noise

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), **self.config}
