"""Convolutional autoencoder: a code of few places, and back to the exact shape, odd sizes too.

    encoder  x → conv₁ → pool₁ → conv₂ → … → pool₍L₋₁₎ → conv_L = code
    decoder  code → conv_Lᵀ → unpool₍L₋₁₎ → … → conv₂ᵀ → unpool₁ → conv₁ᵀ = reconstruction

Nothing is padded: a convolution takes kernel − 1 places off each axis and its transpose gives them
back. A pool keeps the largest entry of each window and its position, where unpooling puts a value
back among zeros. Entries behind the last whole window are zeros then too, and the very last place
of such an axis has no more than the bias. As in the source there is no other nonlinearity. The
loss is the user's.

Source: seed topic, convolutional autoencoders.
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
    check_seed,
    check_space,
)
from tf2_impl.support.layer import Layer
from tf2_impl.support.precision import in_compute_dtype


class Encoding(NamedTuple):
    """The code, (batch, *space, channels), and what unpooling needs, for each pool in order.

    positions: (batch, *windows, channels) int64, where the largest entries were in their planes,
    numbered row after row. spaces: the sizes of the spatial axes of what was pooled.
    """

    code: tf.Tensor
    positions: tuple[tf.Tensor, ...]
    spaces: tuple[Sequence[int | tf.Tensor], ...]


class _ConvAutoencoder(Layer):
    convolution: type[keras.Layer]
    transposed: type[keras.Layer]

    def __init__(
        self,
        rank: int,
        in_channels: int,
        channels: Sequence[int],
        kernel_size: int,
        pool_size: int,
        seed: int | None,
        **kwargs: Any,
    ) -> None:
        super().__init__(autocast=False, **kwargs)
        self.supports_jit = False  # XLA has no max_pool_with_argmax
        in_channels = check_count("in_channels", in_channels)
        channels = check_counts("channels", channels)
        kernel_size = check_count("kernel_size", kernel_size)
        pool_size = check_count("pool_size", pool_size)
        seed = check_seed("seed", seed)
        self.config = {
            "in_channels": in_channels,
            "channels": list(channels),
            "kernel_size": kernel_size,
            "pool_size": pool_size,
        }
        self.rank = rank
        self.in_channels = in_channels
        self.pool_size = pool_size
        self.least = kernel_size  # the places from which a code of one place is made
        for _ in channels[1:]:
            self.least = self.least * pool_size + kernel_size - 1
        glorot = keras.initializers.GlorotUniform(keras.random.SeedGenerator(seed))

        def layer(kind: type[keras.Layer], name: str, before: int, after: int) -> keras.Layer:
            options = {"kernel_initializer": glorot, "dtype": self.dtype_policy}
            made = kind(after, kernel_size, name=name, **options)
            made.build((None, *[None] * rank, before))
            return made

        widths = list(pairwise([in_channels, *channels]))
        self.encoder = [
            layer(self.convolution, f"encoder_{place}", *pair) for place, pair in enumerate(widths)
        ]
        self.decoder = [
            layer(self.transposed, f"decoder_{place}", *pair[::-1])
            for place, pair in enumerate(reversed(widths))
        ]

    @in_compute_dtype
    def call(self, x: tf.Tensor) -> tf.Tensor:
        """The reconstruction, of the shape of x: (batch, *space, in_channels).

        Of equal entries the first is the largest. TypeError for another dtype than the weights',
        ValueError for a wrong number of channels and an x that is too small for
        the last convolution.
        """
        return tf.ensure_shape(self.decode(self.encode(x)), x.shape)

    @in_compute_dtype
    def encode(self, x: tf.Tensor) -> Encoding:
        """x: (batch, *space, in_channels). Errors as for `call`."""
        check_space("x", x, rank=self.rank, least=self.least)
        check_dtype("x", x, self.compute_dtype)
        check_channels("x", x, self.in_channels)
        positions, spaces = [], []
        code = on_rows(self.encoder[0], x)
        for convolution in self.encoder[1:]:
            spaces.append(space_of(code))
            code, found = max_pool(code, self.pool_size)
            positions.append(found)
            code = on_rows(convolution, code)
        return Encoding(code, tuple(positions), tuple(spaces))

    @in_compute_dtype
    def decode(self, encoding: Encoding) -> tf.Tensor:
        """The reconstruction from what `encode` returns, whose code may have been changed."""
        x = on_rows(self.decoder[0], encoding.code)
        pools = zip(encoding.positions[::-1], encoding.spaces[::-1], strict=True)
        for transposed, (positions, space) in zip(self.decoder[1:], pools, strict=True):
            x = on_rows(transposed, max_unpool(x, positions, space))
        return x


@keras.saving.register_keras_serializable("fourfold")
class ConvAutoencoder1d(_ConvAutoencoder):
    """An autoencoder of sequences: (batch, time, in_channels) to the same shape.

    channels: of each convolution, from the input to the code. kernel_size, pool_size: along
    time.
    """

    convolution = keras.layers.Conv1D
    transposed = keras.layers.Conv1DTranspose

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
        super().__init__(1, in_channels, channels, kernel_size, pool_size, seed, **kwargs)


@keras.saving.register_keras_serializable("fourfold")
class ConvAutoencoder2d(_ConvAutoencoder):
    """An autoencoder of planes: (batch, height, width, in_channels) to the same shape.

    channels: of each convolution, from the input to the code. kernel_size, pool_size: along
    both axes.
    """

    convolution = keras.layers.Conv2D
    transposed = keras.layers.Conv2DTranspose

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
        super().__init__(2, in_channels, channels, kernel_size, pool_size, seed, **kwargs)
