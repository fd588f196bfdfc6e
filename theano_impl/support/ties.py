"""Ties: values that differ by no more than rounding are equal, and the lower index wins.

A matrix product rounds the same two vectors differently at different places, and each
framework in its own way. Without a tolerance, equal vectors would tie in none of them.
"""

from __future__ import annotations

import math

import numpy as np
import theano.tensor as T
from theano.gradient import disconnected_grad
from theano.tensor.var import TensorVariable


def machine_epsilon(dtype: str, times: int) -> np.ndarray:
    """So many spacings of the numbers of this dtype at 1, in this dtype, lest it be upcast."""
    return np.asarray(times * np.finfo(dtype).eps, dtype)


def rounding_error(distances: TensorVariable, distance: str) -> TensorVariable:
    """The difference below which two of these distances, (n, m), count as equal; a scalar."""
    scale = T.constant(1, dtype=distances.dtype) if distance == "cosine" else T.max(distances)
    return machine_epsilon(distances.dtype, times=32) * scale


def first_minimum(values: TensorVariable, tolerance: TensorVariable) -> TensorVariable:
    """Index of the smallest value on the last axis; of equal ones, the lowest index."""
    smallest = T.min(values, axis=-1, keepdims=True)
    return T.argmax(values <= smallest + tolerance, axis=-1)


def tied_ranks(values: TensorVariable, tolerance: TensorVariable) -> TensorVariable:
    """Rank of each of these values, (n, m), within its row; tied ones share theirs, from 0 up.

    Of the values in order, those that follow one another within the tolerance are tied.
    """
    rows = T.arange(values.shape[0])[:, None]
    order = T.argsort(values, axis=1)
    ordered = values[rows, order]
    steps = T.cast(ordered[:, 1:] - ordered[:, :-1] > tolerance, "int64")
    ranks = T.concatenate([T.zeros_like(order[:, :1]), T.cumsum(steps, axis=1)], axis=1)
    return ranks[rows, T.argsort(order, axis=1)]


def among_top_k(x: TensorVariable, k: int) -> TensorVariable:
    """Whether each number is among the k largest on the last axis: (..., n) → (..., n), bool.

    Of equal numbers the one with the lower index is larger, without a tolerance. NaN counts as the
    largest number, and every NaN is among them, even if there are more than k.
    """
    n = x.shape[x.ndim - 1]
    nan = T.isnan(x)
    ranked = T.switch(nan, np.asarray(math.inf, x.dtype), disconnected_grad(x))
    # Only the k-th value is taken from the sort: Theano's topk cannot sort, and an argsort would
    # have to be inverted. The numbers equal to it are counted from the left, until k are chosen.
    kth = T.sort(ranked, axis=-1)[..., n - k].dimshuffle(*range(x.ndim - 1), "x")
    above, equal = T.gt(ranked, kth), T.eq(ranked, kth)
    room = k - T.sum(above, axis=-1, keepdims=True)
    # In Theano's C code, the cumulative sum of booleans is a boolean.
    count = T.cumsum(T.cast(equal, "int64"), axis=x.ndim - 1)
    return above | (equal & (count <= room)) | nan
