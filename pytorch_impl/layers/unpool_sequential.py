"""A chain in which max-unpools undo the max-pools before them."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pytorch_impl.layers.convolution import Padded
from pytorch_impl.layers.pooling import MAX_POOLS, MAX_UNPOOLS


class UnpoolSequential(nn.Sequential):
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
