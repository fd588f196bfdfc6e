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

import math
from typing import NamedTuple

import torch
from torch import Tensor

from pytorch_impl.distances import l2_normalize
from pytorch_impl.support.checks import (
    check_choice,
    check_count,
    check_dtype,
    check_floating,
    check_labels,
    check_like,
    check_not_empty,
    check_number,
    check_width,
)
from pytorch_impl.support.initializers import generator
from pytorch_impl.support.precision import FullPrecision, in_single_precision, single
from pytorch_impl.support.ties import first_minimum, rounding_error
from pytorch_impl.support.transforms import check_range

RULES = ("age", "circular", "average")
EMPTY = -1  # the label of an empty slot
LARGEST_LABEL = 2**24  # labels travel with the keys, as floating point numbers


class Recall(NamedTuple):
    """What a memory has to say to each query.

    labels: (batch,) int64, of the nearest key. similarities: (batch,), their cosines. slots:
    (batch,) int64. augmented: (batch, 2 · dim), the query beside its nearest key. Where there is
    no key, or the query has a NaN, label and slot are −1 and the key is zero.
    """

    labels: Tensor
    similarities: Tensor
    slots: Tensor
    augmented: Tensor


class Memory(NamedTuple):
    """keys: (size, dim), labels: (size,), −1 for an empty slot, and ages: (size,), of one dtype."""

    keys: Tensor
    labels: Tensor
    ages: Tensor


@in_single_precision
def memory_loss(
    queries: Tensor, labels: Tensor, keys: Tensor, key_labels: Tensor, *, margin: float = 0.1
) -> Tensor:
    """Mean hinge of the queries that have a key with their label and one with another.

    queries: (batch, dim); labels: (batch,) integers, not negative; keys: (size, dim), of unit
    length; key_labels: (size,), floating, −1 for an empty slot. Returns a scalar, 0 when no query
    has both. The gradient reaches the queries alone. TypeError for other types, ValueError for
    shapes that differ, an empty batch or a negative margin. Halves compute in float32.
    """
    margin = check_number("margin", margin, least=0)
    _check_memory(queries, labels, keys, key_labels)
    unit = l2_normalize(queries)
    keys = keys.detach()
    similarities = unit.detach() @ keys.T
    same = key_labels == labels[:, None]
    other = ~same & (key_labels >= 0)
    near, far = keys[_nearest(similarities, same)], keys[_nearest(similarities, other)]
    hinge = torch.relu(margin + (unit * far).sum(1) - (unit * near).sum(1))
    both = same.any(1) & other.any(1)
    return hinge.where(both, 0).sum() / both.sum().clamp(min=1)


