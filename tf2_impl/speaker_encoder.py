"""Log-mel frames to a vector of unit norm: who speaks.

    h₁ = relu(conv₁(x)),  h_i = relu(conv_i(pool(h_{i−1})))
    y  = l2_normalize(mean of h_L over time · W)

One convolution of 3 frames for each number of channels, over time, with the mel bands as its
channels and without padding, and between two of them a max-pool of 2 frames. The projection has no
bias.

Source: seed topic, audio and speaker representations, whose sketch leaves the activations out.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import keras
import tensorflow as tf

from tf2_impl.distances import l2_normalize
from tf2_impl.layers.convolution import on_rows
from tf2_impl.layers.pooling import max_pool
from tf2_impl.support.checks import (
    check_channels,
    check_count,
    check_counts,
    check_dtype,
    check_seed,
    check_space,
)
from tf2_impl.support.initializers import GlorotUniform
from tf2_impl.support.layer import Layer
from tf2_impl.support.linear import make_linear
from tf2_impl.support.precision import in_compute_dtype, widened

KERNEL_SIZE = 3
POOL_SIZE = 2


@keras.saving.register_keras_serializable("fourfold")
class SpeakerEncoder(Layer):
    """(batch, time, n_mels) to (batch, dim), for any time that the pools leave frames of.

    channels: of each convolution.
    """

    def __init__(
        self,
        n_mels: int,
        *,
        channels: Sequence[int] = (32, 32),
        dim: int = 16,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(autocast=False, **kwargs)
        self.supports_jit = False  # XLA has no max_pool_with_argmax
        n_mels = check_count("n_mels", n_mels)
        channels = check_counts("channels", channels)
        dim = check_count("dim", dim)
        seed = check_seed("seed", seed)
        self.config = {"n_mels": n_mels, "channels": list(channels), "dim": dim}
        self.n_mels = n_mels
        self.least = KERNEL_SIZE  # the frames of which one is left
        for _ in channels[1:]:
            self.least = self.least * POOL_SIZE + KERNEL_SIZE - 1
        glorot = keras.initializers.GlorotUniform(keras.random.SeedGenerator(seed))
        self.convolutions = []
        for place, (before, after) in enumerate(pairwise([n_mels, *channels])):
            layer = keras.layers.Conv1D(
                after,
                KERNEL_SIZE,
                kernel_initializer=glorot,
                name=f"convolutions_{place}",
                dtype=self.dtype_policy,
            )
            layer.build((None, None, before))
            self.convolutions.append(layer)
        self.projection = make_linear(
            channels[-1],
            dim,
            bias=False,
            glorot=GlorotUniform(seed),
            name="projection",
            dtype=self.dtype_policy,
        )

    @in_compute_dtype
    def call(self, x: tf.Tensor) -> tf.Tensor:
        """x: (batch, time, n_mels). Returns (batch, dim), of unit norm or zero.

        Of equal frames of a pool the first gets the gradient. TypeError for another dtype than
        the weights', ValueError for another number of mel bands and too few frames.
        """
        check_space("x", x, rank=1, least=self.least)
        check_dtype("x", x, self.compute_dtype)
        check_channels("x", x, self.n_mels)
        h = _relu(on_rows(self.convolutions[0], x))
        for convolution in self.convolutions[1:]:
            h = _relu(on_rows(convolution, max_pool(h, POOL_SIZE).values))
        y = self.projection(tf.reduce_mean(widened(h), axis=1))
        return tf.cast(l2_normalize(y), y.dtype)


def _relu(x: tf.Tensor) -> tf.Tensor:
    """max(x, 0). Graphs fuse tf.nn.relu with a float32 layer, and so fused it turns NaN to 0."""
    return tf.where(x <= 0, tf.zeros_like(x), x)
