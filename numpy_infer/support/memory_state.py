"""The state of the rare event memory: its slots, and what reads them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from numpy_infer.support.checks import check_count, check_floating, check_like
from numpy_infer.support.layer import Layer

RULES = ("age", "circular", "average")
EMPTY = -1  # the label of an empty slot


class MemoryLookup(NamedTuple):
    """The nearest key of each query. Without a key, or for a query with NaN, it is −1 and zeros."""

    labels: np.ndarray  # (batch,) int64
    similarities: np.ndarray  # (batch,), cosines of queries and keys
    slots: np.ndarray  # (batch,) int64
    augmented: np.ndarray  # (batch, 2 · dim), each query beside its nearest key


class Memory(NamedTuple):
    """The state of a memory: three arrays of one dtype."""

    keys: np.ndarray  # (size, dim)
    labels: np.ndarray  # (size,), −1 for an empty slot
    ages: np.ndarray  # (size,), updates since the slot was last changed


class MemoryState(Layer):
    """A layer that holds a `Memory`; the arguments are those of `RareEventMemory`."""

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

    def orphans(self, age: int) -> np.ndarray:
        """The filled slots, int64, that none of the last `age` updates changed."""
        age = check_count("age", age)
        return np.flatnonzero((self.labels >= 0) & (self.ages >= age))
