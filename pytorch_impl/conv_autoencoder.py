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
    minimum_length,
)
from pytorch_impl.support.configured import ConfiguredModule
from pytorch_impl.support.initializers import generator
from pytorch_impl.support.linear import make_convolution
from pytorch_impl.support.precision import check_layer_dtype


class Encoding(NamedTuple):
    """What the decoder needs: the code, and for each pool where its maxima stood.

    code: (batch, channels, *space). positions: (batch, channels, *windows) int64, the index of each
    maximum in its flattened plane. spaces: the spatial shape of each pool's input.
    """

    code: Tensor
    positions: tuple[Tensor, ...]
    spaces: tuple[torch.Size, ...]


class _ConvAutoencoder(ConfiguredModule):
    rank: int
    convolution: type[nn.Module]
    transposed: type[nn.Module]
    pool: Callable[..., Any]
    unpool: Callable[..., Any]

    def __init__(
        self,
        in_channels: int,
        *,
        channels: Sequence[int] = (16, 16),
        kernel_size: int = 3,
        pool_size: int = 2,
        seed: int | None = None,
    ) -> None:
        super().__init__()
        self.in_channels = in_channels = check_count("in_channels", in_channels)
        channels = check_counts("channels", channels)
        kernel_size = check_count("kernel_size", kernel_size)
        self.pool_size = pool_size = check_count("pool_size", pool_size)
        sizes = {"in_channels": in_channels, "channels": channels}
        self.config = {**sizes, "kernel_size": kernel_size, "pool_size": pool_size}
        self.minimum_length = minimum_length(len(channels), kernel_size, pool_size)
        widths, start = list(pairwise([in_channels, *channels])), generator(seed)
        self.encoder = nn.ModuleList(
            make_convolution(self.convolution, before, after, kernel_size, generator=start)
            for before, after in widths
        )
        self.decoder = nn.ModuleList(
            make_convolution(self.transposed, after, before, kernel_size, generator=start)
            for before, after in reversed(widths)
        )

    def forward(self, x: Tensor) -> Tensor:
        """The reconstruction, of the shape of x: (batch, in_channels, *space).

        Of equal entries in a window, the first counts as the maximum. TypeError for another dtype
        than the weights' (under autocast halves and float32 may meet); ValueError for a wrong
        number of axes or channels, and for an x that is too small for the last convolution.
        """
        return self.decode(self.encode(x))

    def encode(self, x: Tensor) -> Encoding:
        """The code of x, (batch, in_channels, *space), and its pools' positions and spaces."""
        check_space("x", x, rank=self.rank, least=self.minimum_length)
        check_layer_dtype("x", x, self.encoder[0].weight.dtype)
        check_channels("x", x, self.in_channels)
        positions, spaces = [], []
        code = self.encoder[0](x)
        for convolution in self.encoder[1:]:
            spaces.append(code.shape[2:])
            code, indices = self.pool(code, self.pool_size, return_indices=True)
            positions.append(indices)
            code = convolution(code)
        return Encoding(code, tuple(positions), tuple(spaces))

    def decode(self, encoding: Encoding) -> Tensor:
        """The reconstruction from what `encode` returns; its code may have been changed."""
        x = self.decoder[0](encoding.code)
        pools = zip(encoding.positions[::-1], encoding.spaces[::-1], strict=True)
        for transposed, (positions, space) in zip(self.decoder[1:], pools, strict=True):
            x = transposed(self.unpool(x, positions, self.pool_size, output_size=space))
        return x


class ConvAutoencoder1d(_ConvAutoencoder):
    """An autoencoder of sequences: (batch, in_channels, time) to the same shape.

    Args:
        in_channels: channels of the input.
        channels: output channels of each convolution, from the input to the code.
        kernel_size, pool_size: of every convolution and pool, in time steps.
        seed: of the initial weights.
    Raises:
        TypeError, ValueError: a size that is not a whole number of at least 1.
    Example:
        >>> ConvAutoencoder1d(3)(torch.ones(5, 3, 11)).shape
        torch.Size([5, 3, 11])
    """

    rank = 1
    convolution, transposed = nn.Conv1d, nn.ConvTranspose1d
    pool, unpool = staticmethod(F.max_pool1d), staticmethod(F.max_unpool1d)


class ConvAutoencoder2d(_ConvAutoencoder):
    """An autoencoder of planes: (batch, in_channels, height, width) to the same shape.

    Args:
        in_channels: channels of the input.
        channels: output channels of each convolution, from the input to the code.
        kernel_size, pool_size: of every convolution and pool, along both axes.
        seed: of the initial weights.
    Raises:
        TypeError, ValueError: a size that is not a whole number of at least 1.
    Example:
        >>> ConvAutoencoder2d(3)(torch.ones(5, 3, 11, 9)).shape
        torch.Size([5, 3, 11, 9])
    """

    rank = 2
    convolution, transposed = nn.Conv2d, nn.ConvTranspose2d
    pool, unpool = staticmethod(F.max_pool2d), staticmethod(F.max_unpool2d)
