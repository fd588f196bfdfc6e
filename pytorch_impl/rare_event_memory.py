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

import math

import torch
from torch import Tensor

from pytorch_impl.distances import l2_normalize
from pytorch_impl.support.checks import check_choice, check_number
from pytorch_impl.support.memory_slots import (
    check_ages,
    check_memory,
    check_queries,
    nearest_slot,
    overwritten_slots,
)
from pytorch_impl.support.memory_state import EMPTY, RULES, Memory, MemoryLookup, MemoryState
from pytorch_impl.support.precision import in_single_precision

__all__ = ["Memory", "MemoryLookup", "RareEventMemory", "memory_loss", "updated_memory"]


@in_single_precision
def memory_loss(
    queries: Tensor, labels: Tensor, keys: Tensor, key_labels: Tensor, *, margin: float = 0.1
) -> Tensor:
    """Mean hinge loss of the queries that have a key with their label and a key with another.

        max(0, margin + q·k₋ − q·k₊)

    Args:
        queries: (batch, dim), floating; halves compute in float32. Only they get a gradient.
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
        >>> loss = memory_loss(torch.eye(2), torch.tensor([1, 1]), torch.eye(2), torch.arange(2.0))
        >>> round(loss.item(), 4)  # the hinges are 0.1 + 1 - 0 and 0
        0.55
    """
    margin = check_number("margin", margin, least=0)
    check_memory(queries, labels, keys, key_labels)
    unit = l2_normalize(queries)
    keys = keys.detach()
    similarities = unit.detach() @ keys.T  # (batch, size)
    same = key_labels == labels[:, None]
    other = ~same & (key_labels >= 0)
    near, far = keys[nearest_slot(similarities, same)], keys[nearest_slot(similarities, other)]
    hinge = torch.relu(margin + (unit * far).sum(1) - (unit * near).sum(1))  # (batch,)
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
        A `Memory` of new tensors.
    Raises:
        TypeError, ValueError: as for `memory_loss`, and ValueError for another rule.
    Source: Kaiser et al. (2017), section 3.
    Example:
        >>> new = updated_memory(torch.eye(2), torch.tensor([1, 0]), *RareEventMemory(2, 2).memory)
        >>> new.keys.tolist(), new.labels.tolist()
        ([[1.0, 0.0], [0.0, 1.0]], [1.0, 0.0])
    """
    check_choice("rule", rule, RULES)
    check_memory(queries, labels, keys, key_labels)
    check_ages(ages, jitter, keys)
    unit = l2_normalize(queries)
    known = unit.isfinite().all(1)
    filled = key_labels >= 0
    same = key_labels == labels[:, None]  # (batch, size)
    nearest = nearest_slot(unit @ keys.T, same if rule == "average" else filled)  # (batch,)
    match = known & same.gather(1, nearest[:, None])[:, 0] & (rule != "circular")
    slots = nearest[match]
    grown = keys.index_add(0, slots, unit[match])
    new_keys = grown.index_put((slots,), l2_normalize(grown[slots]))
    changed = torch.zeros_like(filled).index_fill(0, slots, True)
    missed = known & ~match
    age = (ages if jitter is None else ages + jitter).where(filled, math.inf)
    written, slots = overwritten_slots(missed, changed, age)
    new_keys[slots] = unit[written]
    new_labels = key_labels.index_copy(0, slots, labels[written].to(key_labels.dtype))
    changed = changed.index_fill(0, slots, True)
    return Memory(new_keys, new_labels, (ages + 1).masked_fill(changed, 0))


class RareEventMemory(MemoryState):
    """Looks up the nearest key of each query. `loss` and `update` are for training.

    Args:
        size: number of slots, all empty at first.
        dim: width of queries and keys.
        margin: of the loss, at least 0.
        rule: of the update, "age", "circular" or "average".
        age_noise: the age of each slot counts for up to this much more or less, at random, when
            the oldest slots are chosen.
        seed: of that noise.
    The memory stays in float32 when a model around it is converted to halves, and takes halves
    as float32.
    Example:
        >>> memory = RareEventMemory(size=3, dim=2)
        >>> memory.update(torch.eye(2), torch.tensor([7, 8]))
        >>> memory(torch.tensor([[0.1, 0.9]])).labels
        tensor([8])
    """

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
        super().__init__(size, dim, margin, rule, age_noise, seed)

    @in_single_precision
    def forward(self, queries: Tensor) -> MemoryLookup:
        """queries: (batch, dim), dtype of the keys. Other dtypes: TypeError; widths: ValueError."""
        check_queries(queries, self.keys)
        unit = l2_normalize(queries)
        filled = self.labels >= 0
        slots = nearest_slot(unit.detach() @ self.keys.T, filled)
        known = filled.any() & unit.isfinite().all(1)
        near = self.keys[slots].where(known[:, None], 0)  # (batch, dim)
        return MemoryLookup(
            self.labels[slots].where(known, EMPTY).long(),
            (unit * near).sum(1),
            slots.where(known, EMPTY),
            torch.cat([queries, near], dim=1),
        )

    def loss(self, queries: Tensor, labels: Tensor) -> Tensor:
        """The `memory_loss` of queries, (batch, dim), and their labels, (batch,) integers."""
        return memory_loss(queries, labels, self.keys, self.labels, margin=self.margin)

    def update(self, queries: Tensor, labels: Tensor, jitter: Tensor | None = None) -> None:
        """Replace the memory by its `updated_memory`; jitter defaults to noise of age_noise."""
        jitter = self.noise() if jitter is None else jitter
        state = updated_memory(queries, labels, *self.memory, jitter, rule=self.rule)
        for old, new in zip(self.memory, state, strict=True):
            old.copy_(new)

    def augment(self, hidden: Tensor) -> Tensor:
        """hidden: (batch, dim). Returns (batch, 2 · dim), each vector beside its nearest key."""
        return self(hidden).augmented
