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

import numpy as np
import theano.tensor as T
from theano.compile.sharedvalue import SharedVariable
from theano.gradient import disconnected_grad
from theano.tensor.random.utils import RandomStream
from theano.tensor.var import TensorVariable

from theano_impl.distances import l2_normalize
from theano_impl.support.checks import (
    check_choice,
    check_count,
    check_dtype,
    check_floating,
    check_labels,
    check_like,
    check_not_empty,
    check_number,
    check_seed,
    check_values,
    check_width,
)
from theano_impl.support.layer import Layer
from theano_impl.support.ties import first_minimum, rounding_error

RULES = ("age", "circular", "average")
EMPTY = -1  # the label of an empty slot
LARGEST_LABEL = 2**24  # labels travel with the keys, as floating point numbers


class Recall(NamedTuple):
    """What a memory has to say to each query.

    labels: (batch,) int64, of the nearest key. similarities: (batch,), their cosines. slots:
    (batch,) int64. augmented: (batch, 2 · dim), the query beside its nearest key. Where there is
    no key, or the query has a NaN, label and slot are −1 and the key is zero.
    """

    labels: TensorVariable
    similarities: TensorVariable
    slots: TensorVariable
    augmented: TensorVariable


class Memory(NamedTuple):
    """keys: (size, dim), labels: (size,), −1 for an empty slot, and ages: (size,), of one dtype."""

    keys: TensorVariable
    labels: TensorVariable
    ages: TensorVariable


def memory_loss(
    queries: TensorVariable,
    labels: TensorVariable,
    keys: TensorVariable,
    key_labels: TensorVariable,
    *,
    margin: float = 0.1,
) -> TensorVariable:
    """Mean hinge of the queries that have a key with their label and one with another.

    queries: (batch, dim); labels: (batch,) integers, not negative; keys: (size, dim), of unit
    length; key_labels: (size,), floating, −1 for an empty slot. Returns a scalar, 0 when no query
    has both. The gradient reaches the queries alone. TypeError for other types, ValueError for a
    negative margin; AssertionError, when it runs, for shapes that differ or an empty batch.
    """
    margin = check_number("margin", margin, least=0)
    queries, labels, keys, key_labels = _checked_memory(queries, labels, keys, key_labels)
    unit = l2_normalize(queries)
    keys = disconnected_grad(keys)
    similarities = T.dot(disconnected_grad(unit), keys.T)
    same = T.eq(key_labels, labels[:, None])
    other = ~same & (key_labels >= 0)
    near, far = keys[_nearest(similarities, same)], keys[_nearest(similarities, other)]
    violation = np.asarray(margin, unit.dtype) + T.sum(unit * far, 1) - T.sum(unit * near, 1)
    # nnet.relu has gradient 0.5 at exactly 0; a switch the other way round would hide NaN.
    hinge = T.switch(violation <= 0, T.zeros_like(violation), violation)
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
    queries, labels, keys, key_labels = _checked_memory(queries, labels, keys, key_labels)
    ages = check_like("ages", T.as_tensor_variable(ages), "a column of keys", keys[:, 0])
    if jitter is not None:
        jitter = check_like("jitter", T.as_tensor_variable(jitter), "ages", ages)
    unit = l2_normalize(disconnected_grad(queries))
    known = ~T.any(T.isnan(unit) | T.isinf(unit), axis=1)
    filled = key_labels >= 0
    same = T.eq(key_labels, labels[:, None])
    target = _nearest(T.dot(unit, keys.T), same if rule == "average" else filled)
    match = known & same[T.arange(unit.shape[0]), target]
    if rule == "circular":
        match = T.zeros_like(match)
    matched = target[match.nonzero()]
    grown = T.inc_subtensor(keys[matched], unit[match.nonzero()])
    new_keys = T.set_subtensor(grown[matched], l2_normalize(grown[matched]))
    # Theano's C code sets no booleans.
    used = T.set_subtensor(T.zeros_like(ages)[matched], np.float32(1)) > 0
    # The places of those that are written: the r-th gets the r-th of the slots in this order.
    infinity = np.asarray(math.inf, ages.dtype)
    age = T.switch(filled, ages if jitter is None else ages + jitter, infinity)
    order = T.argsort(-T.switch(used, -infinity, age), kind="mergesort")
    written = known & ~match
    # In C, the cumsum of booleans is a boolean.
    rank = T.cumsum(T.cast(written, "int64")) - 1
    size = keys.shape[0]
    written = (written & (rank >= T.sum(written) - size)).nonzero()
    slots = order[rank[written] % size]
    return Memory(
        T.set_subtensor(new_keys[slots], unit[written]),
        T.set_subtensor(key_labels[slots], labels[written]),
        T.set_subtensor(T.switch(used, T.zeros_like(ages), ages + 1)[slots], np.float32(0)),
    )