@in_single_precision
@torch.no_grad()
def updated_memory(
    queries: Tensor,
    labels: Tensor,
    keys: Tensor,
    key_labels: Tensor,
    ages: Tensor,
    jitter: Tensor | None = None,
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
    and errors as for `memory_loss`. Halves compute in float32.
    """
    check_choice("rule", rule, RULES)
    _check_memory(queries, labels, keys, key_labels)
    check_like("ages", ages, "a column of keys", keys[:, 0])
    if jitter is not None:
        check_like("jitter", jitter, "ages", ages)
    unit = l2_normalize(queries)
    known = unit.isfinite().all(1)
    filled = key_labels >= 0
    same = key_labels == labels[:, None]
    target = _nearest(unit @ keys.T, same if rule == "average" else filled)
    match = known & same.gather(1, target[:, None])[:, 0] & (rule != "circular")
    matched = target[match]
    grown = keys.index_add(0, matched, unit[match])
    new_keys = grown.index_put((matched,), l2_normalize(grown[matched]))
    used = torch.zeros_like(filled).index_fill(0, matched, True)
    # The places of those that are written: the r-th gets the r-th of the slots in this order.
    age = (ages if jitter is None else ages + jitter).where(filled, math.inf)
    order = age.masked_fill(used, -math.inf).argsort(descending=True, stable=True)
    written = known & ~match
    rank = written.cumsum(0) - 1
    written &= rank >= written.sum() - len(keys)
    slots = order[rank[written] % len(keys)]
    new_keys[slots] = unit[written]
    new_labels = key_labels.index_copy(0, slots, labels[written].to(key_labels.dtype))
    return Memory(new_keys, new_labels, (ages + 1).masked_fill(used.index_fill(0, slots, True), 0))


class RareEventMemory(FullPrecision):
    """Queries, (batch, dim), to their `Recall`; `loss` and `update` are for training.

    margin: of the loss. rule: of the update, age, circular or average. age_noise: a slot's age
    counts for up to so much more or less when the oldest is looked for, to spread their use. The
    memory starts empty: the first updates fill it. The memory stays in float32 when a model around
    it is converted to halves, and takes halves as float32.
    """

    keys: Tensor
    labels: Tensor
    ages: Tensor

    def __init__(
        self,
        size: int,
        dim: int,
        *,
        margin: float = 0.1,
        rule: str = "age",
        age_noise: float = 0.0,
        seed: int | None = None,
    ) -> None:
        super().__init__()
        size = check_count("size", size)
        dim = check_count("dim", dim)
        margin = check_number("margin", margin, least=0)
        check_choice("rule", rule, RULES)
        age_noise = check_number("age_noise", age_noise, least=0)
        self.config = {
            "size": size,
            "dim": dim,
            "margin": margin,
            "rule": rule,
            "age_noise": age_noise,
        }
        self.margin = margin
        self.rule = rule
        self.age_noise = age_noise
        self.generator = generator(seed)
        dtype = single(torch.get_default_dtype())
        self.register_buffer("keys", torch.zeros(size, dim, dtype=dtype))
        self.register_buffer("labels", torch.full((size,), float(EMPTY), dtype=dtype))
        self.register_buffer("ages", torch.zeros(size, dtype=dtype))

    @in_single_precision
    def forward(self, queries: Tensor) -> Recall:
        """TypeError for another dtype than the keys', ValueError for another width."""
        check_floating("queries", queries, ndim=2)
        check_dtype("queries", queries, self.keys.dtype)
        check_width("queries", queries, self.keys.shape[1])
        unit = l2_normalize(queries)
        filled = self.labels >= 0
        slots = _nearest(unit.detach() @ self.keys.T, filled)
        found = filled.any() & unit.isfinite().all(1)
        near = self.keys[slots].where(found[:, None], 0)
        return Recall(
            self.labels[slots].where(found, EMPTY).long(),
            (unit * near).sum(1),
            slots.where(found, EMPTY),
            torch.cat([queries, near], dim=1),
        )

    def loss(self, queries: Tensor, labels: Tensor) -> Tensor:
        """`memory_loss` of queries, (batch, dim), and their labels, (batch,) integers."""
        return memory_loss(queries, labels, self.keys, self.labels, margin=self.margin)

    def update(self, queries: Tensor, labels: Tensor, jitter: Tensor | None = None) -> None:
        """Change the memory to its `updated_memory`; jitter is drawn when left out."""
        if jitter is None and self.age_noise > 0:
            jitter = torch.empty_like(self.ages)
            jitter.uniform_(-self.age_noise, self.age_noise, generator=self.generator)
        found = updated_memory(queries, labels, *self.memory, jitter, rule=self.rule)
        for old, new in zip(self.memory, found, strict=True):
            old.copy_(new)

    @property
    def memory(self) -> Memory:
        """The state."""
        return Memory(self.keys, self.labels, self.ages)

    def augment(self, hidden: Tensor) -> Tensor:
        """hidden: (batch, dim). Returns (batch, 2 · dim), each vector beside its nearest key."""
        return self(hidden).augmented

    def orphans(self, age: int) -> Tensor:
        """The slots, int64, with a key that no update has used for so many updates."""
        age = check_count("age", age)
        return ((self.labels >= 0) & (self.ages >= age)).nonzero()[:, 0]

    def extra_repr(self) -> str:
        return ", ".join(f"{name}={value!r}" for name, value in self.config.items())


def _nearest(similarities: Tensor, usable: Tensor) -> Tensor:
    """The slot of the most similar usable key of each query; any where there is none."""
    distances = (-similarities).where(usable, math.inf)
    return first_minimum(distances, rounding_error(similarities, "cosine"))


def _check_memory(queries: Tensor, labels: Tensor, keys: Tensor, key_labels: Tensor) -> None:
    check_floating("queries", queries, ndim=2)
    check_not_empty("queries", queries)
    check_labels("labels", labels, len(queries))
    check_range("labels", labels, "labels", LARGEST_LABEL)
    check_floating("keys", keys, ndim=2)
    check_dtype("keys", keys, queries.dtype)
    check_width("keys", keys, queries.shape[1])
    check_not_empty("keys", keys)
    check_like("key_labels", key_labels, "a column of keys", keys[:, 0])
