"""A memory of rare events: slots that hold a key of length 1, a label and an age each.

    loss        max(0, margin + q·k₋ − q·k₊) with q = query / ‖query‖, k₊ the most similar key with
                the query's label, and k₋ the most similar key with another label
    update      1. If the nearest key k has the query's label: k ← (q + k) / ‖q + k‖.
                2. Otherwise the query and its label overwrite the oldest slot.
                3. Changed slots get age 0, all other slots age by 1.
    prediction  the label of the nearest key

Source: Kaiser, Nachum, Roy, Bengio (2017), Learning to remember rare events, arXiv 1703.03129.
"""

from __future__ import annotations

import math
from typing import Any

import keras
import tensorflow as tf

from tf2_impl.distances import l2_normalize
from tf2_impl.support.checks import check_choice, check_number
from tf2_impl.support.memory_slots import (
    check_ages,
    check_memory,
    check_queries,
    marked,
    nearest_slot,
    overwritten_slots,
)
from tf2_impl.support.memory_state import EMPTY, RULES, Memory, MemoryLookup, MemoryState
from tf2_impl.support.precision import in_single_precision

__all__ = ["Memory", "MemoryLookup", "RareEventMemory", "memory_loss", "updated_memory"]


@in_single_precision
def memory_loss(
    queries: tf.Tensor,
    labels: tf.Tensor,
    keys: tf.Tensor,
    key_labels: tf.Tensor,
    *,
    margin: float = 0.1,
) -> tf.Tensor:
    """Mean hinge loss of the queries that have a key with their label and a key with another.

        max(0, margin + q·k₋ − q·k₊)

    Args:
        queries: (batch, dim), floating; halves compute in float32. Only they get a gradient.
        labels: (batch,) integers in 0..2²⁴.
        keys: (size, dim), of length 1, dtype of queries.
        key_labels: (size,), dtype of keys, −1 for an empty slot.
        margin: at least 0.
    Returns:
        A scalar, 0 when no query has both keys.
    Raises:
        TypeError: for other dtypes. ValueError: for shapes that differ, an empty batch, a label
        out of range, or a negative margin.
    Source: Kaiser et al. (2017), section 3.
    Example:
        >>> loss = memory_loss(tf.eye(2), tf.constant([1, 1]), tf.eye(2), tf.range(2.0))
        >>> round(float(loss), 4)  # the hinges are 0.1 + 1 - 0 and 0
        0.55
    """
    margin = check_number("margin", margin, least=0)
    queries, labels, keys, key_labels = check_memory(queries, labels, keys, key_labels)
    unit = l2_normalize(queries)
    keys = tf.stop_gradient(keys)
    similarities = tf.matmul(tf.stop_gradient(unit), keys, transpose_b=True)  # (batch, size)
    same = key_labels == labels[:, None]
    other = ~same & (key_labels >= 0)
    near = tf.gather(keys, nearest_slot(similarities, same))
    far = tf.gather(keys, nearest_slot(similarities, other))
    hinge = tf.nn.relu(
        margin + tf.reduce_sum(unit * far, axis=1) - tf.reduce_sum(unit * near, axis=1)
    )  # (batch,)
    both = tf.reduce_any(same, axis=1) & tf.reduce_any(other, axis=1)
    count = tf.math.count_nonzero(both, dtype=hinge.dtype)
    return tf.reduce_sum(tf.where(both, hinge, tf.zeros_like(hinge))) / tf.maximum(count, 1)


