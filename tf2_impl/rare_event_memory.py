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
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from tf2_impl.distances import l2_normalize
from tf2_impl.support.checks import (
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
    size,
)
from tf2_impl.support.layer import Layer
from tf2_impl.support.precision import in_single_precision, single
from tf2_impl.support.ties import first_minimum, rounding_error

RULES = ("age", "circular", "average")
EMPTY = -1  # the label of an empty slot
LARGEST_LABEL = 2**24  # labels travel with the keys, as floating point numbers


class Recall(NamedTuple):
    """What a memory has to say to each query.

    labels: (batch,) int64, of the nearest key. similarities: (batch,), their cosines. slots:
    (batch,) int64. augmented: (batch, 2 · dim), the query beside its nearest key. Where there is
    no key, or the query has a NaN, label and slot are −1 and the key is zero.
    """

    labels: tf.Tensor
    similarities: tf.Tensor
    slots: tf.Tensor
    augmented: tf.Tensor


class Memory(NamedTuple):
    """keys: (size, dim), labels: (size,), −1 for an empty slot, and ages: (size,), of one dtype."""

    keys: tf.Tensor
    labels: tf.Tensor
    ages: tf.Tensor


@in_single_precision
def memory_loss(
    queries: tf.Tensor,
    labels: tf.Tensor,
    keys: tf.Tensor,
    key_labels: tf.Tensor,
    *,
    margin: float = 0.1,
) -> tf.Tensor:
    """Mean hinge of the queries that have a key with their label and one with another.

    queries: (batch, dim); labels: (batch,) integers, not negative; keys: (size, dim), of unit
    length; key_labels: (size,), floating, −1 for an empty slot. Returns a scalar, 0 when no query
    has both. The gradient reaches the queries alone. TypeError for other types, ValueError for
    shapes that differ, an empty batch or a negative margin.
    """
    margin = check_number("margin", margin, least=0)
    queries, labels, keys, key_labels = _checked_memory(queries, labels, keys, key_labels)
    unit = l2_normalize(queries)
    keys = tf.stop_gradient(keys)
    similarities = tf.matmul(tf.stop_gradient(unit), keys, transpose_b=True)
    same = key_labels == labels[:, None]
    other = ~same & (key_labels >= 0)
    near = tf.gather(keys, _nearest(similarities, same))
    far = tf.gather(keys, _nearest(similarities, other))
    hinge = tf.nn.relu(
        margin + tf.reduce_sum(unit * far, axis=1) - tf.reduce_sum(unit * near, axis=1)
    )
    both = tf.reduce_any(same, axis=1) & tf.reduce_any(other, axis=1)
    count = tf.math.count_nonzero(both, dtype=hinge.dtype)
    return tf.reduce_sum(tf.where(both, hinge, tf.zeros_like(hinge))) / tf.maximum(count, 1)


