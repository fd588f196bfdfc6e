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

import numpy as np
import theano.tensor as T
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
    minimum_length,
)
from theano_impl.support.layer import Layer
from theano_impl.support.linear import make_convolution


class Encoding(NamedTuple):
    """What the decoder needs: the code, and for each pool where its maxima stood.

    code: (batch, channels, *space). positions: (batch, channels, *windows) int64, the index of each
    maximum in its flattened plane. spaces: the spatial shape of each pool's input.
    """

    code: TensorVariable
    positions: tuple[TensorVariable, ...]
    spaces: tuple[TensorVariable, ...]


class _ConvAutoencoder(Layer):
    rank: int

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
        in_channels = check_count("in_channels", in_channels)
        channels = check_counts("channels", channels)
        kernel_size = check_count("kernel_size", kernel_size)
        pool_size = check_count("pool_size", pool_size)
        sizes = {"in_channels": in_channels, "channels": channels}
        config = {**sizes, "kernel_size": kernel_size, "pool_size": pool_size}
        super().__init__(x, config=config)
        self.in_channels = in_channels
        self.kernel, self.window = [kernel_size] * self.rank, [pool_size] * self.rank
        self.minimum_length = minimum_length(len(channels), kernel_size, pool_size)
        widths = list(pairwise([in_channels, *channels]))
        rng = np.random.default_rng(check_seed("seed", seed))
        start: dict[str, Any] = {"kernel_size": self.kernel, "rng": rng}
        self.encoder = [
            make_convolution(self, f"encoder.{i}", *pair, **start) for i, pair in enumerate(widths)
        ]
        self.decoder = [
            make_convolution(self, f"decoder.{i}", *pair[::-1], transposed=True, **start)
            for i, pair in enumerate(reversed(widths))
        ]
        self.output = self.decode(self.encode(x))

    def encode(self, x: TensorVariable) -> Encoding:
        """The code of x, (batch, in_channels, *space), and its pools' positions and spaces."""
        x = check_space("x", x, rank=self.rank, least=self.minimum_length)
        check_dtype("x", x, self.encoder[0].weight.dtype)
        x = check_channels("x", x, self.in_channels)
        positions, spaces = [], []
        code = convolution(x, *self.encoder[0], kernel_size=self.kernel)
        for weights in self.encoder[1:]:
            spaces.append(code.shape[2:])
            code, indices = max_pool(code, self.window)
            positions.append(indices)
            code = convolution(code, *weights, kernel_size=self.kernel)
        return Encoding(code, tuple(positions), tuple(spaces))

    def decode(self, encoding: Encoding) -> TensorVariable:
        """The reconstruction from what `encode` returns; its code may have been changed."""
        x = transposed_convolution(encoding.code, *self.decoder[0], kernel_size=self.kernel)
        pools = zip(encoding.positions[::-1], encoding.spaces[::-1], strict=True)
        for weights, (positions, space) in zip(self.decoder[1:], pools, strict=True):
            x = max_unpool(x, positions, T.concatenate([x.shape[:2], space]))
            x = transposed_convolution(x, *weights, kernel_size=self.kernel)
        return x


class ConvAutoencoder1d(_ConvAutoencoder):
    """An autoencoder of sequences: (batch, in_channels, time) to the same shape, `.output`.

    Of equal entries in a window, the first counts as the maximum.

    Args:
        x: (batch, in_channels, time).
        in_channels: channels of the input.
        channels: output channels of each convolution, from the input to the code.
        kernel_size, pool_size: of every convolution and pool, in time steps.
        seed: of the initial weights.
    Raises:
        TypeError, ValueError: a size that is not a whole number of at least 1.
        TypeError: another dtype than the weights'. ValueError: a wrong number of axes.
        AssertionError: when it runs, for a wrong number of channels, or an x that is too small for
            the last convolution.
    Example:
        >>> x = T.ones((5, 3, 11))
        >>> ConvAutoencoder1d(x, 3).output.eval().shape
        (5, 3, 11)
    """

    rank = 1

    @staticmethod
    def symbolic_inputs(dtype: str) -> list[TensorVariable]:
        return [T.tensor3("x", dtype=dtype)]


class ConvAutoencoder2d(_ConvAutoencoder):
    """An autoencoder of planes: (batch, in_channels, height, width) to the same shape, `.output`.

    Of equal entries in a window, the first counts as the maximum.

    Args:
        x: (batch, in_channels, height, width).
        in_channels: channels of the input.
        channels: output channels of each convolution, from the input to the code.
        kernel_size, pool_size: of every convolution and pool, along both axes.
        seed: of the initial weights.
    Raises:
        As `ConvAutoencoder1d`.
    Example:
        >>> x = T.ones((5, 3, 11, 9))
        >>> ConvAutoencoder2d(x, 3).output.eval().shape
        (5, 3, 11, 9)
    """

    rank = 2

    @staticmethod
    def symbolic_inputs(dtype: str) -> list[TensorVariable]:
        return [T.tensor4("x", dtype=dtype)]
