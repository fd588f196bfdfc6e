"""How the rare event memory finds the slot of a query, and how it checks its arguments."""

from __future__ import annotations

import math

import tensorflow as tf

from tf2_impl.support.checks import (
    check_dtype,
    check_floating,
    check_labels,
    check_like,
    check_not_empty,
    check_values,
    check_width,
    size,
)
from tf2_impl.support.ties import first_minimum, rounding_error

LARGEST_LABEL = 2**24  # labels are stored beside the keys, as floating point numbers


def nearest_slot(similarities: tf.Tensor, usable: tf.Tensor) -> tf.Tensor:
    """For each query, the usable slot with the most similar key; ties go to the lower index.

    Args:
        similarities: (batch, size), cosines of queries and keys.
        usable: (size,) or (batch, size) bools.
    Returns:
        (batch,) int64. Where no slot is usable, the index has no meaning.
    """
    distances = tf.where(usable, -similarities, tf.constant(math.inf, similarities.dtype))
    return first_minimum(distances, rounding_error(similarities, "cosine"))


def overwritten_slots(
    missed: tf.Tensor, matched: tf.Tensor, ages: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Which queries without a matching slot are written, and over which slots.

    Slots are taken in this order: 1. empty ones, 2. the oldest unmatched ones, 3. matched ones.
    With more such queries than slots, the last queries win.

    Args:
        missed: (batch,) bools, the queries without a matching slot.
        matched: (size,) bools, the slots that match a query.
        ages: (size,), infinite for an empty slot.
    Returns:
        (batch,) bools, the queries that are written, and their slots, (written, 1) int32.
    """
    infinity = tf.constant(math.inf, ages.dtype)
    order = tf.argsort(tf.where(matched, -infinity, ages), direction="DESCENDING", stable=True)
    count = tf.cast(missed, tf.int32)
    rank = tf.cumsum(count) - 1  # the query with rank r takes slot order[r % size]
    written = missed & (rank >= tf.reduce_sum(count) - tf.size(ages))
    return written, tf.gather(order, tf.boolean_mask(rank, written) % tf.size(ages))[:, None]


def marked(mask: tf.Tensor, slots: tf.Tensor) -> tf.Tensor:
    """The mask, (size,) bools, with True at these slots, (n, 1)."""
    return tf.tensor_scatter_nd_update(mask, slots, tf.ones_like(slots[:, 0], tf.bool))


def check_queries(queries: tf.Tensor, keys: tf.Tensor) -> None:
    """TypeError or ValueError unless queries, (batch, dim), fit the keys."""
    check_floating("queries", queries, ndim=2)
    check_dtype("queries", queries, keys.dtype)
    check_width("queries", queries, keys.shape[1])


def check_memory(
    queries: tf.Tensor, labels: tf.Tensor, keys: tf.Tensor, key_labels: tf.Tensor
) -> tuple[tf.Tensor, ...]:
    """The four as tensors, the labels in the dtype of the keys.

    TypeError or ValueError unless queries and labels fit the keys and their labels.
    """
    queries, labels = tf.convert_to_tensor(queries), tf.convert_to_tensor(labels)
    keys, key_labels = tf.convert_to_tensor(keys), tf.convert_to_tensor(key_labels)
    check_floating("queries", queries, ndim=2)
    check_not_empty("queries", queries)
    check_labels("labels", labels, size(queries, 0))
    wide = tf.cast(labels, tf.int64)
    inside = tf.reduce_all((wide >= 0) & (wide <= LARGEST_LABEL))
    check_values(inside, "labels", f"labels in 0..{LARGEST_LABEL}", labels)
    check_floating("keys", keys, ndim=2)
    check_dtype("keys", keys, queries.dtype)
    check_width("keys", keys, size(queries, 1))
    check_not_empty("keys", keys)
    check_like("key_labels", key_labels, "a column of keys", keys[:, 0])
    return queries, tf.cast(labels, keys.dtype), keys, key_labels


def check_ages(
    ages: tf.Tensor, jitter: tf.Tensor | None, keys: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor | None]:
    """Ages and jitter as tensors; TypeError or ValueError unless they fit the keys."""
    ages = tf.convert_to_tensor(ages)
    check_like("ages", ages, "a column of keys", keys[:, 0])
    if jitter is not None:
        jitter = tf.convert_to_tensor(jitter)
        check_like("jitter", jitter, "ages", ages)
    return ages, jitter
