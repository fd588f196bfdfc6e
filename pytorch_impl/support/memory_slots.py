"""How the rare event memory finds the slot of a query, and how it checks its arguments."""

from __future__ import annotations

import math

from torch import Tensor

from pytorch_impl.support.checks import (
    check_dtype,
    check_floating,
    check_labels,
    check_like,
    check_not_empty,
    check_width,
)
from pytorch_impl.support.ties import first_minimum, rounding_error
from pytorch_impl.support.transforms import check_range

LARGEST_LABEL = 2**24  # labels are stored beside the keys, as floating point numbers


def nearest_slot(similarities: Tensor, usable: Tensor) -> Tensor:
    """For each query, the usable slot with the most similar key; ties go to the lower index.

    Args:
        similarities: (batch, size), cosines of queries and keys.
        usable: (size,) or (batch, size) bools.
    Returns:
        (batch,) int64. Where no slot is usable, the index has no meaning.
    """
    distances = (-similarities).where(usable, math.inf)
    return first_minimum(distances, rounding_error(similarities, "cosine"))


def overwritten_slots(missed: Tensor, matched: Tensor, ages: Tensor) -> tuple[Tensor, Tensor]:
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
    order = ages.masked_fill(matched, -math.inf).argsort(descending=True, stable=True)
    rank = missed.cumsum(0) - 1  # the query with rank r takes slot order[r % size]
    written = missed & (rank >= missed.sum() - len(ages))
    return written, order[rank[written] % len(ages)]


def check_queries(queries: Tensor, keys: Tensor) -> None:
    """TypeError or ValueError unless queries, (batch, dim), fit the keys."""
    check_floating("queries", queries, ndim=2)
    check_dtype("queries", queries, keys.dtype)
    check_width("queries", queries, keys.shape[1])


def check_memory(queries: Tensor, labels: Tensor, keys: Tensor, key_labels: Tensor) -> None:
    """TypeError or ValueError unless queries and labels fit the keys and their labels."""
    check_floating("queries", queries, ndim=2)
    check_not_empty("queries", queries)
    check_labels("labels", labels, len(queries))
    check_range("labels", labels, "labels", LARGEST_LABEL)
    check_floating("keys", keys, ndim=2)
    check_dtype("keys", keys, queries.dtype)
    check_width("keys", keys, queries.shape[1])
    check_not_empty("keys", keys)
    check_like("key_labels", key_labels, "a column of keys", keys[:, 0])


def check_ages(ages: Tensor, jitter: Tensor | None, keys: Tensor) -> None:
    """TypeError or ValueError unless ages, and jitter where there is some, fit the keys."""
    check_like("ages", ages, "a column of keys", keys[:, 0])
    if jitter is not None:
        check_like("jitter", jitter, "ages", ages)
