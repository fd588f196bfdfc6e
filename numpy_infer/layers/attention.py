"""What reads sequences as a whole: attention, positions, single steps and means over time.

    attention:  softmax(q·kᵀ / √d + m)·v for each head, whose features stand side by side

m is −∞ where a key is padding, or with `causal` where it comes after the query. A query that sees
no key at all gives zeros.

Source: Vaswani et al. 2017.
"""

from __future__ import annotations

import math

import numpy as np

from numpy_infer.support.checks import (
    check_count,
    check_dtype,
    check_flag,
    check_floating,
    check_shape,
    check_width,
)
from numpy_infer.support.layer import Layer
from numpy_infer.support.plain_checks import LARGEST


class Attention(Layer):
    """Attention of queries to keys, whose values are averaged.

    heads: how many equal parts the features have. causal: whether a query sees the keys at its
    own time and before it alone.
    """

    def __init__(
        self, query: Layer, key: Layer, value: Layer, *, heads: int, causal: bool = False
    ) -> None:
        super().__init__(query, key, value)
        self.heads = check_count("heads", heads)
        self.causal = check_flag("causal", causal)

    def forward(self, *values: np.ndarray) -> np.ndarray:
        """query: (batch, times, d), key and value: (batch, keys, d or d'). Returns like query."""
        return attention(*values, heads=self.heads, causal=self.causal)


class MaskedAttention(Layer):
    """`Attention` that leaves out keys by a mask.

    padding: whether the mask is not 0 where a key is left out; otherwise it is 0 there.
    """

    def __init__(
        self,
        query: Layer,
        key: Layer,
        value: Layer,
        mask: Layer,
        *,
        heads: int,
        causal: bool = False,
        padding: bool = False,
    ) -> None:
        super().__init__(query, key, value, mask)
        self.heads = check_count("heads", heads)
        self.causal = check_flag("causal", causal)
        self.padding = check_flag("padding", padding)

    def forward(self, *values: np.ndarray) -> np.ndarray:
        """As for `Attention`; the mask is (batch, keys), integers or bool."""
        query, key, value, mask = values
        real = _real(mask, key, padding=self.padding)
        return attention(query, key, value, real, heads=self.heads, causal=self.causal)


class PositionEmbedding(Layer):
    """x + table[t] at each time t. table: (positions, dim)."""

    def __init__(self, previous: Layer, table: np.ndarray) -> None:
        super().__init__(previous)
        check_floating("table", table, ndim=2)
        self.table = table

    def forward(self, x: np.ndarray) -> np.ndarray:
        """x: (batch, time, dim), of at most as many times as positions."""
        _check_sequences("x", x)
        check_dtype("x", x, self.table.dtype)
        check_width("x", x, self.table.shape[1])
        times, positions = x.shape[1], len(self.table)
        if times > positions:
            raise ValueError(f"x: expected at most {positions} times, got shape {x.shape}")
        y: np.ndarray = x + self.table[:times]
        return y


class TimeStep(Layer):
    """The features at one time, (batch, features). index: of the time, −1 for the last one."""

    def __init__(self, previous: Layer, *, index: int) -> None:
        super().__init__(previous)
        self.index = check_count("index", index, least=-LARGEST)

    def forward(self, x: np.ndarray) -> np.ndarray:
        """x: (batch, time, features)."""
        _check_sequences("x", x)
        if not -x.shape[1] <= self.index < x.shape[1]:
            raise ValueError(f"x: expected a time {self.index}, got shape {x.shape}")
        return x[:, self.index]


class MaskedMean(Layer):
    """The mean over the times that a mask leaves, (batch, features); zeros where it leaves none.

    padding: whether the mask is not 0 where a time is left out; otherwise it is 0 there.
    """

    def __init__(self, previous: Layer, mask: Layer, *, padding: bool = False) -> None:
        super().__init__(previous, mask)
        self.padding = check_flag("padding", padding)

    def forward(self, *values: np.ndarray) -> np.ndarray:
        """x: (batch, time, features); mask: (batch, time), integers or bool."""
        x, mask = values
        _check_sequences("x", x)
        real = _real(mask, x, padding=self.padding).astype(x.dtype)
        total: np.ndarray = (real[:, None] @ x)[:, 0]
        total /= np.maximum(real.sum(1, keepdims=True), 1)
        return total


def attention(
    query: np.ndarray,
    key: np.ndarray,
    value: np.ndarray,
    real: np.ndarray | None = None,
    *,
    heads: int,
    causal: bool,
) -> np.ndarray:
    """Attention by one product of all scores and one of all means.

    real: (batch, keys) bool, the keys that count; all when None.
    """
    _check_alike(query, key, value, heads)
    batch, times, width = query.shape
    keys = key.shape[1]
    parts = [
        one.reshape(batch, one.shape[1], heads, one.shape[2] // heads).swapaxes(1, 2)
        for one in (query * query.dtype.type(1 / math.sqrt(width // heads)), key, value)
    ]
    scores = parts[0] @ parts[1].swapaxes(2, 3)  # (batch, heads, times, keys)
    if real is not None:
        np.copyto(scores, -np.inf, where=~real[:, None, None])
    if causal:
        np.copyto(scores, -np.inf, where=np.arange(keys) > np.arange(times)[:, None])
    largest = scores.max(axis=3, keepdims=True)
    scores -= np.where(largest == -np.inf, 0, largest)  # −∞ less −∞ would be NaN
    np.exp(scores, out=scores)
    total = scores.sum(axis=3, keepdims=True)
    means: np.ndarray = scores @ parts[2]  # (batch, heads, times, d')
    means /= np.where(total == 0, 1, total)
    return means.swapaxes(1, 2).reshape(batch, times, value.shape[2])


def _check_alike(query: np.ndarray, key: np.ndarray, value: np.ndarray, heads: int) -> None:
    for name, one in (("query", query), ("key", key), ("value", value)):
        _check_sequences(name, one)
        check_dtype(name, one, query.dtype)
        if one.shape[2] % heads:
            raise ValueError(f"{name}: expected {heads} equal heads, got {one.shape[2]} features")
    check_width("key", key, query.shape[2])
    check_shape("key", key, (len(query), key.shape[1], key.shape[2]))
    check_shape("value", value, (*key.shape[:2], value.shape[2]))
    if key.shape[1] == 0:
        raise ValueError(f"key: expected at least one time step, got shape {key.shape}")


def _check_sequences(name: str, x: np.ndarray) -> None:
    check_floating(name, x, ndim=3)


def _real(mask: np.ndarray, beside: np.ndarray, *, padding: bool) -> np.ndarray:
    """Which times a mask leaves, bool."""
    if not isinstance(mask, np.ndarray) or mask.dtype.kind not in "bui":
        kind = getattr(mask, "dtype", type(mask).__name__)
        raise TypeError(f"mask: expected integers or bool, got {kind}")
    check_shape("mask", mask, beside.shape[:2])
    real: np.ndarray = mask == 0 if padding else mask != 0
    return real
