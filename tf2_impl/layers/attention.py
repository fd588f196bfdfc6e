"""What reads sequences as a whole: attention, positions, single steps and means over time.

    attention:  softmax(q·kᵀ / √d + m)·v for each head, whose features stand side by side

m is −∞ where a key is padding, or with `causal` where it comes after the query. A query that sees
no key at all gives zeros.

Source: Vaswani et al. 2017.
"""

from __future__ import annotations

import math
from typing import Any

import keras
import tensorflow as tf

from numpy_infer.support.plain_checks import LARGEST
from tf2_impl.support.checks import (
    check_count,
    check_dtype,
    check_flag,
    check_floating,
    check_rank,
    check_values,
    size,
)
from tf2_impl.support.layer import Layer
from tf2_impl.support.precision import in_compute_dtype

Shape = tuple[int | None, ...]


@keras.saving.register_keras_serializable("fourfold")
class Attention(Layer):
    """Attention of queries to keys, whose values are averaged.

    heads: how many equal parts the features have. causal: whether a query sees the keys at its
    own time and before it alone.
    """

    def __init__(self, heads: int, *, causal: bool = False, **kwargs: Any) -> None:
        super().__init__(autocast=False, **kwargs)
        self.heads = check_count("heads", heads)
        self.causal = check_flag("causal", causal)

    @in_compute_dtype
    def call(self, query: tf.Tensor, key: tf.Tensor, value: tf.Tensor) -> tf.Tensor:
        """query: (batch, times, d), key and value: (batch, keys, d or d'). Returns like query."""
        return attention(query, key, value, None, heads=self.heads, causal=self.causal)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "heads": self.heads, "causal": self.causal}


@keras.saving.register_keras_serializable("fourfold")
class MaskedAttention(Layer):
    """`Attention` that leaves out keys by a mask.

    padding: whether the mask is not 0 where a key is left out; otherwise it is 0 there.
    """

    def __init__(
        self, heads: int, *, causal: bool = False, padding: bool = False, **kwargs: Any
    ) -> None:
        super().__init__(autocast=False, **kwargs)
        self.heads = check_count("heads", heads)
        self.causal = check_flag("causal", causal)
        self.padding = check_flag("padding", padding)

    @in_compute_dtype
    def call(
        self, query: tf.Tensor, key: tf.Tensor, value: tf.Tensor, marks: tf.Tensor
    ) -> tf.Tensor:
        """As for `Attention`; marks: the mask, (batch, keys), integers or bool.

        An argument called mask would be Keras's own.
        """
        real = _real(marks, padding=self.padding)
        return attention(query, key, value, real, heads=self.heads, causal=self.causal)

    def get_config(self) -> dict[str, Any]:
        own = {"heads": self.heads, "causal": self.causal, "padding": self.padding}
        return {**super().get_config(), **own}


@keras.saving.register_keras_serializable("fourfold")
class PositionEmbedding(Layer):
    """x + table[t] at each time t. table: (positions, dim)."""

    def __init__(self, positions: int, dim: int, **kwargs: Any) -> None:
        super().__init__(autocast=False, **kwargs)
        self.positions = check_count("positions", positions)
        self.dim = check_count("dim", dim)
        start = keras.initializers.RandomNormal(stddev=1.0)
        self.table = self.add_weight(shape=(positions, dim), initializer=start, name="table")

    @in_compute_dtype
    def call(self, x: tf.Tensor) -> tf.Tensor:
        """x: (batch, time, dim), of at most as many times as positions."""
        check_floating("x", x, ndim=3)
        check_dtype("x", x, self.compute_dtype)
        times = size(x, 1)
        what = f"at most {self.positions} times"
        if not isinstance(times, int):
            check_values(times <= self.positions, "x", what, times)
        elif times > self.positions:
            raise ValueError(f"x: expected {what}, got shape {x.shape}")
        return x + tf.cast(self.table[:times], x.dtype)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "positions": self.positions, "dim": self.dim}


@keras.saving.register_keras_serializable("fourfold")
class TimeStep(Layer):
    """The features at one time, (batch, features). index: of the time, −1 for the last one."""

    def __init__(self, index: int, **kwargs: Any) -> None:
        super().__init__(autocast=False, **kwargs)
        self.index = check_count("index", index, least=-LARGEST)

    @in_compute_dtype
    def call(self, x: tf.Tensor) -> tf.Tensor:
        """x: (batch, time, features)."""
        check_floating("x", x, ndim=3)
        return x[:, self.index]

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return input_shape[0], input_shape[2]

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "index": self.index}


@keras.saving.register_keras_serializable("fourfold")
class MaskedMean(Layer):
    """The mean over the times that a mask leaves, (batch, features); zeros where it leaves none.

    padding: whether the mask is not 0 where a time is left out; otherwise it is 0 there.
    """

    def __init__(self, *, padding: bool = False, **kwargs: Any) -> None:
        super().__init__(autocast=False, **kwargs)
        self.padding = check_flag("padding", padding)

    @in_compute_dtype
    def call(self, x: tf.Tensor, marks: tf.Tensor) -> tf.Tensor:
        """x: (batch, time, features); marks: the mask, (batch, time), integers or bool."""
        check_floating("x", x, ndim=3)
        real = tf.cast(_real(marks, padding=self.padding), x.dtype)
        total = tf.reduce_sum(x * real[..., None], axis=1)
        return total / tf.maximum(tf.reduce_sum(real, axis=1, keepdims=True), 1)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "padding": self.padding}


def attention(
    query: tf.Tensor,
    key: tf.Tensor,
    value: tf.Tensor,
    real: tf.Tensor | None,
    *,
    heads: int,
    causal: bool,
) -> tf.Tensor:
    """Attention by one product of all scores and one of all means.

    real: (batch, keys) bool, the keys that count; all when None.
    """
    parts = []
    for name, one in (("query", query), ("key", key), ("value", value)):
        check_floating(name, one, ndim=3)
        check_dtype(name, one, query.dtype)
        if one.shape[2] is None or one.shape[2] % heads:
            raise ValueError(f"{name}: expected {heads} equal heads, got shape {one.shape}")
        shape = (size(one, 0), size(one, 1), heads, one.shape[2] // heads)
        parts.append(tf.transpose(tf.reshape(one, shape), (0, 2, 1, 3)))
    q, k, v = parts
    scale = tf.constant(1 / math.sqrt(q.shape[3]), query.dtype)
    scores = tf.matmul(q * scale, k, transpose_b=True)  # (batch, heads, times, keys)
    seen = None if real is None else real[:, None, None]
    if causal:
        times, keys = tf.range(size(query, 1)), tf.range(size(key, 1))
        before = keys <= times[:, None]
        seen = before if seen is None else seen & before
    if seen is not None:
        # A row of −∞ alone would be NaN: there all scores are equal, and all shares 0.
        scores = tf.where(seen, scores, query.dtype.min)
    shares = tf.nn.softmax(scores)
    if seen is not None:
        shares = tf.where(seen, shares, tf.zeros((), query.dtype))
    means = tf.transpose(tf.matmul(shares, v), (0, 2, 1, 3))
    return tf.reshape(means, (size(query, 0), size(query, 1), value.shape[2]))


def _real(mask: tf.Tensor, *, padding: bool) -> tf.Tensor:
    """Which times a mask leaves, bool."""
    if not (mask.dtype.is_integer or mask.dtype.is_bool):
        raise TypeError(f"mask: expected integers or bool, got {mask.dtype.name}")
    check_rank("mask", mask, ndim=2)
    marked = mask if mask.dtype.is_bool else mask != 0
    return ~marked if padding else marked
