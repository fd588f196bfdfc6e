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
from numpy_infer.support.layer import Layer

KERNEL_SIZE = 3
POOL_SIZE = 2


class SpeakerEncoder(Layer):
    """(batch, n_mels, time) to (batch, dim), for any time that the pools leave frames of.

    projection_weight: (channels, dim). arrays: `convolutions_0_weight` (channels, n_mels, 3),
    `convolutions_0_bias` (channels,), and so on.
    """

    def __init__(
        self, previous: Layer, projection_weight: np.ndarray, **arrays: np.ndarray
    ) -> None:
        super().__init__(previous)
        kernels: list[np.ndarray] = []
        while (name := f"convolutions_{len(kernels)}_weight") in arrays:
            check_floating(name, arrays[name], ndim=3)
            kernels.append(arrays[name])
        if not kernels:
            raise ValueError(f"arrays: expected convolutions_0_weight, got {list(arrays)}")
        check_floating("projection_weight", projection_weight, ndim=2)
        channels, dim = [len(one) for one in kernels], projection_weight.shape[1]
        shapes = self.array_shapes(kernels[0].shape[1], channels, dim)
        check_arrays({**arrays, "projection_weight": projection_weight}, shapes)
        self.least = KERNEL_SIZE  # the frames of which one is left
        for _ in channels[1:]:
            self.least = self.least * POOL_SIZE + KERNEL_SIZE - 1
        self.convolutions = [
            (kernel, arrays[f"convolutions_{place}_bias"]) for place, kernel in enumerate(kernels)
        ]
        self.projection = projection_weight
        self.pool = MaxPool(previous, size=[POOL_SIZE], stride=[POOL_SIZE], padding=[[0, 0]])

    @staticmethod
    def array_shapes(
        n_mels: int, channels: Sequence[int] = (32, 32), dim: int = 16
    ) -> dict[str, tuple[int, ...]]:
        """The arrays of a model file, for the configuration that the frameworks share."""
        n_mels = check_count("n_mels", n_mels)
        channels = check_counts("channels", channels)
        dim = check_count("dim", dim)
        shapes: dict[str, tuple[int, ...]] = {}
        for place, (before, after) in enumerate(pairwise([n_mels, *channels])):
            shapes[f"convolutions.{place}.weight"] = (after, before, KERNEL_SIZE)
            shapes[f"convolutions.{place}.bias"] = (after,)
        return {**shapes, "projection.weight": (channels[-1], dim)}

    def forward(self, x: np.ndarray) -> np.ndarray:
        """x: (batch, n_mels, time). Returns (batch, dim), of unit norm or zero.

        TypeError for another dtype than the weights', ValueError for another
        number of mel bands and too few frames.
        """
        check_space(x, rank=1, least=self.least)
        check_dtype("x", x, self.projection.dtype)
        h = self._convolve(x, *self.convolutions[0])
        for weights in self.convolutions[1:]:
            h = self._convolve(self.pool.forward(h), *weights)
        return l2_normalize(h.mean(axis=2) @ self.projection)

    def _convolve(self, x: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
        y = convolution(x, weight, bias, stride=[1], padding=[[0, 0]], dilation=[1])
        rectified: np.ndarray = np.maximum(y, 0)
        return rectified
