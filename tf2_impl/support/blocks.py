"""Functions of many rows, computed one block of rows at a time, so that memory stays bounded."""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf


def by_blocks(
    function: Callable[..., tf.Tensor],
    block_size: int | None,
    *tensors: tf.Tensor,
    dtype: tf.DType,
) -> tf.Tensor:
    """Join function(rows, *tensors) over blocks of rows.

    The gradient computes each block again instead of keeping what it holds. Where TensorFlow cannot
    build that, all rows are one block: in a graph, under two tapes or a persistent one, it builds
    second derivatives at once, and fails at recomputed gradients within a loop.

    Args:
        function: of row indices, (rows,), and the tensors; returns (rows, ...).
        block_size: rows of a block; None for one block of all rows.
        tensors: the first one has n rows.
        dtype: of the result.
    Returns:
        (n, ...).
    """
    n = tf.shape(tensors[0])[0]
    if block_size is not None:
        recomputed = tf.recompute_grad(function)  # knows gradients by its arguments alone
        try:
            return map_blocks(lambda rows: recomputed(rows, *tensors), n, block_size, dtype)
        except (AssertionError, NotImplementedError):
            pass
    return function(tf.range(n), *tensors)


def map_blocks(
    function: Callable[[tf.Tensor], tf.Tensor], n: tf.Tensor, block_size: int, dtype: tf.DType
) -> tf.Tensor:
    """Join function(rows) over blocks of n rows, two blocks at a time: (n, ...)."""
    block_size = tf.minimum(block_size, n)
    n_blocks = (n + block_size - 1) // block_size
    # All steps of a loop have one shape: the last row fills the last block up.
    rows = tf.minimum(tf.range(n_blocks * block_size), n - 1)
    rows = tf.reshape(rows, (n_blocks, block_size))
    blocks = tf.map_fn(function, rows, parallel_iterations=2, fn_output_signature=dtype)
    return tf.reshape(blocks, tf.concat([[-1], tf.shape(blocks)[2:]], 0))[:n]
