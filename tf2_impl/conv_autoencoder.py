"""Convolutional autoencoder: a short code by convolutions and max-pools, and back to the input.

    encoder  x → conv₁ → pool₁ → conv₂ → … → pool₍L₋₁₎ → conv_L = code
    decoder  code → conv_Lᵀ → unpool₍L₋₁₎ → … → conv₂ᵀ → unpool₁ → conv₁ᵀ = reconstruction

A convolution without padding shortens each axis by kernel − 1, and its transpose lengthens it by as
much. A pool keeps the maximum of each window and its position; unpooling puts each value back at
that position among zeros, in the shape of the pool's input, so that odd lengths come back exactly.
Entries behind the last whole window stay zero, and the last output position of such an axis is the
bias alone. There is no other nonlinearity. The loss is the user's choice.

Sources: a tutorial that encodes audio frames with PyTorch's Conv1d, MaxPool1d and MaxUnpool1d;
unpooling at recorded positions is by Zeiler, Fergus (2014), arXiv 1311.2901.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from tf2_impl.layers.convolution import on_rows
from tf2_impl.layers.pooling import max_pool, max_unpool, space_of
from tf2_impl.support.checks import (
    check_channels,
    check_count,
    check_counts,
    check_dtype,
    check_space,
    minimum_length,
)
from tf2_impl.support.layer import Layer
from tf2_impl.support.linear import convolution_start, make_convolution
from tf2_impl.support.precision import in_compute_dtype


class Encoding(NamedTuple):
    """What the decoder needs: the code, and for each pool where its maxima stood.

    code: (batch, *space, channels). positions: (batch, *windows, channels) int64, the index of each
    maximum in its flattened plane. spaces: the spatial shape of each pool's input.
    """

    code: tf.Tensor
    positions: tuple[tf.Tensor, ...]
    spaces: tuple[Sequence[int | tf.Tensor], ...]


class _ConvAutoencoder(Layer):
    rank: int
    convolution: type[keras.Layer]
    transposed: type[keras.Layer]

    def __init__(
        self,
        in_channels: int,
        *,
        channels: Sequence[int] = (16, 16),
        kernel_size: int = 3,
        pool_size: int = 2,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(autocast=False, **kwargs)
        self.supports_jit = False  # XLA has no max_pool_with_argmax
        self.in_channels = in_channels = check_count("in_channels", in_channels)
        channels = check_counts("channels", channels)
        kernel_size = check_count("kernel_size", kernel_size)
        self.pool_size = pool_size = check_count("pool_size", pool_size)
        sizes = {"in_channels": in_channels, "channels": channels}
        self.config = {**sizes, "kernel_size": kernel_size, "pool_size": pool_size}
        self.minimum_length = minimum_length(len(channels), kernel_size, pool_size)
        widths = list(pairwise([in_channels, *channels]))
        start = {"glorot": convolution_start(seed), "dtype": self.dtype_policy}
        self.encoder = [
            make_convolution(self.convolution, *pair, kernel_size, name=f"encoder_{i}", **start)
            for i, pair in enumerate(widths)
        ]
        self.decoder = [
            make_convolution(
                self.transposed, *pair[::-1], kernel_size, name=f"decoder_{i}", **start
            )
            for i, pair in enumerate(reversed(widths))
        ]

    @in_compute_dtype
    def call(self, x: tf.Tensor) -> tf.Tensor:
        """The reconstruction, of the shape of x: (batch, *space, in_channels).

        Of equal entries in a window, the first counts as the maximum. TypeError for another dtype
        than the weights'; ValueError for a wrong number of axes or channels, and for an x that is
        too small for the last convolution.
        """
        return tf.ensure_shape(self.decode(self.encode(x)), x.shape)

    @in_compute_dtype
    def encode(self, x: tf.Tensor) -> Encoding:
        """The code of x, (batch, *space, in_channels), and its pools' positions and spaces."""
        check_space("x", x, rank=self.rank, least=self.minimum_length)
        check_dtype("x", x, self.compute_dtype)
        check_channels("x", x, self.in_channels)
        positions, spaces = [], []
        code = on_rows(self.encoder[0], x)
        for convolution in self.encoder[1:]:
            spaces.append(space_of(code))
            code, indices = max_pool(code, self.pool_size)
            positions.append(indices)
            code = on_rows(convolution, code)
        return Encoding(code, tuple(positions), tuple(spaces))

    @in_compute_dtype
    def decode(self, encoding: Encoding) -> tf.Tensor:
        """The reconstruction from what `encode` returns; its code may have been changed."""
        x = on_rows(self.decoder[0], encoding.code)
        pools = zip(encoding.positions[::-1], encoding.spaces[::-1], strict=True)
        for transposed, (positions, space) in zip(self.decoder[1:], pools, strict=True):
            x = on_rows(transposed, max_unpool(x, positions, space))
        return x


@keras.saving.register_keras_serializable("fourfold")
class ConvAutoencoder1d(_ConvAutoencoder):
    """An autoencoder of sequences: (batch, time, in_channels) to the same shape.

    Args:
        in_channels: channels of the input.
        channels: output channels of each convolution, from the input to the code.
        kernel_size, pool_size: of every convolution and pool, in time steps.
        seed: of the initial weights.
    Raises:
        TypeError, ValueError: a size that is not a whole number of at least 1.
    Example:
        >>> ConvAutoencoder1d(3)(tf.ones((5, 11, 3))).shape
        TensorShape([5, 11, 3])
    """

    rank = 1
    convolution, transposed = keras.layers.Conv1D, keras.layers.Conv1DTranspose


@keras.saving.register_keras_serializable("fourfold")
class ConvAutoencoder2d(_ConvAutoencoder):
    """An autoencoder of planes: (batch, height, width, in_channels) to the same shape.

    Args:
        in_channels: channels of the input.
        channels: output channels of each convolution, from the input to the code.
        kernel_size, pool_size: of every convolution and pool, along both axes.
        seed: of the initial weights.
    Raises:
        TypeError, ValueError: a size that is not a whole number of at least 1.
    Example:
        >>> ConvAutoencoder2d(3)(tf.ones((5, 11, 9, 3))).shape
        TensorShape([5, 11, 9, 3])
    """

    rank = 2
    convolution, transposed = keras.layers.Conv2D, keras.layers.Conv2DTranspose
