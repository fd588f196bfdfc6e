"""All triplets of a batch, counted by a sort instead of one by one: n² log n instead of n³.

A negative violates the margin of every positive whose reach, d(a, p) + margin, is beyond it. So
the reaches of an anchor's positives are sorted together with the distances of its negatives, and
running sums count the negatives before each reach and the reaches behind each negative.
"""

from __future__ import annotations

import numpy as np
import theano.tensor as T
from theano.tensor.var import TensorVariable


def applies() -> bool:
    """Always: how many rows there are is not known when the graph is built."""
    return True


def count_active(
    distances: TensorVariable,
    positive: TensorVariable,
    negative: TensorVariable,
    margin: np.ndarray,
    tolerance: TensorVariable,
) -> tuple[TensorVariable, TensorVariable]:
    """The counts of `_count_active` in the component: (n, m) and (n,), in the distances' dtype."""
    n = distances.shape[1]
    reach = distances + margin - tolerance
    # Theano searches in one sorted row, not in many: sort reaches and distances together and
    # count. A reach comes before the distance that equals it: that negative is out of reach.
    order = T.argsort(T.concatenate([reach, distances], axis=1), axis=1, kind="mergesort")
    rank = T.argsort(order, axis=1, kind="mergesort")
    rows = T.arange(distances.shape[0])[:, None]
    is_reach = order < n
    counted = T.cast(T.concatenate([positive, negative], axis=1), "int64")[rows, order]
    negatives_before = T.cumsum(T.switch(is_reach, 0, counted), axis=1)
    positives_before = T.cumsum(T.switch(is_reach, counted, 0), axis=1)
    reached = negatives_before[rows, rank[:, :n]]
    reaching = T.sum(positive, axis=1, keepdims=True) - positives_before[rows, rank[:, n:]]
    counts = T.switch(positive, reached, T.switch(negative, -reaching, 0))
    active = T.sum(reached * positive, axis=1)
    return T.cast(counts, distances.dtype), T.cast(active, distances.dtype)
