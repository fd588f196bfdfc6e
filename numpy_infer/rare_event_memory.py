"""A memory of rare events: keys of unit length with a label and an age each.

    loss        max(0, margin + q·k₋ − q·k₊), k₊ the nearest key with the label of the query q
                and k₋ the nearest with another; the keys are constants
    update      a slot that matches: k ← (q + k) / ‖q + k‖, age ← 0; otherwise q is written over
                the oldest slot
    prediction  the label of the nearest key

Sources: Kaiser, Nachum, Roy, Bengio 2017 (arXiv 1703.03129); seed topic, ask your neighbors for
advice.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from numpy_infer.distances import l2_normalize
from numpy_infer.support.checks import (
    check_choice,
    check_count,
    check_dtype,
    check_floating,
    check_integers,
    check_like,
    check_not_empty,
    check_number,
    check_shape,
    check_width,
)
from numpy_infer.support.layer import Layer
from numpy_infer.support.ties import first_minimum

RULES = ("age", "circular", "average")
EMPTY = -1  # the label of an empty slot
LARGEST_LABEL = 2**24  # labels travel with the keys, as floating point numbers


class Recall(NamedTuple):
    """What a memory has to say to each query.

    labels: (batch,) int64, of the nearest key. similarities: (batch,), their cosines. slots:
    (batch,) int64. augmented: (batch, 2 · dim), the query beside its nearest key. Where there is
    no key, or the query has a NaN, label and slot are −1 and the key is zero.
    """

    labels: np.ndarray
    similarities: np.ndarray
    slots: np.ndarray
    augmented: np.ndarray


class Memory(NamedTuple):
    """keys: (size, dim), labels: (size,), −1 for an empty slot, and ages: (size,), of one dtype."""

    keys: np.ndarray
    labels: np.ndarray
    ages: np.ndarray


def memory_loss(
    queries: np.ndarray,
    labels: np.ndarray,
    keys: np.ndarray,
    key_labels: np.ndarray,
    *,
    margin: float = 0.1,
) -> np.ndarray:
    """Mean hinge of the queries that have a key with their label and one with another.

    queries: (batch, dim); labels: (batch,) integers, not negative; keys: (size, dim), of unit
    length; key_labels: (size,), floating, −1 for an empty slot. Returns a scalar, 0 when no query
    has both. TypeError for other types, ValueError for shapes that differ, an empty batch or a
    negative margin.
    """
    margin = check_number("margin", margin, least=0)
    _check_memory(queries, labels, keys, key_labels)
    unit = l2_normalize(queries)
    similarities = unit @ keys.T
    same = key_labels == labels[:, None]
    other = ~same & (key_labels >= 0)
    near, far = keys[_nearest(similarities, same)], keys[_nearest(similarities, other)]
    hinge = np.maximum(margin + (unit * far).sum(axis=1) - (unit * near).sum(axis=1), 0)
    both = same.any(axis=1) & other.any(axis=1)
    return np.where(both, hinge, 0).sum() / np.maximum(both.sum(), 1).astype(unit.dtype)


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
    """The memory once it has seen a batch: all queries meet it as it was before.

    A slot matches a query: by rule "age" when it is the nearest of all and has its label; by rule
    "average" when it is the nearest with its label; by rule "circular" never. Queries that one
    slot matches are added to it together. The others are written, in their order, over the
    slots that match none, empty ones first, then the oldest, and at last over those that do; of
    more of them than slots the last ones stay. A query with a NaN changes nothing. jitter: (size,),
    added to the ages to choose by. All slots age by 1, those in use are of age 0. Other arguments
    and errors as for `memory_loss`.
    """
    check_choice("rule", rule, RULES)
    _check_memory(queries, labels, keys, key_labels)
    check_like("ages", ages, "a column of keys", keys[:, 0])
    if jitter is not None:
        check_like("jitter", jitter, "ages", ages)
    unit = l2_normalize(queries)
    known = np.isfinite(unit).all(axis=1)
    filled = key_labels >= 0
    same = key_labels == labels[:, None]
    target = _nearest(unit @ keys.T, same if rule == "average" else filled)
    match = known & same[np.arange(len(unit)), target] & (rule != "circular")
    matched = target[match]
    grown = keys.copy()
    np.add.at(grown, matched, unit[match])
    new_keys = grown.copy()
    new_keys[matched] = l2_normalize(grown[matched])
    used = np.zeros(len(keys), bool)
    used[matched] = True
    # The places of those that are written: the r-th gets the r-th of the slots in this order.
    age = np.where(filled, ages if jitter is None else ages + jitter, np.inf)
    order = np.argsort(-np.where(used, -np.inf, age), kind="stable")
    written = known & ~match
    rank = written.cumsum() - 1
    written &= rank >= written.sum() - len(keys)
    slots = order[rank[written] % len(keys)]
    new_keys[slots] = unit[written]
    new_labels = key_labels.copy()
    new_labels[slots] = labels[written]
    used[slots] = True
    return Memory(new_keys, new_labels, np.where(used, ages.dtype.type(0), ages + 1))


class RareEventMemory(Layer):
    """Queries, (batch, dim), to their `Recall`.

    keys: (size, dim), of unit length; labels: (size,), −1 for an empty slot; ages: (size,).
    """

    def __init__(
        self, previous: Layer, keys: np.ndarray, labels: np.ndarray, ages: np.ndarray
    ) -> None:
        super().__init__(previous)
        check_floating("keys", keys, ndim=2)
        check_like("labels", labels, "a column of keys", keys[:, 0])
        check_like("ages", ages, "labels", labels)
        self.keys = keys
        self.labels = labels
        self.ages = ages

    @staticmethod
    def array_shapes(
        size: int, dim: int, margin: float = 0.1, rule: str = "age", age_noise: float = 0.0
    ) -> dict[str, tuple[int, ...]]:
        """The arrays of a model file, for the configuration that the frameworks share."""
        return {"keys": (size, dim), "labels": (size,), "ages": (size,)}

    def forward(self, queries: np.ndarray) -> Recall:
        """TypeError for another dtype than the keys', ValueError for another width."""
        check_floating("queries", queries, ndim=2)
        check_dtype("queries", queries, self.keys.dtype)
        check_width("queries", queries, self.keys.shape[1])
        unit = l2_normalize(queries)
        filled = self.labels >= 0
        slots = _nearest(unit @ self.keys.T, filled)
        found = filled.any() & np.isfinite(unit).all(axis=1)
        near = np.where(found[:, None], self.keys[slots], 0)
        return Recall(
            np.where(found, self.labels[slots], EMPTY).astype(np.int64),
            (unit * near).sum(axis=1),
            np.where(found, slots, EMPTY),
            np.concatenate([queries, near], axis=1),
        )

    def augment(self, hidden: np.ndarray) -> np.ndarray:
        """hidden: (batch, dim). Returns (batch, 2 · dim), each vector beside its nearest key."""
        return self.forward(hidden).augmented

    def orphans(self, age: int) -> np.ndarray:
        """The slots, int64, with a key that no update has used for so many updates."""
        age = check_count("age", age)
        return np.flatnonzero((self.labels >= 0) & (self.ages >= age))


def _nearest(similarities: np.ndarray, usable: np.ndarray) -> np.ndarray:
    """The slot of the most similar usable key of each query; any where there is none."""
    distances = np.where(usable, -similarities, np.inf)
    return first_minimum(distances, 32 * np.finfo(similarities.dtype).eps)


def _check_memory(
    queries: np.ndarray, labels: np.ndarray, keys: np.ndarray, key_labels: np.ndarray
) -> None:
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
