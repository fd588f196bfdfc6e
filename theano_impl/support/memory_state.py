"""The state of the rare event memory: its slots, the noise of their ages, and what reads them."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import theano.tensor as T
from theano.tensor.random.utils import RandomStream
from theano.tensor.var import TensorVariable

from theano_impl.support.checks import check_choice, check_count, check_number, check_seed
from theano_impl.support.layer import Layer

RULES = ("age", "circular", "average")
EMPTY = -1  # the label of an empty slot


class MemoryLookup(NamedTuple):
    """The nearest key of each query. Without a key, or for a query with NaN, it is −1 and zeros."""

    labels: TensorVariable  # (batch,) int64
    similarities: TensorVariable  # (batch,), cosines of queries and keys
    slots: TensorVariable  # (batch,) int64
    augmented: TensorVariable  # (batch, 2 · dim), each query beside its nearest key


class Memory(NamedTuple):
    """The state of a memory: three variables of one dtype."""

    keys: TensorVariable  # (size, dim)
    labels: TensorVariable  # (size,), −1 for an empty slot
    ages: TensorVariable  # (size,), updates since the slot was last changed


class MemoryState(Layer):
    """A layer that holds a `Memory` in buffers; the arguments are those of `RareEventMemory`."""

    def __init__(
        self,
        queries: TensorVariable,
        size: int,
        dim: int,
        margin: float,
        rule: str,
        age_noise: float,
        seed: int | None,
    ) -> None:
        check_choice("rule", rule, RULES)
        config: dict[str, Any] = {
            "size": check_count("size", size),
            "dim": check_count("dim", dim),
            "margin": check_number("margin", margin, least=0),
            "rule": rule,
            "age_noise": check_number("age_noise", age_noise, least=0),
        }
        super().__init__(queries, config=config)
        self.size, self.margin, self.rule = config["size"], config["margin"], rule
        self.age_noise = config["age_noise"]
        self.random = RandomStream(check_seed("seed", seed))
        self.keys = self.add_buffer("keys", np.zeros((size, dim)))
        self.labels = self.add_buffer("labels", np.full(size, EMPTY))
        self.ages = self.add_buffer("ages", np.zeros(size))

    @property
    def memory(self) -> Memory:
        """The state, in shared variables."""
        return Memory(self.keys, self.labels, self.ages)

    def noise(self) -> TensorVariable | None:
        """For each age a number in −age_noise..age_noise, (size,); None without noise."""
        if not self.age_noise:
            return None
        drawn = self.random.uniform(-self.age_noise, self.age_noise, size=(self.size,))
        return T.cast(drawn, self.ages.dtype)

    def orphans(self, age: int) -> TensorVariable:
        """The filled slots, int64, that none of the last `age` updates changed."""
        age = check_count("age", age)
        return T.nonzero((self.labels >= 0) & (self.ages >= age))[0]

    @staticmethod
    def symbolic_inputs(dtype: str) -> list[TensorVariable]:
        return [T.matrix("queries", dtype=dtype)]
