"""Global pools, and a container in which max-unpools undo the max-pools before them."""

from __future__ import annotations
import math
from collections.abc import Sequence
from typing import Any
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from pytorch_impl.support.checks import (
    check_choice,
    check_count,
    check_flag,
    check_floating,
    check_number,
    check_width,
)
from pytorch_impl.distances import l2_normalize
from pytorch_impl.support.precision import check_layer_dtype
from pytorch_impl.layers.recurrent import differentiable_kernels, plain_gru
from pytorch_impl.top_k_gating import top_k_gating
from pytorch_impl.support.transforms import transformed
from pytorch_impl.layers.convolution import Padded


MAX_POOLS = (nn.MaxPool1d, nn.MaxPool2d)


MAX_UNPOOLS = (nn.MaxUnpool1d, nn.MaxUnpool2d)


AVERAGE_POOLS = (nn.AvgPool1d, nn.AvgPool2d)


class Hourglass(nn.Sequential):
    """An `nn.Sequential` in which every max-unpool undoes the last max-pool not yet undone.

    The pools that are to be undone have `return_indices=True`. Their positions and the sizes of
    what they were given are kept for the unpools, so that odd sizes come back exactly.
    """

    def forward(self, x: Tensor) -> Tensor:
        """x: what the first layer takes. ValueError for an unpool without a pool before it."""
        pools: list[tuple[Tensor, torch.Size]] = []
        for module in self:
            layer = module.layer if isinstance(module, Padded) else module
            if isinstance(layer, MAX_POOLS) and layer.return_indices:
                size = x.shape
                x, positions = module(x)
                pools.append((positions, size))
            elif isinstance(layer, MAX_UNPOOLS):
                if not pools:
                    raise ValueError("model: expected a pool to undo, got an unpool without one")
                x = module(x, *pools.pop())
            else:
                x = module(x)
        return x


class GlobalAveragePool(nn.Module):
    """The mean over all spatial axes."""

    def __init__(self, *, keepdims: bool = False) -> None:
        super().__init__()
        self.keepdims = check_flag("keepdims", keepdims)

    def forward(self, x: Tensor) -> Tensor:
        """x: (batch, channels, *space). Returns (batch, channels), with 1s under keepdims."""
        return x.mean(_spatial_axes(x), keepdim=self.keepdims)

    def extra_repr(self) -> str:
        return f"keepdims={self.keepdims}"


class GlobalMaxPool(nn.Module):
    """The largest entry over all spatial axes; of equal ones the first gets the gradient."""

    def __init__(self, *, keepdims: bool = False) -> None:
        super().__init__()
        self.keepdims = check_flag("keepdims", keepdims)

    def forward(self, x: Tensor) -> Tensor:
        """x: (batch, channels, *space). Returns (batch, channels), with 1s under keepdims."""
        axes = _spatial_axes(x)
        y = x.flatten(2).max(2).values  # amax would share the gradient out among equals
        return y[(..., *[None] * len(axes))] if self.keepdims else y

    def extra_repr(self) -> str:
        return f"keepdims={self.keepdims}"


def _spatial_axes(x: Tensor) -> tuple[int, ...]:
    check_floating("x", x)
    if x.ndim < 3:
        raise ValueError(f"x: expected (batch, channels, *space), got shape {tuple(x.shape)}")
    return tuple(range(2, x.ndim))
