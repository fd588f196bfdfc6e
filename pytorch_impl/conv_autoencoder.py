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

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pytorch_impl.support.checks import (
    check_channels,
    check_count,
    check_counts,
    check_space,
)
from pytorch_impl.support.configured import ConfiguredModule
from pytorch_impl.support.initializers import generator
from pytorch_impl.support.linear import make_convolution
from pytorch_impl.support.precision import check_layer_dtype


class Encoding(NamedTuple):
    """The code, (batch, channels, *space), and what unpooling needs, for each pool in order.

    positions: (batch, channels, *windows) int64, where the largest entries were in their planes,
    numbered row after row. spaces: the sizes of the spatial axes of what was pooled.
    """

    code: Tensor
    positions: tuple[Tensor, ...]
    spaces: tuple[torch.Size, ...]


class _ConvAutoencoder(ConfiguredModule):
    convolution: type[nn.Module]
    transposed: type[nn.Module]
    pool: Callable[..., Any]
    unpool: Callable[..., Any]

    def __init__(
        self,
        rank: int,
        in_channels: int,
        channels: Sequence[int],
        kernel_size: int,
        pool_size: int,
        seed: int | None,
    ) -> None:
        super().__init__()
        in_channels = check_count("in_channels", in_channels)
        channels = check_counts("channels", channels)
        kernel_size = check_count("kernel_size", kernel_size)
        pool_size = check_count("pool_size", pool_size)
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
        start = generator(seed)

        def layer(kind: type[nn.Module], *sizes: int) -> nn.Module:
            return make_convolution(kind, *sizes, kernel_size, generator=start)

        widths = list(pairwise([in_channels, *channels]))
        self.encoder = nn.ModuleList(layer(self.convolution, *pair) for pair in widths)
        self.decoder = nn.ModuleList(
            layer(self.transposed, after, before) for before, after in reversed(widths)
        )

    def forward(self, x: Tensor) -> Tensor:
        """The reconstruction, of the shape of x: (batch, in_channels, *space).

        Of equal entries the first is the largest. TypeError for another dtype than the weights'
        (under autocast halves and float32 may meet), ValueError for a wrong number of channels
        and an x that is too small for the last convolution.
        """
        return self.decode(self.encode(x))

    def encode(self, x: Tensor) -> Encoding:
        """x: (batch, in_channels, *space). Errors as for `forward`."""
        check_space("x", x, rank=self.rank, least=self.least)
        check_layer_dtype("x", x, self.encoder[0].weight.dtype)
        check_channels("x", x, self.in_channels)
        positions, spaces = [], []
        code = self.encoder[0](x)
        for convolution in self.encoder[1:]:
            spaces.append(code.shape[2:])
            code, found = self.pool(code, self.pool_size, return_indices=True)
            positions.append(found)
            code = convolution(code)
        return Encoding(code, tuple(positions), tuple(spaces))

    def decode(self, encoding: Encoding) -> Tensor:
        """The reconstruction from what `encode` returns, whose code may have been changed."""
        x = self.decoder[0](encoding.code)
        pools = zip(encoding.positions[::-1], encoding.spaces[::-1], strict=True)
        for transposed, (positions, space) in zip(self.decoder[1:], pools, strict=True):
            x = transposed(self.unpool(x, positions, self.pool_size, output_size=space))
        return x


class ConvAutoencoder1d(_ConvAutoencoder):
    """An autoencoder of sequences: (batch, in_channels, time) to the same shape.

    channels: of each convolution, from the input to the code. kernel_size, pool_size: along
    time.
    """

    convolution = nn.Conv1d
    transposed = nn.ConvTranspose1d
    pool = staticmethod(F.max_pool1d)
    unpool = staticmethod(F.max_unpool1d)

    def __init__(
        self,
        in_channels: int,
        *,
        channels: Sequence[int] = (16, 16),
        kernel_size: int = 3,
        pool_size: int = 2,
        seed: int | None = None,
    ) -> None:
        super().__init__(1, in_channels, channels, kernel_size, pool_size, seed)


class ConvAutoencoder2d(_ConvAutoencoder):
    """An autoencoder of planes: (batch, in_channels, height, width) to the same shape.

    channels: of each convolution, from the input to the code. kernel_size, pool_size: along
    both axes.
    """

    convolution = nn.Conv2d
    transposed = nn.ConvTranspose2d
    pool = staticmethod(F.max_pool2d)
    unpool = staticmethod(F.max_unpool2d)

    def __init__(
        self,
        in_channels: int,
        *,
        channels: Sequence[int] = (16, 16),
        kernel_size: int = 3,
        pool_size: int = 2,
        seed: int | None = None,
    ) -> None:
        super().__init__(2, in_channels, channels, kernel_size, pool_size, seed)
