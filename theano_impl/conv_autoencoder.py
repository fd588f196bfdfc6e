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

import numpy as np
import theano.tensor as T
from theano.compile.sharedvalue import SharedVariable
from theano.tensor.var import TensorVariable

from theano_impl.layers.convolution import convolution, transposed_convolution
from theano_impl.layers.pooling import max_pool, max_unpool
from theano_impl.support.checks import (
    check_channels,
    check_count,
    check_counts,
    check_dtype,
    check_seed,
    check_space,
)
from theano_impl.support.initializers import convolution_kernel
from theano_impl.support.layer import Layer


class Encoding(NamedTuple):
    """The code, (batch, channels, *space), and what unpooling needs, for each pool in order.

    positions: (batch, channels, *windows) int64, where the largest entries were in their planes,
    numbered row after row. spaces: the sizes of the spatial axes of what was pooled.
    """

    code: TensorVariable
    positions: tuple[TensorVariable, ...]
    spaces: tuple[TensorVariable, ...]


class _ConvAutoencoder(Layer):
    def __init__(
        self,
        rank: int,
        x: TensorVariable,
        in_channels: int,
        channels: Sequence[int],
        kernel_size: int,
        pool_size: int,
        seed: int | None,
    ) -> None:
        in_channels = check_count("in_channels", in_channels)
        channels = check_counts("channels", channels)
        kernel_size = check_count("kernel_size", kernel_size)
        pool_size = check_count("pool_size", pool_size)
        seed = check_seed("seed", seed)
        config = {
            "in_channels": in_channels,
            "channels": list(channels),
            "kernel_size": kernel_size,
            "pool_size": pool_size,
        }
        super().__init__(x, config=config)
        self.rank = rank
        self.least = kernel_size  # the places from which a code of one place is made
        for _ in channels[1:]:
            self.least = self.least * pool_size + kernel_size - 1
        kernel, no_padding = [kernel_size] * rank, [[0, 0]] * rank
        ones, size = [1] * rank, [pool_size] * rank
        self.pool: dict[str, Any] = {"size": size, "stride": size, "padding": no_padding}
        self.window: dict[str, Any] = {
            "kernel_size": kernel,
            "stride": ones,
            "padding": no_padding,
            "dilation": ones,
        }
        rng = np.random.default_rng(seed)
        widths = list(pairwise([in_channels, *channels]))

        def layer(name: str, before: int, after: int, out: int) -> tuple[SharedVariable, ...]:
            weight = convolution_kernel(before, after, *kernel, rng=rng)
            bias = np.zeros(out)
            return self.add_param(f"{name}.weight", weight), self.add_param(f"{name}.bias", bias)

        self.encoder = [
            layer(f"encoder.{place}", out, into, out) for place, (into, out) in enumerate(widths)
        ]
        self.decoder = [
            layer(f"decoder.{place}", into, out, out)
            for place, (out, into) in enumerate(reversed(widths))
        ]
        self.output = self.decode(self.encode(x))

    def encode(self, x: TensorVariable) -> Encoding:
        """x: (batch, in_channels, *space). Errors as for the layer itself."""
        x = check_space("x", x, rank=self.rank, least=self.least)
        check_dtype("x", x, self.encoder[0][0].dtype)
        x = check_channels("x", x, self.config["in_channels"])
        positions, spaces = [], []
        code = convolution(x, *self.encoder[0], **self.window)
        for weights in self.encoder[1:]:
            spaces.append(code.shape[2:])
            code, found = max_pool(code, **self.pool)
            positions.append(found)
            code = convolution(code, *weights, **self.window)
        return Encoding(code, tuple(positions), tuple(spaces))

    def decode(self, encoding: Encoding) -> TensorVariable:
        """The reconstruction from what `encode` returns, whose code may have been changed."""
        x = transposed_convolution(encoding.code, *self.decoder[0], **self.window)
        pools = zip(encoding.positions[::-1], encoding.spaces[::-1], strict=True)
        for weights, (positions, space) in zip(self.decoder[1:], pools, strict=True):
            x = max_unpool(x, positions, T.concatenate([x.shape[:2], space]))
            x = transposed_convolution(x, *weights, **self.window)
        return x


class ConvAutoencoder1d(_ConvAutoencoder):
    """An autoencoder of sequences, (batch, in_channels, time); `.output` has the same shape.

    channels: of each convolution, from the input to the code. kernel_size, pool_size: along
    time. Of equal entries the first is the largest. TypeError for another dtype than the
    weights'; AssertionError, when it runs, for a wrong number of channels and an
    x that is too small for the last convolution.
    """

    def __init__(
        self,
        x: TensorVariable,
        in_channels: int,
        *,
        channels: Sequence[int] = (16, 16),
        kernel_size: int = 3,
        pool_size: int = 2,
        seed: int | None = None,
    ) -> None:
        super().__init__(1, x, in_channels, channels, kernel_size, pool_size, seed)

    @staticmethod
    def symbolic_inputs(dtype: str) -> list[TensorVariable]:
        return [T.tensor3("x", dtype=dtype)]


class ConvAutoencoder2d(_ConvAutoencoder):
    """An autoencoder of planes, (batch, in_channels, height, width); `.output` has the same shape.

    channels: of each convolution, from the input to the code. kernel_size, pool_size: along
    both axes. Of equal entries the first is the largest. TypeError for another dtype than the
    weights'; AssertionError, when it runs, for a wrong number of channels and an
    x that is too small for the last convolution.
    """

    def __init__(
        self,
        x: TensorVariable,
        in_channels: int,
        *,
        channels: Sequence[int] = (16, 16),
        kernel_size: int = 3,
        pool_size: int = 2,
        seed: int | None = None,
    ) -> None:
        super().__init__(2, x, in_channels, channels, kernel_size, pool_size, seed)

    @staticmethod
    def symbolic_inputs(dtype: str) -> list[TensorVariable]:
        return [T.tensor4("x", dtype=dtype)]
