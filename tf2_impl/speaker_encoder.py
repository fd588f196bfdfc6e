"""Speaker encoder: the log-mel frames of an utterance to a vector of length 1.

    h_1 = relu(conv_1(x)),    h_i = relu(conv_i(pool(h_{i−1})))
    y   = l2_normalize((mean of h_L over time)·W)

Every convolution runs over time, with the mel bands as the input channels of the first one, spans
KERNEL_SIZE frames and has no padding. The max-pools between them span POOL_SIZE frames. An input of
any length is taken, if the pools leave at least one frame of it.

Source: an article that tags a speaker's voice in the sound track of a movie. It trains such vectors
with the cosine `triplet_loss`, and leaves out the activations, which are relu here.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import keras
import tensorflow as tf

from tf2_impl.distances import l2_normalize
from tf2_impl.layers.activations import relu
from tf2_impl.layers.convolution import on_rows
from tf2_impl.layers.pooling import max_pool
from tf2_impl.support.checks import (
    check_channels,
    check_count,
    check_counts,
    check_dtype,
    check_space,
    minimum_length,
)
from tf2_impl.support.initializers import GlorotUniform
from tf2_impl.support.layer import Layer
from tf2_impl.support.linear import convolution_start, make_convolution, make_linear
from tf2_impl.support.precision import in_compute_dtype, widened

KERNEL_SIZE = 3
POOL_SIZE = 2


@keras.saving.register_keras_serializable("fourfold")
class SpeakerEncoder(Layer):
    """Log-mel frames to vectors of length 1 that are close for frames of the same speaker.

    Args:
        n_mels: the number of mel bands.
        channels: output channels of each convolution.
        dim: width of the result.
        seed: of the initial weights.
    Raises:
        TypeError, ValueError: a size that is not a whole number of at least 1.
    Example:
        >>> SpeakerEncoder(n_mels=7)(tf.ones((5, 11, 7))).shape
        TensorShape([5, 16])
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
        self.config = {"n_mels": n_mels, "channels": channels, "dim": dim}
        self.minimum_length = minimum_length(len(channels), KERNEL_SIZE, POOL_SIZE)
        start = {"glorot": convolution_start(seed), "dtype": self.dtype_policy}
        self.convolutions = [
            make_convolution(
                keras.layers.Conv1D, *pair, KERNEL_SIZE, name=f"convolutions_{i}", **start
            )
            for i, pair in enumerate(pairwise([n_mels, *channels]))
        ]
        start = {"glorot": GlorotUniform(seed), "dtype": self.dtype_policy}
        self.projection = make_linear(channels[-1], dim, bias=False, name="projection", **start)

    @in_compute_dtype
    def call(self, x: tf.Tensor) -> tf.Tensor:
        """x: (batch, time, n_mels). Returns (batch, dim), of length 1 or zero.

        Of equal frames in a pool's window, the first gets the gradient. TypeError for another dtype
        than the weights'; ValueError for another number of mel bands, and for too few frames.
        """
        check_space("x", x, rank=1, least=self.minimum_length)
        check_dtype("x", x, self.compute_dtype)
        check_channels("x", x, self.config["n_mels"])
        h = relu(on_rows(self.convolutions[0], x))
        for convolution in self.convolutions[1:]:
            pooled = max_pool(h, POOL_SIZE).values
            h = relu(on_rows(convolution, pooled))  # (batch, time, channels)
        y = self.projection(tf.reduce_mean(widened(h), axis=1))
        return tf.cast(l2_normalize(y), y.dtype)
