"""Soft nearest neighbor losses of points that are near against the temperature, the quick way.

Up to ‖x‖² / T = NEAR, exp(−D / T) neither overflows nor vanishes in float32: N is then one
product and one exp, and the gradient is a product again. `soft_nearest_neighbor_loss` chooses.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

NEAR = 16.0


def near_losses(
    x: tf.Tensor, labels: tf.Tensor, temperature: tf.Tensor, rows: tf.Tensor, in_one: bool
) -> tf.Tensor:
    """The losses of points around the origin, (n,), with a gradient of their own.

    rows: (blocks, rows). N = exp(−D / T) is symmetric and comes from one product. So is S, with
    S_ij = N_ij (a_i + a_j), less b_i + b_j where i and j are partners, for a and b the upstream
    gradient divided by the two sums; the gradient by x is 2 / T of S x − S1 · x. In blocks, N
    is computed again for it.
    """
    n = tf.shape(labels)[0]

    @tf.custom_gradient
    def losses(x: tf.Tensor, temperature: tf.Tensor) -> tuple[tf.Tensor, Callable[..., Any]]:
        square = tf.reduce_sum(x * x, axis=1, keepdims=True)
        one = tf.ones_like(square)
        queries = tf.concat([2 * x, -square, -one], 1) / temperature
        keys = tf.concat([x, one, square], 1)

        def neighbors(block: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            """N from these rows to all points, and which of these are partners, (rows, n)."""
            near = tf.exp(tf.matmul(tf.gather(queries, block), keys, transpose_b=True))
            itself = tf.stack([tf.range(tf.shape(block)[0]), block], 1)
            near = tf.tensor_scatter_nd_update(near, itself, tf.zeros_like(block, x.dtype))
            return near, tf.gather(labels, block)[:, None] == labels

        whole = neighbors(rows[0]) if in_one else None

        def by_rows(function: Callable[..., tf.Tensor]) -> tf.Tensor:
            if whole is not None:
                return function(rows[0], *whole)
            return by_blocks(lambda block: function(block, *neighbors(block)), rows, x.dtype)[:n]

        def sums(_: tf.Tensor, near: tf.Tensor, partners: tf.Tensor) -> tf.Tensor:
            same = tf.where(partners, near, tf.zeros_like(near))
            return tf.stack([tf.reduce_sum(near, axis=1), tf.reduce_sum(same, axis=1)], 1)

        others, same = tf.unstack(by_rows(sums), axis=1)
        alone = same == 0
        others, same = (tf.where(alone, tf.ones_like(sum_), sum_) for sum_ in (others, same))

        def gradient(upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            upstream = tf.where(alone, tf.zeros_like(upstream), upstream)
            apart = upstream / others
            nearer = apart - upstream / same

            def moved(block: tf.Tensor, near: tf.Tensor, partners: tf.Tensor) -> tf.Tensor:
                pulls = near * tf.where(
                    partners,
                    tf.gather(nearer, block)[:, None] + nearer,
                    tf.gather(apart, block)[:, None] + apart,
                )
                own = tf.gather(x, block)
                return tf.matmul(pulls, x) - tf.reduce_sum(pulls, axis=1, keepdims=True) * own

            of_x = 2 / temperature * by_rows(moved)
            # The loss is a function of x / √T, which ties the two gradients together.
            return of_x, -tf.reduce_sum(x * of_x) / (2 * temperature)

        return tf.math.log(others / same), gradient

    return losses(x, temperature)


def by_blocks(
    function: Callable[[tf.Tensor], tf.Tensor], rows: tf.Tensor, dtype: tf.DType
) -> tf.Tensor:
    """What a function makes of each block of rows, two blocks at a time."""
    found = tf.map_fn(function, rows, parallel_iterations=2, fn_output_signature=dtype)
    return tf.reshape(found, tf.concat([[-1], tf.shape(found)[2:]], 0))