@in_single_precision
def updated_memory(
    queries: tf.Tensor,
    labels: tf.Tensor,
    keys: tf.Tensor,
    key_labels: tf.Tensor,
    ages: tf.Tensor,
    jitter: tf.Tensor | None = None,
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
    ages = tf.convert_to_tensor(ages)
    check_like("ages", ages, "a column of keys", keys[:, 0])
    if jitter is not None:
        jitter = tf.convert_to_tensor(jitter)
        check_like("jitter", jitter, "ages", ages)
    unit = l2_normalize(tf.stop_gradient(queries))
    known = tf.reduce_all(tf.math.is_finite(unit), axis=1)
    filled = key_labels >= 0
    same = key_labels == labels[:, None]
    similarities = tf.matmul(unit, keys, transpose_b=True)
    target = _nearest(similarities, same if rule == "average" else filled)
    match = known & tf.gather(same, target, batch_dims=1) & (rule != "circular")
    matched = tf.boolean_mask(target, match)[:, None]
    grown = tf.tensor_scatter_nd_add(keys, matched, tf.boolean_mask(unit, match))
    unit_rows = l2_normalize(tf.gather_nd(grown, matched))
    new_keys = tf.tensor_scatter_nd_update(grown, matched, unit_rows)
    used = _marked(tf.zeros_like(filled), matched)
    # The places of those that are written: the r-th gets the r-th of the slots in this order.
    infinity = tf.constant(math.inf, ages.dtype)
    age = tf.where(filled, ages if jitter is None else ages + jitter, infinity)
    order = tf.argsort(tf.where(used, -infinity, age), direction="DESCENDING", stable=True)
    written = known & ~match
    rank = tf.cumsum(tf.cast(written, tf.int32)) - 1
    written &= rank >= tf.math.count_nonzero(written, dtype=tf.int32) - tf.size(ages)
    slots = tf.gather(order, tf.boolean_mask(rank, written) % tf.size(ages))[:, None]
    new_keys = tf.tensor_scatter_nd_update(new_keys, slots, tf.boolean_mask(unit, written))
    new_labels = tf.tensor_scatter_nd_update(key_labels, slots, tf.boolean_mask(labels, written))
    new_ages = tf.where(_marked(used, slots), tf.zeros_like(ages), ages + 1)
    return Memory(new_keys, new_labels, new_ages)


@keras.saving.register_keras_serializable("fourfold")
class RareEventMemory(Layer):
    """Queries, (batch, dim), to their `Recall`; `loss` and `update` are for training.

    margin: of the loss. rule: of the update, age, circular or average. age_noise: a slot's age
    counts for up to so much more or less when the oldest is looked for, to spread their use. The
    memory starts empty: the first updates fill it.
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
        **kwargs: Any,
    ) -> None:
        super().__init__(autocast=False, **kwargs)
        self.supports_jit = False  # XLA would drop the check of the labels
        size = check_count("size", size)
        dim = check_count("dim", dim)
        margin = check_number("margin", margin, least=0)
        check_choice("rule", rule, RULES)
        age_noise = check_number("age_noise", age_noise, least=0)
        seed = check_seed("seed", seed)
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
        self.generator = keras.random.SeedGenerator(seed)
        dtype = single(self.variable_dtype).name  # ages and labels are counts
        state = {"trainable": False, "autocast": False, "dtype": dtype}
        self.keys = self.add_weight(shape=(size, dim), initializer="zeros", name="keys", **state)
        empty = keras.initializers.Constant(EMPTY)
        self.labels = self.add_weight(shape=(size,), initializer=empty, name="labels", **state)
        self.ages = self.add_weight(shape=(size,), initializer="zeros", name="ages", **state)

    @in_single_precision
    def call(self, queries: tf.Tensor) -> Recall:
        """TypeError for another dtype than the keys', ValueError for another width."""
        keys, labels, _ = self.memory
        check_floating("queries", queries, ndim=2)
        check_dtype("queries", queries, keys.dtype)
        check_width("queries", queries, keys.shape[1])
        unit = l2_normalize(queries)
        filled = labels >= 0
        similarities = tf.matmul(tf.stop_gradient(unit), keys, transpose_b=True)
        slots = _nearest(similarities, filled)
        found = tf.reduce_any(filled) & tf.reduce_all(tf.math.is_finite(unit), axis=1)
        near = tf.where(found[:, None], tf.gather(keys, slots), tf.zeros_like(queries))
        none = tf.constant(EMPTY, tf.int64)
        return Recall(
            tf.where(found, tf.cast(tf.gather(labels, slots), tf.int64), none),
            tf.reduce_sum(unit * near, axis=1),
            tf.where(found, slots, none),
            tf.concat([queries, near], axis=1),
        )

    def loss(self, queries: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        """`memory_loss` of queries, (batch, dim), and their labels, (batch,) integers."""
        return memory_loss(queries, labels, *self.memory[:2], margin=self.margin)

    def update(
        self, queries: tf.Tensor, labels: tf.Tensor, jitter: tf.Tensor | None = None
    ) -> None:
        """Change the memory to its `updated_memory`; jitter is drawn when left out."""
        if jitter is None and self.age_noise > 0:
            bound, dtype = self.age_noise, self.ages.dtype
            shape = self.ages.shape
            jitter = keras.random.uniform(shape, -bound, bound, dtype=dtype, seed=self.generator)
        found = updated_memory(queries, labels, *self.memory, jitter, rule=self.rule)
        for variable, new in zip((self.keys, self.labels, self.ages), found, strict=True):
            variable.assign(new)

    @property
    def memory(self) -> Memory:
        """The state."""
        state = (self.keys, self.labels, self.ages)
        return Memory(*(tf.convert_to_tensor(variable) for variable in state))

    def augment(self, hidden: tf.Tensor) -> tf.Tensor:
        """hidden: (batch, dim). Returns (batch, 2 · dim), each vector beside its nearest key."""
        return self(hidden).augmented

    def orphans(self, age: int) -> tf.Tensor:
        """The slots, int64, with a key that no update has used for so many updates."""
        age = check_count("age", age)
        _, labels, ages = self.memory
        return tf.where((labels >= 0) & (ages >= age))[:, 0]

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), **self.config}


def _nearest(similarities: tf.Tensor, usable: tf.Tensor) -> tf.Tensor:
    """The slot of the most similar usable key of each query; any where there is none."""
    distances = tf.where(usable, -similarities, tf.constant(math.inf, similarities.dtype))
    return first_minimum(distances, rounding_error(similarities, "cosine"))


def _marked(mask: tf.Tensor, places: tf.Tensor) -> tf.Tensor:
    return tf.tensor_scatter_nd_update(mask, places, tf.ones_like(places[:, 0], tf.bool))


def _checked_memory(
    queries: tf.Tensor, labels: tf.Tensor, keys: tf.Tensor, key_labels: tf.Tensor
) -> tuple[tf.Tensor, ...]:
    """The tensors, the labels in the dtype of the keys' labels."""
    queries, labels = tf.convert_to_tensor(queries), tf.convert_to_tensor(labels)
    keys, key_labels = tf.convert_to_tensor(keys), tf.convert_to_tensor(key_labels)
    check_floating("queries", queries, ndim=2)
    check_not_empty("queries", queries)
    check_labels("labels", labels, size(queries, 0))
    wide = tf.cast(labels, tf.int64)
    inside = tf.reduce_all((wide >= 0) & (wide <= LARGEST_LABEL))
    check_values(inside, "labels", f"labels in 0..{LARGEST_LABEL}", labels)
    check_floating("keys", keys, ndim=2)
    check_dtype("keys", keys, queries.dtype)
    check_width("keys", keys, size(queries, 1))
    check_not_empty("keys", keys)
    check_like("key_labels", key_labels, "a column of keys", keys[:, 0])
    return queries, tf.cast(labels, keys.dtype), keys, key_labels
