"""Convolutional autoencoder: a short code by convolutions and max-pools, and back to the input.

    encoder  x → conv₁ → pool₁ → conv₂ → … → pool₍L₋₁₎ → conv_L = code
    decoder  code → conv_Lᵀ → unpool₍L₋₁₎ → … → conv₂ᵀ → unpool₁ → conv₁ᵀ = reconstruction

A convolution without padding shortens each axis by kernel − 1, and its transpose lengthens it by as
much. A pool keeps the maximum of each window and its position; unpooling puts each value back at
that position among zeros, in the shape of the pool's input, so that odd lengths come back exactly.
Entries behind the last whole window stay zero, and the last output position of such an axis is the
bias alone. There is no other nonlinearity.

Sources: a tutorial that encodes audio frames with PyTorch's Conv1d, MaxPool1d and MaxUnpool1d;
unpooling at recorded positions is by Zeiler, Fergus (2014), arXiv 1311.2901.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from numpy_infer.layers.convolution import convolution, transposed_convolution
from numpy_infer.layers.pooling import max_pool, max_unpool
from numpy_infer.layers.windows import check_space
from numpy_infer.support.checks import check_arrays, check_count, check_counts, check_dtype
from numpy_infer.support.convolution_arrays import convolution_shapes, convolution_weights
from numpy_infer.support.layer import Layer
from numpy_infer.support.plain_checks import minimum_length


class Encoding(NamedTuple):
    """What the decoder needs: the code, and for each pool where its maxima stood.

    code: (batch, channels, *space). positions: (batch, channels, *windows) int64, the index of each
    maximum in its flattened plane. spaces: the spatial shape of each pool's input.
    """

    code: np.ndarray
    positions: tuple[np.ndarray, ...]
    spaces: tuple[tuple[int, ...], ...]


class _ConvAutoencoder(Layer):
    rank: int
    array_shapes: Callable[..., dict[str, tuple[int, ...]]]

    def __init__(self, previous: Layer, *, pool_size: int = 2, **arrays: np.ndarray) -> None:
        super().__init__(previous)
        pool_size = check_count("pool_size", pool_size)
        weights = convolution_weights("encoder", arrays, self.rank)
        in_channels, kernel_size = weights[0].shape[1:3]
        channels = [len(weight) for weight in weights]
        check_arrays(arrays, self.array_shapes(in_channels, channels, kernel_size))
        self.window = [pool_size] * self.rank
        self.minimum_length = minimum_length(len(channels), kernel_size, pool_size)
        self.encoder, self.decoder = (
            [
                (arrays[f"{side}_{i}_weight"], arrays[f"{side}_{i}_bias"])
                for i in range(len(channels))
            ]
            for side in ("encoder", "decoder")
        )

    def forward(self, x: np.ndarray) -> np.ndarray:
        """The reconstruction, of the shape of x: (batch, in_channels, *space).

        Of equal entries in a window, the first counts as the maximum. TypeError for another dtype
        than the weights'; ValueError for a wrong number of axes or channels, and for an x that is
        too small for the last convolution.
        """
        return self.decode(self.encode(x))

    def encode(self, x: np.ndarray) -> Encoding:
        """The code of x, (batch, in_channels, *space), and its pools' positions and spaces."""
        check_space(x, rank=self.rank, least=self.minimum_length)
        check_dtype("x", x, self.encoder[0][0].dtype)
        positions, spaces = [], []
        code = convolution(x, *self.encoder[0])
        for weights in self.encoder[1:]:
            spaces.append(code.shape[2:])
            code, indices = max_pool(code, self.window)
            positions.append(indices)
            code = convolution(code, *weights)
        return Encoding(code, tuple(positions), tuple(spaces))

    def decode(self, encoding: Encoding) -> np.ndarray:
        """The reconstruction from what `encode` returns; its code may have been changed."""
        x = transposed_convolution(encoding.code, *self.decoder[0])
        pools = zip(encoding.positions[::-1], encoding.spaces[::-1], strict=True)
        for weights, (positions, space) in zip(self.decoder[1:], pools, strict=True):
            x = max_unpool(x, positions, (*x.shape[:2], *space))
            x = transposed_convolution(x, *weights)
        return x


class ConvAutoencoder1d(_ConvAutoencoder):
    """An autoencoder of sequences: (batch, in_channels, time) to the same shape.

    Args:
        previous: the layer whose output is the sequences.
        pool_size: of every pool, in time steps.
        arrays: `encoder_0_weight` (out, in, kernel), `encoder_0_bias` (out,), and so on to the
            code; `decoder_0_weight` (in, out, kernel), `decoder_0_bias` (out,), and so on from it.
    Raises:
        TypeError, ValueError: arrays that do not fit together.
    Example:
        >>> from numpy_infer import Input
        >>> shapes = ConvAutoencoder1d.array_shapes(in_channels=3)
        >>> arrays = {name.replace(".", "_"): np.ones(shape) for name, shape in shapes.items()}
        >>> ConvAutoencoder1d(Input(), **arrays)(np.ones((5, 3, 11))).shape
        (5, 3, 11)
    """

    rank = 1

    @staticmethod
    def array_shapes(
        in_channels: int,
        channels: Sequence[int] = (16, 16),
        kernel_size: int = 3,
        pool_size: int = 2,
    ) -> dict[str, tuple[int, ...]]:
        """The arrays of a model file, for the configuration that the frameworks share."""
        return _array_shapes(in_channels, channels, [kernel_size])


class ConvAutoencoder2d(_ConvAutoencoder):
    """An autoencoder of planes: (batch, in_channels, height, width) to the same shape.

    Args:
        previous: the layer whose output is the planes.
        pool_size: of every pool, along both axes.
        arrays: as in `ConvAutoencoder1d`, with square kernels: (out, in, kernel, kernel) in the
            encoder and (in, out, kernel, kernel) in the decoder.
    Raises:
        TypeError, ValueError: arrays that do not fit together.
    Example:
        >>> from numpy_infer import Input
        >>> shapes = ConvAutoencoder2d.array_shapes(in_channels=3)
        >>> arrays = {name.replace(".", "_"): np.ones(shape) for name, shape in shapes.items()}
        >>> ConvAutoencoder2d(Input(), **arrays)(np.ones((5, 3, 11, 9))).shape
        (5, 3, 11, 9)
    """

    rank = 2

    @staticmethod
    def array_shapes(
        in_channels: int,
        channels: Sequence[int] = (16, 16),
        kernel_size: int = 3,
        pool_size: int = 2,
    ) -> dict[str, tuple[int, ...]]:
        """The arrays of a model file, for the configuration that the frameworks share."""
        return _array_shapes(in_channels, channels, [kernel_size, kernel_size])


def _array_shapes(
    in_channels: int, channels: Sequence[int], kernel: Sequence[int]
) -> dict[str, tuple[int, ...]]:
    widths = [check_count("in_channels", in_channels), *check_counts("channels", channels)]
    encoder = convolution_shapes("encoder", widths, kernel)
    decoder = convolution_shapes("decoder", widths[::-1], kernel, transposed=True)
    return encoder | decoder