class RareEventMemory(Layer):
    """Queries, (batch, dim), to their `Recall`, `.output`; `.loss` and `.update` train.

    margin: of the loss. rule: of the update, age, circular or average. age_noise: a slot's age
    counts for up to so much more or less when the oldest is looked for, to spread their use. The
    memory starts empty: the first updates fill it. TypeError for another dtype than the keys';
    AssertionError, when it runs, for another width.
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
        size = check_count("size", size)
        dim = check_count("dim", dim)
        margin = check_number("margin", margin, least=0)
        check_choice("rule", rule, RULES)
        age_noise = check_number("age_noise", age_noise, least=0)
        seed = check_seed("seed", seed)
        config = {
            "size": size,
            "dim": dim,
            "margin": margin,
            "rule": rule,
            "age_noise": age_noise,
        }
        super().__init__(queries, config=config)
        self.size = size
        self.margin = margin
        self.rule = rule
        self.age_noise = age_noise
        self.random = RandomStream(seed)
        self.keys = self.add_buffer("keys", np.zeros((size, dim)))
        self.labels = self.add_buffer("labels", np.full(size, EMPTY))
        self.ages = self.add_buffer("ages", np.zeros(size))
        self.output = self.forward(queries)

    def forward(self, queries: TensorVariable) -> Recall:
        """The `Recall` of queries."""
        queries = T.as_tensor_variable(queries)
        check_floating("queries", queries, ndim=2)
        check_dtype("queries", queries, self.keys.dtype)
        queries = check_width("queries", queries, self.keys.shape[1])
        unit = l2_normalize(queries)
        filled = self.labels >= 0
        slots = _nearest(T.dot(disconnected_grad(unit), self.keys.T), filled)
        found = T.any(filled) & ~T.any(T.isnan(unit) | T.isinf(unit), axis=1)
        # Theano takes a product with a switch to zero for zero: a NaN in the query would be lost.
        near = self.keys[slots] * T.cast(found, self.keys.dtype)[:, None]
        none = T.constant(EMPTY, dtype="int64")
        return Recall(
            T.switch(found, T.cast(self.labels[slots], "int64"), none),
            T.sum(unit * near, axis=1),
            T.switch(found, slots, none),
            T.concatenate([queries, near], axis=1),
        )

    def loss(self, labels: TensorVariable) -> TensorVariable:
        """`memory_loss` of the queries and their labels, (batch,) integers."""
        return memory_loss(self.inputs[0], labels, self.keys, self.labels, margin=self.margin)

    def update(
        self, labels: TensorVariable, jitter: TensorVariable | None = None
    ) -> list[tuple[SharedVariable, TensorVariable]]:
        """The updates that change the memory to its `updated_memory`.

        jitter is drawn when left out.
        """
        if jitter is None and self.age_noise > 0:
            drawn = self.random.uniform(-self.age_noise, self.age_noise, size=(self.size,))
            jitter = T.cast(drawn, self.ages.dtype)
        state = (self.keys, self.labels, self.ages)
        found = updated_memory(self.inputs[0], labels, *state, jitter, rule=self.rule)
        return list(zip(state, found, strict=True))

    def augment(self, hidden: TensorVariable) -> TensorVariable:
        """hidden: (batch, dim). Returns (batch, 2 · dim), each vector beside its nearest key."""
        return self.forward(hidden).augmented

    def orphans(self, age: int) -> TensorVariable:
        """The slots, int64, with a key that no update has used for so many updates."""
        age = check_count("age", age)
        return T.nonzero((self.labels >= 0) & (self.ages >= age))[0]

    @staticmethod
    def symbolic_inputs(dtype: str) -> list[TensorVariable]:
        return [T.matrix("queries", dtype=dtype)]


def _nearest(similarities: TensorVariable, usable: TensorVariable) -> TensorVariable:
    """The slot of the most similar usable key of each query; any where there is none."""
    distances = T.switch(usable, -similarities, np.asarray(math.inf, similarities.dtype))
    return first_minimum(distances, rounding_error(similarities, "cosine"))


def _checked_memory(
    queries: TensorVariable,
    labels: TensorVariable,
    keys: TensorVariable,
    key_labels: TensorVariable,
) -> tuple[TensorVariable, ...]:
    """The variables with their checks, the labels in the dtype of the keys' labels."""
    queries, labels = T.as_tensor_variable(queries), T.as_tensor_variable(labels)
    keys, key_labels = T.as_tensor_variable(keys), T.as_tensor_variable(key_labels)
    check_floating("queries", queries, ndim=2)
    queries = check_not_empty("queries", queries)
    labels = check_labels("labels", labels, queries.shape[0])
    inside = T.all((labels >= 0) & (labels <= LARGEST_LABEL))
    labels = check_values(labels, inside, "labels", f"labels in 0..{LARGEST_LABEL}")
    check_floating("keys", keys, ndim=2)
    check_dtype("keys", keys, queries.dtype)
    keys = check_width("keys", keys, queries.shape[1])
    keys = check_not_empty("keys", keys)
    key_labels = check_like("key_labels", key_labels, "a column of keys", keys[:, 0])
    return queries, T.cast(labels, keys.dtype), keys, key_labels
