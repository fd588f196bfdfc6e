"""What reads sequences as a whole: attention, positions, single steps and means over time.

    attention:  softmax(q·kᵀ / √d + m)·v for each head, whose features stand side by side

m is −∞ where a key is padding, or with `causal` where it comes after the query. A query that sees
no key at all gives zeros.

Source: Vaswani et al. 2017.
"""

from __future__ import annotations

import math

import numpy as np
import theano.tensor as T
from theano.gradient import disconnected_grad
from theano.tensor.var import TensorVariable

from numpy_infer.support.plain_checks import LARGEST
from theano_impl.support.checks import (
    check_count,
    check_dtype,
    check_flag,
    check_floating,
    check_integers,
    check_seed,
    check_values,
    check_width,
)
from theano_impl.support.layer import Layer


class Attention(Layer):
    """Attention of queries to keys, whose values are averaged.

    query: (batch, times, d), key and value: (batch, keys, d or d'); `.output` is like query. heads:
    how many equal parts the features have. causal: whether a query sees the keys at its own time
    and before it alone. AssertionError, when it runs, for features that the heads do not divide.
    """

    def __init__(
        self,
        query: TensorVariable,
        key: TensorVariable,
        value: TensorVariable,
        heads: int,
        *,
        causal: bool = False,
    ) -> None:
        heads = check_count("heads", heads)
        causal = check_flag("causal", causal)
        super().__init__(query, key, value, config={"heads": heads, "causal": causal})
        self.output = attention(query, key, value, None, heads=heads, causal=causal)


class MaskedAttention(Layer):
    """`Attention` that leaves out keys by a mask, (batch, keys), integers.

    padding: whether the mask is not 0 where a key is left out; otherwise it is 0 there.
    """

    def __init__(
        self,
        query: TensorVariable,
        key: TensorVariable,
        value: TensorVariable,
        mask: TensorVariable,
        heads: int,
        *,
        causal: bool = False,
        padding: bool = False,
    ) -> None:
        heads = check_count("heads", heads)
        causal = check_flag("causal", causal)
        padding = check_flag("padding", padding)
        config = {"heads": heads, "causal": causal, "padding": padding}
        super().__init__(query, key, value, mask, config=config)
        real = _real(mask, key, padding=padding)
        self.output = attention(query, key, value, real, heads=heads, causal=causal)


class PositionEmbedding(Layer):
    """x + table[t] at each time t. x: (batch, time, dim); table: (positions, dim).

    AssertionError, when it runs, for more times than positions.
    """

    def __init__(
        self, x: TensorVariable, positions: int, dim: int, *, seed: int | None = None
    ) -> None:
        positions = check_count("positions", positions)
        dim = check_count("dim", dim)
        seed = check_seed("seed", seed)
        super().__init__(x, config={"positions": positions, "dim": dim})
        rng = np.random.default_rng(seed)
        self.table = self.add_param("table", rng.normal(size=(positions, dim)))
        check_floating("x", x, ndim=3)
        check_dtype("x", x, self.table.dtype)
        x = check_width("x", x, dim)
        x = check_values(x, x.shape[1] <= positions, "x", f"at most {positions} times")
        self.output = x + self.table[: x.shape[1]].dimshuffle("x", 0, 1)


class TimeStep(Layer):
    """The features at one time, (batch, features). index: of the time, −1 for the last one."""

    def __init__(self, x: TensorVariable, index: int) -> None:
        index = check_count("index", index, least=-LARGEST)
        super().__init__(x, config={"index": index})
        check_floating("x", x, ndim=3)
        self.output = x[:, index]


class MaskedMean(Layer):
    """The mean over the times that a mask leaves, (batch, features); zeros where it leaves none.

    x: (batch, time, features); mask: (batch, time), integers. padding: whether the mask is not 0
    where a time is left out; otherwise it is 0 there.
    """

    def __init__(self, x: TensorVariable, mask: TensorVariable, *, padding: bool = False) -> None:
        padding = check_flag("padding", padding)
        super().__init__(x, mask, config={"padding": padding})
        check_floating("x", x, ndim=3)
        real = T.cast(_real(mask, x, padding=padding), x.dtype)
        total = T.sum(x * real.dimshuffle(0, 1, "x"), axis=1)
        self.output = total / T.maximum(T.sum(real, axis=1, keepdims=True), 1).astype(x.dtype)


def attention(
    query: TensorVariable,
    key: TensorVariable,
    value: TensorVariable,
    real: TensorVariable | None,
    *,
    heads: int,
    causal: bool,
) -> TensorVariable:
    """Attention by one product of all scores and one of all means.

    real: (batch, keys), the keys that count; all when None.
    """
    parts = []
    for name, one in (("query", query), ("key", key), ("value", value)):
        check_floating(name, one, ndim=3)
        check_dtype(name, one, query.dtype)
        divided = T.eq(one.shape[2] % heads, 0)
        one = check_values(one, divided, name, f"{heads} equal heads")
        split = one.reshape((one.shape[0], one.shape[1], heads, one.shape[2] // heads), ndim=4)
        parts.append(split.dimshuffle(0, 2, 1, 3))
    q, k, v = parts
    batch, _, times, width = (q.shape[axis] for axis in range(4))
    keys = k.shape[2]
    q, k, v = (
        one.reshape((batch * heads, one.shape[2], one.shape[3]), ndim=3) for one in (q, k, v)
    )
    scale = 1 / T.sqrt(T.cast(width, query.dtype))
    scores = T.batched_dot(q * scale, k.dimshuffle(0, 2, 1))
    scores = scores.reshape((batch, heads, times, keys), ndim=4)
    seen = None if real is None else real.dimshuffle(0, "x", "x", 1)
    if causal:
        before = T.ge(T.arange(times).dimshuffle(0, "x"), T.arange(keys).dimshuffle("x", 0))
        before = before.dimshuffle("x", "x", 0, 1)
        seen = before if seen is None else seen & before
    if seen is not None:
        scores = T.switch(seen, scores, np.asarray(-math.inf, query.dtype))
    largest = T.max(scores, axis=3, keepdims=True)
    largest = T.switch(T.eq(largest, -math.inf), T.zeros_like(largest), largest)  # it sees no key
    shares = T.exp(scores - disconnected_grad(largest))
    total = T.sum(shares, axis=3, keepdims=True)
    shares = shares / T.switch(T.eq(total, 0), T.ones_like(total), total)
    means = T.batched_dot(shares.reshape((batch * heads, times, keys), ndim=3), v)
    means = means.reshape((batch, heads, times, v.shape[2]), ndim=4).dimshuffle(0, 2, 1, 3)
    return means.reshape((batch, times, heads * v.shape[2]), ndim=3)


def _real(mask: TensorVariable, beside: TensorVariable, *, padding: bool) -> TensorVariable:
    """Which times a mask leaves."""
    check_integers("mask", mask, ndim=2)
    fits = T.all(T.eq(mask.shape, beside.shape[:2]))
    mask = check_values(mask, fits, "mask", "an entry for each time")
    return T.eq(mask, 0) if padding else T.neq(mask, 0)
