"""Functions of many rows, computed one block of rows at a time, so that memory stays bounded."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import theano
import theano.tensor as T
from theano.tensor.var import TensorVariable


def by_blocks(
    function: Callable[..., Any], block_size: int | None, *tensors: TensorVariable
) -> Any:
    """Join function(rows, *tensors) over blocks of rows.

    The gradient of a scan computes each block again instead of keeping what it holds.

    Args:
        function: of row indices, (rows,), and the tensors; returns (rows, ...), or a list of such.
        block_size: rows of a block; None for one block of all rows.
        tensors: the first one has n rows.
    Returns:
        (n, ...), or a list of such.
    """
    n = tensors[0].shape[0]
    if block_size is None:
        return function(T.arange(n), *tensors)
    size = T.minimum(block_size, n)
    n_blocks = (n + size - 1) // size
    # All steps of a loop have one shape: the last row fills the last block up.
    rows = T.minimum(T.arange(n_blocks * size), n - 1).reshape((n_blocks, size))
    blocks, _ = theano.scan(function, sequences=[rows], non_sequences=list(tensors), strict=True)
    if isinstance(blocks, list):
        return [_joined(one)[:n] for one in blocks]
    return _joined(blocks)[:n]


def _joined(blocks: TensorVariable) -> TensorVariable:
    """(blocks, rows, ...) as (blocks · rows, ...)."""
    shape = T.concatenate([[-1], blocks.shape[2:]])
    return T.reshape(blocks, shape, ndim=blocks.ndim - 1)
