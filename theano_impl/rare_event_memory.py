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

import numpy as np
import theano.tensor as T
from theano.compile.sharedvalue import SharedVariable
from theano.gradient import disconnected_grad
from theano.tensor.var import TensorVariable

from theano_impl.distances import l2_normalize
from theano_impl.support.checks import check_choice, check_number
from theano_impl.support.memory_slots import (
    check_ages,
    check_memory,
    check_queries,
    nearest_slot,
    overwritten_slots,
)
from theano_impl.support.memory_state import EMPTY, RULES, Memory, MemoryLookup, MemoryState

__all__ = ["Memory", "MemoryLookup", "RareEventMemory", "memory_loss", "updated_memory"]


def memory_loss(
    queries: TensorVariable,
    labels: TensorVariable,
    keys: TensorVariable,
    key_labels: TensorVariable,
    *,
    margin: float = 0.1,
) -> TensorVariable:
    """Mean hinge loss of the queries that have a key with their label and a key with another.

        max(0, margin + q·k₋ − q·k₊)

    Args:
        queries: (batch, dim), float32 or float64. Only they get a gradient.
        labels: (batch,) integers in 0..2²⁴.
        keys: (size, dim), of length 1, dtype of queries.
        key_labels: (size,), dtype of keys, −1 for an empty slot.
        margin: at least 0.
    Returns:
        A scalar, 0 when no query has both keys.
    Raises:
        TypeError: for other dtypes. ValueError: for a negative margin. AssertionError, when it
        runs: for shapes that differ, an empty batch, or a label out of range.
    Source: Kaiser et al. (2017), section 3.
    Example:
        >>> loss = memory_loss(T.eye(2), np.array([1, 1]), T.eye(2), np.arange(2.0))
        >>> round(float(loss.eval()), 4)  # the hinges are 0.1 + 1 - 0 and 0
        0.55
    """
    margin = check_number("margin", margin, least=0)
    queries, labels, keys, key_labels = check_memory(queries, labels, keys, key_labels)
    unit = l2_normalize(queries)
    keys = disconnected_grad(keys)
    similarities = T.dot(disconnected_grad(unit), keys.T)  # (batch, size)
    same = T.eq(key_labels, labels[:, None])
    other = ~same & (key_labels >= 0)
    near, far = keys[nearest_slot(similarities, same)], keys[nearest_slot(similarities, other)]
    violation = np.asarray(margin, unit.dtype) + T.sum(unit * far, 1) - T.sum(unit * near, 1)
    # nnet.relu has gradient 0.5 at exactly 0; a switch the other way round would hide NaN.
    hinge = T.switch(violation <= 0, T.zeros_like(violation), violation)  # (batch,)
    both = T.any(same, axis=1) & T.any(other, axis=1)
    total = T.sum(T.switch(both, hinge, T.zeros_like(hinge)))
    return total / T.cast(T.maximum(T.sum(both), 1), unit.dtype)


