"""Padding that PyTorch's own convolutions and pools cannot say."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pytorch_impl.layers.pooling import AVERAGE_POOLS, MAX_POOLS, MAX_UNPOOLS

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d)


TRANSPOSED_CONVOLUTIONS = (nn.ConvTranspose1d, nn.ConvTranspose2d)


PADDED = (*CONVOLUTIONS, *TRANSPOSED_CONVOLUTIONS, *MAX_POOLS, *MAX_UNPOOLS, *AVERAGE_POOLS)


class Padded(nn.Module):
    """A convolution or pool with padding that its own arguments cannot say.

    layer: one of PyTorch's own, 1-d or 2-d, without padding. padding: (before, after) for each
    spatial axis: zeros that a convolution or an average pool is given (the pool's
    `count_include_pad` says whether they count), −∞ for a max-pool. A transposed convolution's
    full output is cut by it; there a negative "after" extends the output.
    """

    def __init__(self, layer: nn.Module, padding: Sequence[Sequence[int]]) -> None:
        super().__init__()
        if not isinstance(layer, PADDED):
            names = ", ".join(one.__name__ for one in PADDED)
            raise TypeError(f"layer: expected one of {names}, got {type(layer).__name__}")
        own = (layer.padding, getattr(layer, "output_padding", 0))
        if not all(one in (0, (0,), (0, 0)) for one in own):
            raise ValueError(f"layer: expected no padding of its own, got {layer}")
        extends = isinstance(layer, TRANSPOSED_CONVOLUTIONS)
        axes = 1 if type(layer).__name__.endswith("1d") else 2
        good = len(padding) == axes and all(
            before >= 0 and (after >= 0 or extends) for before, after in padding
        )
        if not good:
            raise ValueError(f"padding: expected {axes} pairs of sizes, got {padding}")
        self.layer = layer
        self.padding = tuple((before, after) for before, after in padding)
        # F.pad begins with the last axis.
        self._ends = [end for pair in reversed(self.padding) for end in pair]

    def forward(self, x: Tensor, *undo: Any) -> Tensor:
        """x: (batch, channels, *space). An unpool takes a pool's positions and input size too."""
        layer: Any = self.layer
        cut = [-end for end in self._ends]
        if isinstance(layer, MAX_UNPOOLS):
            positions, size = undo
            grown = [n + sum(pair) for n, pair in zip(size[2:], self.padding, strict=True)]
            return F.pad(layer(x, positions, [*size[:2], *grown]), cut)
        if isinstance(layer, TRANSPOSED_CONVOLUTIONS):
            transpose = F.conv_transpose1d if layer.weight.ndim == 3 else F.conv_transpose2d
            options = {"stride": layer.stride, "groups": layer.groups, "dilation": layer.dilation}
            y = transpose(x, layer.weight, **options)
            y = F.pad(y, cut)
            # Added last, because what the output is extended by has the bias too.
            return y if layer.bias is None else y + layer.bias.view(-1, *[1] * (y.ndim - 2))
        if isinstance(layer, MAX_POOLS):
            return layer(F.pad(x, self._ends, value=-math.inf))
        y = layer(F.pad(x, self._ends))
        if isinstance(layer, AVERAGE_POOLS) and not layer.count_include_pad:
            return y / layer(F.pad(torch.ones_like(x[:1, :1]), self._ends))
        return y

    def extra_repr(self) -> str:
        return f"padding={self.padding}"
