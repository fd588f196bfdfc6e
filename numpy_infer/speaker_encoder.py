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

import numpy as np

from numpy_infer.distances import l2_normalize
from numpy_infer.layers.convolution import convolution
from numpy_infer.layers.pooling import MaxPool
from numpy_infer.layers.windows import check_space
from numpy_infer.support.checks import (
    check_arrays,
    check_count,
    check_counts,
    check_dtype,
    check_floating,
)
from numpy_infer.support.convolution_arrays import convolution_shapes, convolution_weights
from numpy_infer.support.layer import Layer
from numpy_infer.support.plain_checks import minimum_length

KERNEL_SIZE = 3
POOL_SIZE = 2


class SpeakerEncoder(Layer):
    """Log-mel frames to vectors of length 1 that are close for frames of the same speaker.

    Args:
        previous: the layer whose output is the frames.
        projection_weight: W, (channels, dim).
        arrays: `convolutions_0_weight` (channels, n_mels, KERNEL_SIZE), `convolutions_0_bias`
            (channels,), and so on.
    Raises:
        TypeError, ValueError: arrays that do not fit together.
    Example:
        >>> from numpy_infer import Input
        >>> shapes = SpeakerEncoder.array_shapes(n_mels=7)
        >>> arrays = {name.replace(".", "_"): np.ones(shape) for name, shape in shapes.items()}
        >>> SpeakerEncoder(Input(), **arrays)(np.ones((5, 7, 11))).shape
        (5, 16)
    """

    def __init__(
        self, previous: Layer, projection_weight: np.ndarray, **arrays: np.ndarray
    ) -> None:
        super().__init__(previous)
        weights = convolution_weights("convolutions", arrays, rank=1)
        channels = [len(weight) for weight in weights]
        check_floating("projection_weight", projection_weight, ndim=2)
        shapes = self.array_shapes(weights[0].shape[1], channels, projection_weight.shape[1])
        check_arrays({**arrays, "projection_weight": projection_weight}, shapes)
        self.minimum_length = minimum_length(len(channels), KERNEL_SIZE, POOL_SIZE)
        biases = [arrays[f"convolutions_{i}_bias"] for i in range(len(weights))]
        self.convolutions = list(zip(weights, biases, strict=True))
        self.projection = projection_weight
        self.pool = MaxPool(previous, size=[POOL_SIZE], stride=[POOL_SIZE], padding=[[0, 0]])

    @staticmethod
    def array_shapes(
        n_mels: int, channels: Sequence[int] = (32, 32), dim: int = 16
    ) -> dict[str, tuple[int, ...]]:
        """The arrays of a model file, for the configuration that the frameworks share."""
        widths = [check_count("n_mels", n_mels), *check_counts("channels", channels)]
        shapes = convolution_shapes("convolutions", widths, [KERNEL_SIZE])
        return {**shapes, "projection.weight": (widths[-1], check_count("dim", dim))}

    def forward(self, x: np.ndarray) -> np.ndarray:
        """x: (batch, n_mels, time). Returns (batch, dim), of length 1 or zero.

        TypeError for another dtype than the weights'; ValueError for another number of mel bands,
        and for too few frames.
        """
        check_space(x, rank=1, least=self.minimum_length)
        check_dtype("x", x, self.projection.dtype)
        h = np.maximum(convolution(x, *self.convolutions[0]), 0)
        for weight, bias in self.convolutions[1:]:
            h = np.maximum(convolution(self.pool.forward(h), weight, bias), 0)
        return l2_normalize(h.mean(axis=2) @ self.projection)