@in_single_precision
def updated_memory(
    queries: tf.Tensor,
    labels: tf.Tensor,
    keys: tf.Tensor,
    key_labels: tf.Tensor,
    ages: tf.Tensor,
    jitter: tf.Tensor | None = None,
    *,
    rule: str = "age",
) -> Memory:
    """The memory after a batch of queries, each compared with the memory as it was before.

    1. A slot matches a query by rule "age" if its key is the nearest of all and has the query's
       label; by rule "average" if its key is the nearest with that label; by "circular" never.
    2. A query is added to the key that it matches, and the sum is scaled to length 1. Several
       queries that match one slot are added together.
    3. Queries without a matching slot overwrite slots in this order: empty ones, the oldest
       unmatched ones, matched ones. With more such queries than slots, the last queries win.
    4. Changed slots get age 0, all other slots age by 1. A query with NaN changes nothing.

    Args:
        queries, labels, keys, key_labels: as for `memory_loss`.
        ages: (size,), dtype of keys.
        jitter: (size,), added to the ages when the oldest slots are chosen.
        rule: "age", "circular" or "average".
    Returns:
        A `Memory` of new tensors.
    Raises:
        TypeError, ValueError: as for `memory_loss`, and ValueError for another rule.
    Source: Kaiser et al. (2017), section 3.
    Example:
        >>> new = updated_memory(tf.eye(2), tf.constant([1, 0]), *RareEventMemory(2, 2).memory)
        >>> new.keys.numpy().tolist(), new.labels.numpy().tolist()
        ([[1.0, 0.0], [0.0, 1.0]], [1.0, 0.0])
    """
    check_choice("rule", rule, RULES)
    queries, labels, keys, key_labels = check_memory(queries, labels, keys, key_labels)
    ages, jitter = check_ages(ages, jitter, keys)
    unit = l2_normalize(tf.stop_gradient(queries))
    known = tf.reduce_all(tf.math.is_finite(unit), axis=1)
    filled = key_labels >= 0
    same = key_labels == labels[:, None]  # (batch, size)
    similarities = tf.matmul(unit, keys, transpose_b=True)
    nearest = nearest_slot(similarities, same if rule == "average" else filled)  # (batch,)
    match = known & tf.gather(same, nearest, batch_dims=1) & (rule != "circular")
    slots = tf.boolean_mask(nearest, match)[:, None]
    grown = tf.tensor_scatter_nd_add(keys, slots, tf.boolean_mask(unit, match))
    unit_rows = l2_normalize(tf.gather_nd(grown, slots))
    new_keys = tf.tensor_scatter_nd_update(grown, slots, unit_rows)
    changed = marked(tf.zeros_like(filled), slots)
    missed = known & ~match
    infinity = tf.constant(math.inf, ages.dtype)
    age = tf.where(filled, ages if jitter is None else ages + jitter, infinity)
    written, slots = overwritten_slots(missed, changed, age)
    new_keys = tf.tensor_scatter_nd_update(new_keys, slots, tf.boolean_mask(unit, written))
    new_labels = tf.tensor_scatter_nd_update(key_labels, slots, tf.boolean_mask(labels, written))
    new_ages = tf.where(marked(changed, slots), tf.zeros_like(ages), ages + 1)
    return Memory(new_keys, new_labels, new_ages)


@keras.saving.register_keras_serializable("fourfold")
class RareEventMemory(MemoryState):
    """Looks up the nearest key of each query. `loss` and `update` are for training.

    Args:
        size: number of slots, all empty at first.
        dim: width of queries and keys.
        margin: of the loss, at least 0.
        rule: of the update, "age", "circular" or "average".
        age_noise: the age of each slot counts for up to this much more or less, at random, when
            the oldest slots are chosen.
        seed: of that noise.
    The memory stays in float32 under a policy of halves, and takes halves as float32.
    Example:
        >>> memory = RareEventMemory(size=3, dim=2)
        >>> memory.update(tf.eye(2), tf.constant([7, 8]))
        >>> memory(tf.constant([[0.1, 0.9]])).labels.numpy()
        array([8])
    """

    def __init__(
        self,
        size: int,
        dim: int,
        *,
        margin: float = 0.1,
        rule: str = "age",
        age_noise: float = 0.0,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(size, dim, margin, rule, age_noise, seed, **kwargs)

    @in_single_precision
    def call(self, queries: tf.Tensor) -> MemoryLookup:
        """queries: (batch, dim), dtype of the keys. Other dtypes: TypeError; widths: ValueError."""
        keys, labels, _ = self.memory
        check_queries(queries, keys)
        unit = l2_normalize(queries)
        filled = labels >= 0
        similarities = tf.matmul(tf.stop_gradient(unit), keys, transpose_b=True)
        slots = nearest_slot(similarities, filled)
        known = tf.reduce_any(filled) & tf.reduce_all(tf.math.is_finite(unit), axis=1)
        near = tf.where(
            known[:, None], tf.gather(keys, slots), tf.zeros_like(queries)
        )  # (batch, dim)
        none = tf.constant(EMPTY, tf.int64)
        return MemoryLookup(
            tf.where(known, tf.cast(tf.gather(labels, slots), tf.int64), none),
            tf.reduce_sum(unit * near, axis=1),
            tf.where(known, slots, none),
            tf.concat([queries, near], axis=1),
        )

    def loss(self, queries: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        """The `memory_loss` of queries, (batch, dim), and their labels, (batch,) integers."""
        return memory_loss(queries, labels, *self.memory[:2], margin=self.margin)

    def update(
        self, queries: tf.Tensor, labels: tf.Tensor, jitter: tf.Tensor | None = None
    ) -> None:
        """Replace the memory by its `updated_memory`; jitter defaults to noise of age_noise."""
        jitter = self.noise() if jitter is None else jitter
        state = updated_memory(queries, labels, *self.memory, jitter, rule=self.rule)
        for variable, new in zip((self.keys, self.labels, self.ages), state, strict=True):
            variable.assign(new)

    def augment(self, hidden: tf.Tensor) -> tf.Tensor:
        """hidden: (batch, dim). Returns (batch, 2 · dim), each vector beside its nearest key."""
        return self(hidden).augmented
