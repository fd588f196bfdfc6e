"""Convolutional autoencoder: a code of few places, and back to the exact shape, odd sizes too.

    encoder  x → conv₁ → pool₁ → conv₂ → … → pool₍L₋₁₎ → conv_L = code
    decoder  code → conv_Lᵀ → unpool₍L₋₁₎ → … → conv₂ᵀ → unpool₁ → conv₁ᵀ = reconstruction

Nothing is padded: a convolution takes kernel − 1 places off each axis and its transpose gives them
back. A pool keeps the largest entry of each window and its position, where unpooling puts a value
back among zeros. Entries behind the last whole window are zeros then too, and the very last place
of such an axis has no more than the bias. As in the source there is no other nonlinearity.

Source: seed topic, convolutional autoencoders.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from numpy_infer.layers.convolution import convolution, transposed_convolution
from numpy_infer.layers.pooling import max_pool, max_unpool
from numpy_infer.layers.windows import check_space
from numpy_infer.support.checks import (
    check_arrays,
    check_count,
    check_counts,
    check_dtype,
    check_floating,
)
from numpy_infer.support.layer import Layer


class Encoding(NamedTuple):
    """The code, (batch, channels, *space), and what unpooling needs, for each pool in order.

    positions: (batch, channels, *windows) int64, where the largest entries were in their planes,
    numbered row after row. spaces: the sizes of the spatial axes of what was pooled.
    """

    code: np.ndarray
    positions: tuple[np.ndarray, ...]
    spaces: tuple[tuple[int, ...], ...]


class _ConvAutoencoder(Layer):
    def __init__(
        self, rank: int, previous: Layer, pool_size: int, arrays: Mapping[str, np.ndarray]
    ) -> None:
        super().__init__(previous)
        pool_size = check_count("pool_size", pool_size)
        kernels: list[np.ndarray] = []
        while (name := f"encoder_{len(kernels)}_weight") in arrays:
            check_floating(name, arrays[name], ndim=2 + rank)
            kernels.append(arrays[name])
        if not kernels:
            raise ValueError(f"arrays: expected encoder_0_weight, got {list(arrays)}")
        channels = [len(one) for one in kernels]
        _, in_channels, kernel_size = kernels[0].shape[:3]
        check_arrays(arrays, _array_shapes(rank, in_channels, channels, kernel_size))
        self.rank = rank
        self.in_channels = in_channels
        self.least = kernel_size  # the places from which a code of one place is made
        for _ in channels[1:]:
            self.least = self.least * pool_size + kernel_size - 1
        no_padding = [[0, 0]] * rank
        ones, size = [1] * rank, [pool_size] * rank
        self.pool: dict[str, Any] = {"size": size, "stride": size, "padding": no_padding}
        self.window: dict[str, Any] = {
            "stride": ones,
            "padding": no_padding,
            "dilation": ones,
        }
        places = range(len(channels))
        self.encoder, self.decoder = (
            [(arrays[f"{side}_{place}_weight"], arrays[f"{side}_{place}_bias"]) for place in places]
            for side in ("encoder", "decoder")
        )

    def forward(self, x: np.ndarray) -> np.ndarray:
        """The reconstruction, of the shape of x: (batch, in_channels, *space).

        Of equal entries the first is the largest. TypeError for another dtype than the weights',
        ValueError for a wrong number of channels and an x that is too small for
        the last convolution.
        """
        return self.decode(self.encode(x))

    def encode(self, x: np.ndarray) -> Encoding:
        """x: (batch, in_channels, *space). Errors as for `forward`."""
        check_space(x, rank=self.rank, least=self.least)
        check_dtype("x", x, self.encoder[0][0].dtype)
        positions, spaces = [], []
        code = convolution(x, *self.encoder[0], **self.window)
        for weights in self.encoder[1:]:
            spaces.append(code.shape[2:])
            code, found = max_pool(code, **self.pool)
            positions.append(found)
            code = convolution(code, *weights, **self.window)
        return Encoding(code, tuple(positions), tuple(spaces))

    def decode(self, encoding: Encoding) -> np.ndarray:
        """The reconstruction from what `encode` returns, whose code may have been changed."""
        x = transposed_convolution(encoding.code, *self.decoder[0], **self.window)
        pools = zip(encoding.positions[::-1], encoding.spaces[::-1], strict=True)
        for weights, (positions, space) in zip(self.decoder[1:], pools, strict=True):
            x = max_unpool(x, positions, (*x.shape[:2], *space))
            x = transposed_convolution(x, *weights, **self.window)
        return x


class ConvAutoencoder1d(_ConvAutoencoder):
    """An autoencoder of sequences: (batch, in_channels, time) to the same shape.

    arrays: `encoder_0_weight` (out, in, kernel), `encoder_0_bias` (out,), and so on to the code;
    `decoder_0_weight` (in, out, kernel), `decoder_0_bias` (out,), and so on from it.
    """

    def __init__(self, previous: Layer, *, pool_size: int = 2, **arrays: np.ndarray) -> None:
        super().__init__(1, previous, pool_size, arrays)

    @staticmethod
    def array_shapes(
        in_channels: int,
        channels: Sequence[int] = (16, 16),
        kernel_size: int = 3,
        pool_size: int = 2,
    ) -> dict[str, tuple[int, ...]]:
        """The arrays of a model file, for the configuration that the frameworks share."""
        return _array_shapes(1, in_channels, channels, kernel_size)


class ConvAutoencoder2d(_ConvAutoencoder):
    """An autoencoder of planes: (batch, in_channels, height, width) to the same shape.

    arrays: `encoder_0_weight` (out, in, kernel, kernel), `encoder_0_bias` (out,), and so on
    to the code; `decoder_0_weight` (in, out, kernel, kernel), `decoder_0_bias` (out,), and so on
    from it.
    """

    def __init__(self, previous: Layer, *, pool_size: int = 2, **arrays: np.ndarray) -> None:
        super().__init__(2, previous, pool_size, arrays)

    @staticmethod
    def array_shapes(
        in_channels: int,
        channels: Sequence[int] = (16, 16),
        kernel_size: int = 3,
        pool_size: int = 2,
    ) -> dict[str, tuple[int, ...]]:
        """The arrays of a model file, for the configuration that the frameworks share."""
        return _array_shapes(2, in_channels, channels, kernel_size)


def _array_shapes(
    rank: int, in_channels: int, channels: Sequence[int], kernel_size: int
) -> dict[str, tuple[int, ...]]:
    in_channels = check_count("in_channels", in_channels)
    channels = check_counts("channels", channels)
    kernel_size = check_count("kernel_size", kernel_size)
    widths = list(pairwise([in_channels, *channels]))
    kernel = (kernel_size,) * rank
    shapes: dict[str, tuple[int, ...]] = {}
    for place, (before, after) in enumerate(widths):
        shapes[f"encoder.{place}.weight"] = (after, before, *kernel)
        shapes[f"encoder.{place}.bias"] = (after,)
    for place, (after, before) in enumerate(reversed(widths)):
        shapes[f"decoder.{place}.weight"] = (before, after, *kernel)
        shapes[f"decoder.{place}.bias"] = (after,)
    return shapes