def updated_memory(
    queries: TensorVariable,
    labels: TensorVariable,
    keys: TensorVariable,
    key_labels: TensorVariable,
    ages: TensorVariable,
    jitter: TensorVariable | None = None,
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
        A `Memory` of new variables.
    Raises:
        As `memory_loss`, and ValueError for another rule.
    Source: Kaiser et al. (2017), section 3.
    Example:
        >>> memory = RareEventMemory(T.eye(2), 2, 2).memory
        >>> new = updated_memory(T.eye(2), np.array([1, 0]), *memory)
        >>> new.keys.eval().tolist(), new.labels.eval().tolist()
        ([[1.0, 0.0], [0.0, 1.0]], [1.0, 0.0])
    """
    check_choice("rule", rule, RULES)
    queries, labels, keys, key_labels = check_memory(queries, labels, keys, key_labels)
    ages, jitter = check_ages(ages, jitter, keys)
    unit = l2_normalize(disconnected_grad(queries))
    known = ~T.any(T.isnan(unit) | T.isinf(unit), axis=1)
    filled = key_labels >= 0
    same = T.eq(key_labels, labels[:, None])  # (batch, size)
    nearest = nearest_slot(T.dot(unit, keys.T), same if rule == "average" else filled)  # (batch,)
    match = known & same[T.arange(unit.shape[0]), nearest]
    if rule == "circular":
        match = T.zeros_like(match)
    slots = nearest[match.nonzero()]
    grown = T.inc_subtensor(keys[slots], unit[match.nonzero()])
    new_keys = T.set_subtensor(grown[slots], l2_normalize(grown[slots]))
    # Theano's C code sets no booleans.
    changed = T.set_subtensor(T.zeros_like(ages)[slots], np.float32(1)) > 0
    missed = known & ~match
    infinity = np.asarray(math.inf, ages.dtype)
    age = T.switch(filled, ages if jitter is None else ages + jitter, infinity)
    written, slots = overwritten_slots(missed, changed, age)
    return Memory(
        T.set_subtensor(new_keys[slots], unit[written]),
        T.set_subtensor(key_labels[slots], labels[written]),
        T.set_subtensor(T.switch(changed, T.zeros_like(ages), ages + 1)[slots], np.float32(0)),
    )


class RareEventMemory(MemoryState):
    """Looks up the nearest key of each query. `loss` and `update` are for training.

    Args:
        queries: (batch, dim), dtype of the keys; `.output` is their `MemoryLookup`.
        size: number of slots, all empty at first.
        dim: width of queries and keys.
        margin: of the loss, at least 0.
        rule: of the update, "age", "circular" or "average".
        age_noise: the age of each slot counts for up to this much more or less, at random, when
            the oldest slots are chosen.
        seed: of that noise.
    Raises:
        TypeError: for another dtype than the keys'. AssertionError, when it runs: another width.
    Example:
        >>> memory = RareEventMemory(T.eye(2), size=3, dim=2)
        >>> keys, labels, ages = memory.update(np.array([7, 8]))  # pairs for theano.function
        >>> labels[1].eval()
        array([ 7.,  8., -1.])
    """

    def __init__(
        self,
        queries: TensorVariable,
        size: int,
        dim: int,
        *,
        margin: float = 0.1,
        rule: str = "age",
        age_noise: float = 0.0,
        seed: int | None = None,
    ) -> None:
        super().__init__(queries, size, dim, margin, rule, age_noise, seed)
        self.output = self.forward(queries)

    def forward(self, queries: TensorVariable) -> MemoryLookup:
        """queries: (batch, dim). Returns their `MemoryLookup`."""
        queries = check_queries(queries, self.keys)
        unit = l2_normalize(queries)
        filled = self.labels >= 0
        slots = nearest_slot(T.dot(disconnected_grad(unit), self.keys.T), filled)
        known = T.any(filled) & ~T.any(T.isnan(unit) | T.isinf(unit), axis=1)
        # A switch would lose a NaN of the query: Theano takes a product with its zero for zero.
        near = self.keys[slots] * T.cast(known, self.keys.dtype)[:, None]  # (batch, dim)
        none = T.constant(EMPTY, dtype="int64")
        return MemoryLookup(
            T.switch(known, T.cast(self.labels[slots], "int64"), none),
            T.sum(unit * near, axis=1),
            T.switch(known, slots, none),
            T.concatenate([queries, near], axis=1),
        )

    def loss(self, labels: TensorVariable) -> TensorVariable:
        """The `memory_loss` of the queries and their labels, (batch,) integers."""
        return memory_loss(self.inputs[0], labels, self.keys, self.labels, margin=self.margin)

    def update(
        self, labels: TensorVariable, jitter: TensorVariable | None = None
    ) -> list[tuple[SharedVariable, TensorVariable]]:
        """The updates, for theano.function, that replace the memory by its `updated_memory`.

        jitter defaults to noise of age_noise.
        """
        jitter = self.noise() if jitter is None else jitter
        state = updated_memory(self.inputs[0], labels, *self.memory, jitter, rule=self.rule)
        return list(zip(self.memory, state, strict=True))

    def augment(self, hidden: TensorVariable) -> TensorVariable:
        """hidden: (batch, dim). Returns (batch, 2 · dim), each vector beside its nearest key."""
        return self.forward(hidden).augmented
