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

import numpy as np

from numpy_infer.distances import l2_normalize
from numpy_infer.support.checks import check_choice, check_number
from numpy_infer.support.layer import Layer
from numpy_infer.support.memory_slots import (
    check_ages,
    check_memory,
    check_queries,
    nearest_slot,
    overwritten_slots,
)
from numpy_infer.support.memory_state import EMPTY, RULES, Memory, MemoryLookup, MemoryState

__all__ = ["Memory", "MemoryLookup", "RareEventMemory", "memory_loss", "updated_memory"]


def memory_loss(
    queries: np.ndarray,
    labels: np.ndarray,
    keys: np.ndarray,
    key_labels: np.ndarray,
    *,
    margin: float = 0.1,
) -> np.ndarray:
    """Mean hinge loss of the queries that have a key with their label and a key with another.

        max(0, margin + q·k₋ − q·k₊)

    Args:
        queries: (batch, dim), float32 or float64.
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
        >>> loss = memory_loss(np.eye(2), np.array([1, 1]), np.eye(2), np.arange(2.0))
        >>> round(loss.item(), 4)  # the hinges are 0.1 + 1 - 0 and 0
        0.55
    """
    margin = check_number("margin", margin, least=0)
    check_memory(queries, labels, keys, key_labels)
    unit = l2_normalize(queries)
    similarities = unit @ keys.T  # (batch, size)
    same = key_labels == labels[:, None]
    other = ~same & (key_labels >= 0)
    near, far = keys[nearest_slot(similarities, same)], keys[nearest_slot(similarities, other)]
    hinge = np.maximum(margin + (unit * far).sum(1) - (unit * near).sum(1), 0)  # (batch,)
    both = same.any(axis=1) & other.any(axis=1)
    count = np.maximum(both.sum(), 1).astype(unit.dtype)
    loss: np.ndarray = np.where(both, hinge, 0).sum() / count
    return loss


def updated_memory(
    queries: np.ndarray,
    labels: np.ndarray,
    keys: np.ndarray,
    key_labels: np.ndarray,
    ages: np.ndarray,
    jitter: np.ndarray | None = None,
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
        A `Memory` of new arrays.
    Raises:
        TypeError, ValueError: as for `memory_loss`, and ValueError for another rule.
    Source: Kaiser et al. (2017), section 3.
    Example:
        >>> empty = np.zeros((2, 2)), np.full(2, -1.0), np.zeros(2)
        >>> new = updated_memory(np.eye(2), np.array([1, 0]), *empty)
        >>> new.keys.tolist(), new.labels.tolist()
        ([[1.0, 0.0], [0.0, 1.0]], [1.0, 0.0])
    """
    check_choice("rule", rule, RULES)
    check_memory(queries, labels, keys, key_labels)
    check_ages(ages, jitter, keys)
    unit = l2_normalize(queries)
    known = np.isfinite(unit).all(axis=1)
    filled = key_labels >= 0
    same = key_labels == labels[:, None]  # (batch, size)
    nearest = nearest_slot(unit @ keys.T, same if rule == "average" else filled)  # (batch,)
    match = known & same[np.arange(len(unit)), nearest] & (rule != "circular")
    slots = nearest[match]
    grown = keys.copy()
    np.add.at(grown, slots, unit[match])
    new_keys = grown.copy()
    new_keys[slots] = l2_normalize(grown[slots])
    changed = np.zeros(len(keys), bool)
    changed[slots] = True
    missed = known & ~match
    age = np.where(filled, ages if jitter is None else ages + jitter, np.inf)
    written, slots = overwritten_slots(missed, changed, age)
    new_keys[slots] = unit[written]
    new_labels = key_labels.copy()
    new_labels[slots] = labels[written]
    changed[slots] = True
    return Memory(new_keys, new_labels, np.where(changed, ages.dtype.type(0), ages + 1))


class RareEventMemory(MemoryState):
    """Looks up the nearest key of each query.

    Args:
        previous: the layer whose output is the queries, (batch, dim), dtype of keys.
        keys: (size, dim), of length 1.
        labels: (size,), dtype of keys, −1 for an empty slot.
        ages: (size,), dtype of keys.
    Raises:
        TypeError: for other dtypes. ValueError: for shapes that differ.
    Example:
        >>> from numpy_infer import Input
        >>> memory = RareEventMemory(Input(), np.eye(2), np.array([7.0, 8.0]), np.zeros(2))
        >>> memory(np.array([[0.1, 0.9]])).labels
        array([8])
    """

    def __init__(
        self, previous: Layer, keys: np.ndarray, labels: np.ndarray, ages: np.ndarray
    ) -> None:
        super().__init__(previous, keys, labels, ages)

    def forward(self, queries: np.ndarray) -> MemoryLookup:
        """queries: (batch, dim), dtype of the keys. Other dtypes: TypeError; widths: ValueError."""
        check_queries(queries, self.keys)
        unit = l2_normalize(queries)
        filled = self.labels >= 0
        slots = nearest_slot(unit @ self.keys.T, filled)
        known = filled.any() & np.isfinite(unit).all(axis=1)
        near = np.where(known[:, None], self.keys[slots], 0)  # (batch, dim)
        return MemoryLookup(
            np.where(known, self.labels[slots], EMPTY).astype(np.int64),
            (unit * near).sum(axis=1),
            np.where(known, slots, EMPTY),
            np.concatenate([queries, near], axis=1),
        )

    def augment(self, hidden: np.ndarray) -> np.ndarray:
        """hidden: (batch, dim). Returns (batch, 2 · dim), each vector beside its nearest key."""
        return self.forward(hidden).augmented
