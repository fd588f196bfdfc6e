"""Which rows each expert of a mixture evaluates, so that all experts are one batched product.

Each expert gets the same number of slots, its capacity: as many as the busiest expert has rows. A
row takes a slot of each of its experts. The slots that stay free hold a copy of row 0, and nothing
reads their answers.
"""

from __future__ import annotations

import tensorflow as tf


def expert_slots(expert: tf.Tensor, n_experts: int) -> tuple[tf.Tensor, tf.Tensor]:
    """The slot of each choice, (batch, k), and the row in each slot, (n_experts, capacity).

    expert: (batch, k), int32.
    """
    batch, k = tf.unstack(tf.shape(expert))
    chosen = tf.reduce_sum(tf.one_hot(expert, n_experts, dtype=tf.int32), axis=1)
    counts = tf.cumsum(chosen, axis=0)
    position = tf.gather(counts, expert, batch_dims=1) - 1  # of a row among those of its expert
    capacity = tf.reduce_max(tf.reduce_sum(chosen, axis=0))
    slot = expert * capacity + position
    row = tf.repeat(tf.range(batch), k)
    rows = tf.scatter_nd(tf.reshape(slot, [-1, 1]), row, [n_experts * capacity])
    return slot, tf.reshape(rows, [n_experts, capacity])
