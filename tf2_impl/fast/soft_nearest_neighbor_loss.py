"""Fast soft nearest neighbor losses: two products and one exp, for points near against T.

1. While all ‖x − mean‖² / T are at most NEAR, N_ij = exp(−D_ij / T) neither overflows nor vanishes
   in float32: N comes from one product and one exp, and no sum needs a logarithm of its terms.
2. The gradient is written by hand, as one product with N; with a block_size N is computed again for
   it. It is made of TensorFlow's operations, so that it can be differentiated itself.
3. Whether the points are near is known only when a graph runs: a condition chooses there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from tf2_impl.support.blocks import map_blocks

NEAR = 16.0  # the largest ‖x − mean‖² / T


def applies(embeddings: tf.Tensor, distance: str) -> bool:
    """Whether there is a fast way; `losses` takes the plain one for points that are not near."""
    return distance == "sqeuclidean" and embeddings.dtype in (tf.float32, tf.float64)


def losses(
    embeddings: tf.Tensor,
    labels: tf.Tensor,
    temperature: tf.Tensor,
    block_size: int | None,
    plain_losses: Callable[..., tf.Tensor],
) -> tf.Tensor:
    """The loss of each anchor by squared distances, (n,), where `applies` is true.

    plain_losses: the same function of (embeddings, labels, temperature), of any points, with
    block_size as an option.
    """
    x = embeddings - tf.stop_gradient(tf.reduce_mean(embeddings, axis=0))
    reach = tf.reduce_max(tf.reduce_sum(x * x, axis=1)) / temperature

    def near() -> tf.Tensor:
        return _near_losses(x, labels, temperature, block_size)

    def plain() -> tf.Tensor:
        return plain_losses(embeddings, labels, temperature)

    try:
        return tf.cond((reach >= 0) & (reach <= NEAR), near, plain)  # plain for NaN
    except (AssertionError, NotImplementedError):
        # In a graph, under two tapes or a persistent one, TensorFlow builds second derivatives at
        # once, and fails at custom and recomputed gradients within a condition.
        return plain_losses(embeddings, labels, temperature, block_size=None)


def _near_losses(
    x: tf.Tensor, labels: tf.Tensor, temperature: tf.Tensor, block_size: int | None
) -> tf.Tensor:
    """The losses of centered points, (n,), with a gradient by hand.

    For a_i = grad_output_i / Σ_j N_ij and b_i = grad_output_i / Σ_{y_j = y_i} N_ij, let

        S_ij = N_ij (a_i + a_j),  between positives  N_ij (a_i + a_j − b_i − b_j)

    The gradient by x is 2 / T · (S x − S1 · x).
    """
    n = tf.shape(labels)[0]

    @tf.custom_gradient
    def near_losses(x: tf.Tensor, temperature: tf.Tensor) -> tuple[tf.Tensor, Callable[..., Any]]:
        square = tf.reduce_sum(x * x, axis=1, keepdims=True)
        ones = tf.ones_like(square)
        queries = tf.concat([2 * x, -square, -ones], 1) / temperature
        keys = tf.concat([x, ones, square], 1)

        def neighbors(rows: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            """N of these rows, (rows, n), and which labels are the same, (rows, n)."""
            N = tf.exp(tf.matmul(tf.gather(queries, rows), keys, transpose_b=True))
            itself = tf.stack([tf.range(tf.shape(rows)[0]), rows], 1)
            N = tf.tensor_scatter_nd_update(N, itself, tf.zeros_like(rows, x.dtype))
            return N, tf.gather(labels, rows)[:, None] == labels

        all_rows = tf.range(n)
        kept = neighbors(all_rows) if block_size is None else ()

        def by_rows(function: Callable[..., tf.Tensor]) -> tf.Tensor:
            if block_size is None:
                return function(all_rows, *kept)
            return map_blocks(lambda rows: function(rows, *neighbors(rows)), n, block_size, x.dtype)

        def sums(_: tf.Tensor, N: tf.Tensor, same: tf.Tensor) -> tf.Tensor:
            N_same = tf.where(same, N, tf.zeros_like(N))
            return tf.stack([tf.reduce_sum(N, axis=1), tf.reduce_sum(N_same, axis=1)], 1)

        sum_all, sum_same = tf.unstack(by_rows(sums), axis=1)
        singletons = sum_same == 0  # anchors without positives have loss 0
        sum_all, sum_same = (
            tf.where(singletons, tf.ones_like(one), one) for one in (sum_all, sum_same)
        )

        def gradient(grad_output: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            grad_output = tf.where(singletons, tf.zeros_like(grad_output), grad_output)
            a = grad_output / sum_all
            a_less_b = a - grad_output / sum_same

            def products(rows: tf.Tensor, N: tf.Tensor, same: tf.Tensor) -> tf.Tensor:
                S = N * tf.where(
                    same,
                    tf.gather(a_less_b, rows)[:, None] + a_less_b,
                    tf.gather(a, rows)[:, None] + a,
                )
                row_sums = tf.reduce_sum(S, axis=1, keepdims=True)
                return tf.matmul(S, x) - row_sums * tf.gather(x, rows)

            grad_x = 2 / temperature * by_rows(products)
            # The loss depends on x / √T alone: dL/dT = −x · dL/dx / 2T.
            return grad_x, -tf.reduce_sum(x * grad_x) / (2 * temperature)

        return tf.math.log(sum_all / sum_same), gradient

    return near_losses(x, temperature)
