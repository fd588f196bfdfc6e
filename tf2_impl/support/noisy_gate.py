"""The logits of a gate, with noise that spreads the rows over the experts while it is trained.

    l = x · W_gate + noise · softplus(x · W_noise)

Source: Shazeer et al. 2017 (arXiv 1701.06538), section 2.1.
"""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from tf2_impl.support.checks import (
    check_count,
    check_dtype,
    check_flag,
    check_floating,
    check_like,
    check_seed,
    check_width,
)
from tf2_impl.support.expert_balance import load_loss
from tf2_impl.support.initializers import GlorotUniform
from tf2_impl.support.layer import Layer
from tf2_impl.support.precision import in_compute_dtype


class NoisyGate(Layer):
    """What a mixture of experts needs to choose k of n_experts for each row.

    gate_weight and, where noisy, noise_weight: (in_features, n_experts). The noise weight starts at
    zero, which makes the scale of the noise log 2 everywhere.
    """

    config: dict[str, int | bool]  # the options that model files carry

    def __init__(
        self,
        in_features: int,
        n_experts: int,
        k: int,
        *,
        noisy: bool,
        initializer: GlorotUniform,
        seed: int | None,
        **kwargs: Any,
    ) -> None:
        super().__init__(autocast=False, **kwargs)
        in_features = check_count("in_features", in_features)
        n_experts = check_count("n_experts", n_experts)
        self.k = check_count("k", k, most=n_experts)
        self.noisy = check_flag("noisy", noisy)
        seed = check_seed("seed", seed)
        shape = (in_features, n_experts)
        self.gate_weight = self.add_weight(shape=shape, initializer=initializer, name="gate_weight")
        if self.noisy:
            self.noise_weight = self.add_weight(
                shape=shape, initializer="zeros", name="noise_weight"
            )
            self.noise_source = keras.random.SeedGenerator(seed)

    def logits(
        self, x: tf.Tensor, noise: tf.Tensor | None = None, *, training: bool | None = None
    ) -> tf.Tensor:
        """(batch, in_features) → (batch, n_experts), in the compute dtype.

        Noise that is left out is drawn from the layer's own generator if the gate is noisy and in
        training. ValueError for noise to a gate that is not noisy.
        """
        logits = self._clean_logits(x)
        if noise is None and self.noisy and training:
            shape, dtype = tf.shape(logits), logits.dtype.name
            noise = keras.random.normal(shape, dtype=dtype, seed=self.noise_source)
        if noise is None:
            return logits
        return logits + self._checked_noise(noise, logits) * self._noise_scale(x)

    @in_compute_dtype
    def load_loss(self, x: tf.Tensor, noise: tf.Tensor) -> tf.Tensor:
        """`load_loss` of a noisy gate for this noise: (batch, n_experts), standard normal."""
        logits = self._clean_logits(x)
        return load_loss(logits, self._checked_noise(noise, logits), self._noise_scale(x), self.k)

    def _clean_logits(self, x: tf.Tensor) -> tf.Tensor:
        x = tf.convert_to_tensor(x)
        check_floating("x", x, ndim=2)
        check_dtype("x", x, self.compute_dtype)
        check_width("x", x, self.gate_weight.shape[0])
        return tf.matmul(x, tf.cast(self.gate_weight, x.dtype))

    def _noise_scale(self, x: tf.Tensor) -> tf.Tensor:
        return tf.math.softplus(tf.matmul(x, tf.cast(self.noise_weight, self.compute_dtype)))

    def _checked_noise(self, noise: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
        if not self.noisy:
            raise ValueError("noise: expected None for a model that is not noisy, got a tensor")
        noise = tf.convert_to_tensor(noise)
        check_like("noise", noise, "the logits", logits)
        return noise
