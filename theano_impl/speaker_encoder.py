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
    minimum_length,
)
from theano_impl.support.layer import Layer

KERNEL_SIZE = 3
POOL_SIZE = 2


class SpeakerEncoder(Layer):
    """Log-mel frames to vectors of length 1 that are close for frames of the same speaker.

    `.output` is (batch, dim), of length 1 or zero. Of equal frames in a pool's window, the first
    gets the gradient.

    Args:
        x: (batch, n_mels, time).
        n_mels: the number of mel bands.
        channels: output channels of each convolution.
        dim: width of the result.
        seed: of the initial weights.
    Raises:
        TypeError, ValueError: a size that is not a whole number of at least 1.
        TypeError: another dtype than the weights'.
        AssertionError: when it runs, for another number of mel bands, or too few frames.
    Example:
        >>> SpeakerEncoder(T.ones((5, 7, 11)), n_mels=7).output.eval().shape
        (5, 16)
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
        super().__init__(x, config={"n_mels": n_mels, "channels": channels, "dim": dim})
        rng = np.random.default_rng(check_seed("seed", seed))
        seeds = rng.integers(2**31, size=len(channels) + 1).tolist()

        x = check_space("x", x, rank=1, least=minimum_length(len(channels), KERNEL_SIZE, POOL_SIZE))
        h = check_channels("x", x, n_mels)
        for index, (before, after) in enumerate(pairwise([n_mels, *channels])):
            if index > 0:
                h = MaxPool(h, [POOL_SIZE]).output
            convolution = Convolution(h, before, after, [KERNEL_SIZE], seed=seeds[index])
            h = ReLU(self.add_layer(f"convolutions.{index}", convolution).output).output
        mean = T.mean(h, axis=2)  # (batch, channels)
        projection = Projection(mean, channels[-1], dim, bias=False, seed=seeds[-1])
        self.output = l2_normalize(self.add_layer("projection", projection).output)

    @staticmethod
    def symbolic_inputs(dtype: str) -> list[TensorVariable]:
        return [T.tensor3("x", dtype=dtype)]
