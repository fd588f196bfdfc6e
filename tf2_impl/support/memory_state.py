"""The state of the rare event memory: its slots, the noise of their ages, and what reads them."""

from __future__ import annotations

from typing import Any, NamedTuple

import keras
import tensorflow as tf

from tf2_impl.support.checks import check_choice, check_count, check_number, check_seed
from tf2_impl.support.layer import Layer
from tf2_impl.support.precision import single

RULES = ("age", "circular", "average")
EMPTY = -1  # the label of an empty slot


class MemoryLookup(NamedTuple):
    """The nearest key of each query. Without a key, or for a query with NaN, it is −1 and zeros."""

    labels: tf.Tensor  # (batch,) int64
    similarities: tf.Tensor  # (batch,), cosines of queries and keys
    slots: tf.Tensor  # (batch,) int64
    augmented: tf.Tensor  # (batch, 2 · dim), each query beside its nearest key


class Memory(NamedTuple):
    """The state of a memory: three tensors of one dtype."""

    keys: tf.Tensor  # (size, dim)
    labels: tf.Tensor  # (size,), −1 for an empty slot
    ages: tf.Tensor  # (size,), updates since the slot was last changed


class MemoryState(Layer):
    """A layer that holds a `Memory` in variables; the arguments are those of `RareEventMemory`."""

    def __init__(
        self,
        size: int,
        dim: int,
        margin: float,
        rule: str,
        age_noise: float,
        seed: int | None,
        **kwargs: Any,
    ) -> None:
        super().__init__(autocast=False, **kwargs)
        self.supports_jit = False  # XLA would drop the check of the labels
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
        self.generator = keras.random.SeedGenerator(check_seed("seed", seed))
        dtype = single(self.variable_dtype).name  # ages and labels are counts
        state = {"trainable": False, "autocast": False, "dtype": dtype}
        self.keys = self.add_weight(shape=(size, dim), initializer="zeros", name="keys", **state)
        empty = keras.initializers.Constant(EMPTY)
        self.labels = self.add_weight(shape=(size,), initializer=empty, name="labels", **state)
        self.ages = self.add_weight(shape=(size,), initializer="zeros", name="ages", **state)

    @property
    def memory(self) -> Memory:
        """The state."""
        state = (self.keys, self.labels, self.ages)
        return Memory(*(tf.convert_to_tensor(variable) for variable in state))

    def noise(self) -> tf.Tensor | None:
        """For each age a number in −age_noise..age_noise, (size,); None without noise."""
        if not self.age_noise:
            return None
        bound, ages = self.age_noise, self.ages
        return keras.random.uniform(
            ages.shape, -bound, bound, dtype=ages.dtype, seed=self.generator
        )

    def orphans(self, age: int) -> tf.Tensor:
        """The filled slots, int64, that none of the last `age` updates changed."""
        age = check_count("age", age)
        _, labels, ages = self.memory
        return tf.where((labels >= 0) & (ages >= age))[:, 0]
