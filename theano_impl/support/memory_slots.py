"""How the rare event memory finds the slot of a query, and how it checks its arguments."""

from __future__ import annotations

import math

import numpy as np
import theano.tensor as T
from theano.tensor.var import TensorVariable

from theano_impl.support.checks import (
    check_dtype,
    check_floating,
    check_labels,
    check_like,
    check_not_empty,
    check_values,
    check_width,
)
from theano_impl.support.ties import first_minimum, rounding_error

LARGEST_LABEL = 2**24  # labels are stored beside the keys, as floating point numbers


def nearest_slot(similarities: TensorVariable, usable: TensorVariable) -> TensorVariable:
    """For each query, the usable slot with the most similar key; ties go to the lower index.

    Args:
        similarities: (batch, size), cosines of queries and keys.
        usable: (size,) or (batch, size) bools.
    Returns:
        (batch,) int64. Where no slot is usable, the index has no meaning.
    """
    distances = T.switch(usable, -similarities, np.asarray(math.inf, similarities.dtype))
    return first_minimum(distances, rounding_error(similarities, "cosine"))


def overwritten_slots(
    missed: TensorVariable, matched: TensorVariable, ages: TensorVariable
) -> tuple[TensorVariable, TensorVariable]:
    """Which queries without a matching slot are written, and over which slots.

    Slots are taken in this order: 1. empty ones, 2. the oldest unmatched ones, 3. matched ones.
    With more such queries than slots, the last queries win.

    Args:
        missed: (batch,) bools, the queries without a matching slot.
        matched: (size,) bools, the slots that match a query.
        ages: (size,), infinite for an empty slot.
    Returns:
        The indices of the queries that are written, and their slots, int64.
    """
    size = ages.shape[0]
    infinity = np.asarray(math.inf, ages.dtype)
    order = T.argsort(-T.switch(matched, -infinity, ages), kind="mergesort")
    # In C, the cumsum of booleans is a boolean.
    rank = T.cumsum(T.cast(missed, "int64")) - 1  # rank r takes slot order[r % size]
    (written,) = (missed & (rank >= T.sum(missed) - size)).nonzero()
    return written, order[rank[written] % size]


def check_queries(queries: TensorVariable, keys: TensorVariable) -> TensorVariable:
    """The queries, (batch, dim), as a variable that is checked to fit the keys."""
    queries = T.as_tensor_variable(queries)
    check_floating("queries", queries, ndim=2)
    check_dtype("queries", queries, keys.dtype)
    return check_width("queries", queries, keys.shape[1])


def check_memory(
    queries: TensorVariable,
    labels: TensorVariable,
    keys: TensorVariable,
    key_labels: TensorVariable,
) -> tuple[TensorVariable, ...]:
    """The four with their checks, the labels in the dtype of the keys.

    TypeError now, or AssertionError when it runs, unless queries and labels fit the keys and their
    labels.
    """
    queries, labels = T.as_tensor_variable(queries), T.as_tensor_variable(labels)
    keys, key_labels = T.as_tensor_variable(keys), T.as_tensor_variable(key_labels)
    check_floating("queries", queries, ndim=2)
    queries = check_not_empty("queries", queries)
    labels = check_labels("labels", labels, queries.shape[0])
    inside = T.all((labels >= 0) & (labels <= LARGEST_LABEL))
    labels = check_values(labels, inside, "labels", f"labels in 0..{LARGEST_LABEL}")
    check_floating("keys", keys, ndim=2)
    check_dtype("keys", keys, queries.dtype)
    keys = check_width("keys", keys, queries.shape[1])
    keys = check_not_empty("keys", keys)
    key_labels = check_like("key_labels", key_labels, "a column of keys", keys[:, 0])
    return queries, T.cast(labels, keys.dtype), keys, key_labels


def check_ages(
    ages: TensorVariable, jitter: TensorVariable | None, keys: TensorVariable
) -> tuple[TensorVariable, TensorVariable | None]:
    """Ages and jitter with their checks, as for `check_memory`."""
    ages = check_like("ages", T.as_tensor_variable(ages), "a column of keys", keys[:, 0])
    if jitter is not None:
        jitter = check_like("jitter", T.as_tensor_variable(jitter), "ages", ages)
    return ages, jitter
