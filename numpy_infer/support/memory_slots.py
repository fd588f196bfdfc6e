"""How the rare event memory finds the slot of a query, and how it checks its arguments."""

from __future__ import annotations

import numpy as np

from numpy_infer.support.checks import (
    check_dtype,
    check_floating,
    check_integers,
    check_like,
    check_not_empty,
    check_shape,
    check_width,
)
from numpy_infer.support.ties import first_minimum

LARGEST_LABEL = 2**24  # labels are stored beside the keys, as floating point numbers


def nearest_slot(similarities: np.ndarray, usable: np.ndarray) -> np.ndarray:
    """For each query, the usable slot with the most similar key; ties go to the lower index.

    Args:
        similarities: (batch, size), cosines of queries and keys.
        usable: (size,) or (batch, size) bools.
    Returns:
        (batch,) int64. Where no slot is usable, the index has no meaning.
    """
    distances = np.where(usable, -similarities, np.inf)
    return first_minimum(distances, 32 * np.finfo(similarities.dtype).eps)


def overwritten_slots(
    missed: np.ndarray, matched: np.ndarray, ages: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Which queries without a matching slot are written, and over which slots.

    Slots are taken in this order: 1. empty ones, 2. the oldest unmatched ones, 3. matched ones.
    With more such queries than slots, the last queries win.

    Args:
        missed: (batch,) bools, the queries without a matching slot.
        matched: (size,) bools, the slots that match a query.
        ages: (size,), infinite for an empty slot.
    Returns:
        (batch,) bools, the queries that are written, and their slots, int64.
    """
    order = np.argsort(-np.where(matched, -np.inf, ages), kind="stable")
    rank = missed.cumsum() - 1  # the query with rank r takes slot order[r % size]
    written = missed & (rank >= missed.sum() - len(ages))
    return written, order[rank[written] % len(ages)]


def check_queries(queries: np.ndarray, keys: np.ndarray) -> None:
    """TypeError or ValueError unless queries, (batch, dim), fit the keys."""
    check_floating("queries", queries, ndim=2)
    check_dtype("queries", queries, keys.dtype)
    check_width("queries", queries, keys.shape[1])


def check_memory(
    queries: np.ndarray, labels: np.ndarray, keys: np.ndarray, key_labels: np.ndarray
) -> None:
    """TypeError or ValueError unless queries and labels fit the keys and their labels."""
    check_floating("queries", queries, ndim=2)
    check_not_empty("queries", queries)
    check_integers("labels", labels, ndim=1)
    check_shape("labels", labels, queries.shape[:1])
    if not (labels.min() >= 0 and labels.max() <= LARGEST_LABEL):
        got = f"{labels.min()}..{labels.max()}"
        raise ValueError(f"labels: expected labels in 0..{LARGEST_LABEL}, got {got}")
    check_floating("keys", keys, ndim=2)
    check_dtype("keys", keys, queries.dtype)
    check_width("keys", keys, queries.shape[1])
    check_not_empty("keys", keys)
    check_like("key_labels", key_labels, "a column of keys", keys[:, 0])


def check_ages(ages: np.ndarray, jitter: np.ndarray | None, keys: np.ndarray) -> None:
    """TypeError or ValueError unless ages, and jitter where there is some, fit the keys."""
    check_like("ages", ages, "a column of keys", keys[:, 0])
    if jitter is not None:
        check_like("jitter", jitter, "ages", ages)
