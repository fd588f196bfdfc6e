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

import numpy as np
import theano.tensor as T
from theano.tensor.var import TensorVariable

from theano_impl.distances import l2_normalize
from theano_impl.layers.activations import ReLU
from theano_impl.layers.convolution import Convolution
from theano_impl.layers.pooling import MaxPool
from theano_impl.layers.projection import Projection
from theano_impl.support.checks import (
    check_channels,
    check_count,
    check_counts,
    check_seed,
    check_space,
)
from theano_impl.support.layer import Layer

KERNEL_SIZE = 3
POOL_SIZE = 2


class SpeakerEncoder(Layer):
    """(batch, n_mels, time) to (batch, dim), for any time that the pools leave frames of.

    channels: of each convolution. `.output` is of unit norm or zero. Of equal frames of a pool the
    first gets the gradient. TypeError for another dtype than the weights'; AssertionError, when it
    runs, for another number of mel bands and too few frames.
    """

    def __init__(
        self,
        x: TensorVariable,
        n_mels: int,
        *,
        channels: Sequence[int] = (32, 32),
        dim: int = 16,
        seed: int | None = None,
    ) -> None:
        n_mels = check_count("n_mels", n_mels)
        channels = check_counts("channels", channels)
        dim = check_count("dim", dim)
        seed = check_seed("seed", seed)
        super().__init__(x, config={"n_mels": n_mels, "channels": list(channels), "dim": dim})
        least = KERNEL_SIZE  # the frames of which one is left
        for _ in channels[1:]:
            least = least * POOL_SIZE + KERNEL_SIZE - 1
        seeds = np.random.default_rng(seed).integers(2**31, size=len(channels) + 1).tolist()

        x = check_space("x", x, rank=1, least=least)
        h = check_channels("x", x, n_mels)
        for place, (before, after) in enumerate(pairwise([n_mels, *channels])):
            if place > 0:
                h = MaxPool(h, [POOL_SIZE]).output
            convolution = Convolution(h, before, after, [KERNEL_SIZE], seed=seeds[place])
            h = ReLU(self.add_layer(f"convolutions.{place}", convolution).output).output
        mean = T.mean(h, axis=2)
        projection = Projection(mean, channels[-1], dim, bias=False, seed=seeds[-1])
        self.output = l2_normalize(self.add_layer("projection", projection).output)

    @staticmethod
    def symbolic_inputs(dtype: str) -> list[TensorVariable]:
        return [T.tensor3("x", dtype=dtype)]
