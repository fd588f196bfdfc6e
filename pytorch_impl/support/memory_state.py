"""The state of the rare event memory: its slots, the noise of their ages, and what reads them."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from pytorch_impl.support.checks import check_choice, check_count, check_number
from pytorch_impl.support.initializers import generator
from pytorch_impl.support.precision import FullPrecision, single

RULES = ("age", "circular", "average")
EMPTY = -1  # the label of an empty slot


class MemoryLookup(NamedTuple):
    """The nearest key of each query. Without a key, or for a query with NaN, it is −1 and zeros."""

    labels: Tensor  # (batch,) int64
    similarities: Tensor  # (batch,), cosines of queries and keys
    slots: Tensor  # (batch,) int64
    augmented: Tensor  # (batch, 2 · dim), each query beside its nearest key


class Memory(NamedTuple):
    """The state of a memory: three tensors of one dtype."""

    keys: Tensor  # (size, dim)
    labels: Tensor  # (size,), −1 for an empty slot
    ages: Tensor  # (size,), updates since the slot was last changed


class MemoryState(FullPrecision):
    """A module that holds a `Memory` in buffers; the arguments are those of `RareEventMemory`."""

    keys: Tensor
    labels: Tensor
    ages: Tensor

    def __init__(
        self, size: int, dim: int, margin: float, rule: str, age_noise: float, seed: int | None
    ) -> None:
        super().__init__()
        check_choice("rule", rule, RULES)
        self.config = {
            "size": check_count("size", size),
            "dim": check_count("dim", dim),
            "margin": check_number("margin", margin, least=0),
            "rule": rule,
            "age_noise": check_number("age_noise", age_noise, least=0),
        }
        self.margin, self.rule = self.config["margin"], rule
        self.age_noise = self.config["age_noise"]
        self.generator = generator(seed)
        dtype = single(torch.get_default_dtype())
        self.register_buffer("keys", torch.zeros(size, dim, dtype=dtype))
        self.register_buffer("labels", torch.full((size,), float(EMPTY), dtype=dtype))
        self.register_buffer("ages", torch.zeros(size, dtype=dtype))

    @property
    def memory(self) -> Memory:
        """The state."""
        return Memory(self.keys, self.labels, self.ages)

    def noise(self) -> Tensor | None:
        """For each age a number in −age_noise..age_noise, (size,); None without noise."""
        if not self.age_noise:
            return None
        noise = torch.empty_like(self.ages)
        return noise.uniform_(-self.age_noise, self.age_noise, generator=self.generator)

    def orphans(self, age: int) -> Tensor:
        """The filled slots, int64, that none of the last `age` updates changed."""
        age = check_count("age", age)
        return ((self.labels >= 0) & (self.ages >= age)).nonzero()[:, 0]
