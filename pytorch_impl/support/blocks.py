"""Functions of many rows, computed one block of rows at a time, so that memory stays bounded."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from pytorch_impl.support.transforms import transformed


def by_blocks(function: Callable[..., Tensor], block_size: int | None, *tensors: Tensor) -> Tensor:
    """Join function(rows, *tensors) over blocks of rows.

    The gradient computes each block again instead of keeping what it holds. Under torch.func, which
    does not work with checkpoints, every block is kept.

    Args:
        function: of row indices, (rows,), and the tensors; returns (rows, ...).
        block_size: rows of a block; None for one block of all rows.
        tensors: the first one has n rows.
    Returns:
        (n, ...).
    """
    rows = torch.arange(tensors[0].shape[0], device=tensors[0].device)
    if block_size is None:
        return function(rows, *tensors)
    if not transformed(*tensors):
        function = partial(checkpoint, function, use_reentrant=False, preserve_rng_state=False)
    return torch.cat([function(block, *tensors) for block in rows.split(block_size)])
