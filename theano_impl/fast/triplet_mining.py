"""Mining by sorts: semi-hard triplets in n² log n instead of n³, and a pool block by block.

Semi-hard: the nearest negative that is farther than a positive comes right after it in the order
of the anchor's distances. One sort of each anchor's negatives serves all of its positives. A pool
of many candidates is read in blocks, which bounds the memory: with a limit twice, first for the
distance to cut at.
"""

from __future__ import annotations

import math

import numpy as np
import theano
import theano.tensor as T
from theano.tensor.var import TensorVariable

from theano_impl.distances import pairwise_distances
from theano_impl.support.ties import tied_ranks


def applies() -> bool:
    """Always: how many rows there are is not known when the graph is built."""
    return True


def nearest_farther(
    distances: TensorVariable, negative: TensorVariable, tolerance: TensorVariable
) -> tuple[TensorVariable, TensorVariable]:
    """The result of `_nearest_farther` in the component: (n, m) int64 and (n, m) bool."""
    m = distances.shape[1]
    rows = T.arange(distances.shape[0])[:, None]
    ranks = tied_ranks(distances, tolerance)
    # A negative's key orders by distance, then by index: rank · m + index. A key of m² stands for
    # each row that is none, and at the end: there no negative is farther.
    keys = T.sort(T.switch(negative, ranks * m + T.arange(m), m * m), axis=1)
    keys = T.concatenate([keys, T.zeros_like(keys[:, :1]) + m * m], axis=1)
    # Theano searches in one sorted row, not in many: sort what is sought and the keys together
    # and count the keys before it.
    order = T.argsort(T.concatenate([(ranks + 1) * m, keys], axis=1), axis=1, kind="mergesort")
    keys_before = T.cumsum(T.cast(order >= m, "int64"), axis=1)
    key = keys[rows, keys_before[rows, T.argsort(order, axis=1)[:, :m]]]
    return key % m, key < m * m


def applies_to_pool() -> bool:
    """Always: the size of the pool is not known when the graph is built."""
    return True


def violators(
    anchor: TensorVariable,
    pool: TensorVariable,
    reach: TensorVariable,
    tolerance: TensorVariable,
    *,
    distance: str,
    limit: int | None,
    block_size: int,
) -> tuple[TensorVariable, TensorVariable]:
    """The candidates within the reach, (n, 1), of each anchor, by blocks of the pool.

    distance: cosine or sqeuclidean. Returns the indices of the anchors and of the candidates.
    """

    def block_distances(
        start: TensorVariable, anchor: TensorVariable, pool: TensorVariable
    ) -> TensorVariable:
        block = pool[start : start + block_size]
        return pairwise_distances(anchor, block, distance=distance)

    # First reading: the distance of the limit-th violator, the cutoff. Nearer violators are kept,
    # and of those that tie with the cutoff as many as the quota allows, lower indices first.
    # What a scan carries keeps its shape, so a list of violators cannot grow in it: the first scan
    # counts them, the second writes them into a result of the right length.
    starts = T.arange(0, pool.shape[0], block_size)
    infinity = np.asarray(math.inf, anchor.dtype)
    cutoff, quota = T.alloc(infinity, anchor.shape[0], 1), T.zeros_like(reach, dtype="int64")
    counts = T.zeros((anchor.shape[0],), dtype="int64")
    if limit is None:

        def count(start, counts, anchor, pool, reach):
            violating = block_distances(start, anchor, pool) < reach
            return counts + T.sum(violating, axis=1)

        counts, _ = theano.scan(count, starts, counts, [anchor, pool, reach], strict=True)
        counts = counts[-1]
    else:

        def survey(start, nearest, anchor, pool, reach):
            distances = block_distances(start, anchor, pool)
            violating = T.switch(distances < reach, distances, infinity)
            joined = T.sort(T.concatenate([nearest, violating], axis=1), axis=1)
            return joined[:, : nearest.shape[1]]

        n_nearest = T.minimum(limit, pool.shape[0])
        nearest = T.alloc(infinity, anchor.shape[0], n_nearest)
        nearest, _ = theano.scan(survey, starts, nearest, [anchor, pool, reach], strict=True)
        nearest = nearest[-1]
        cutoff = nearest[:, -1][:, None]  # -1: would not be known to broadcast
        quota = limit - T.sum(nearest - cutoff < -tolerance, axis=1, keepdims=True)
        counts = T.sum(nearest < infinity, axis=1)

    def select(start, candidates, free, n_ties, anchor, pool, reach, cutoff, quota, tolerance):
        distances = block_distances(start, anchor, pool)
        offset = distances - cutoff
        tied = (distances < reach) & (abs(offset) <= tolerance)
        rank = n_ties[:, None] + T.cumsum(T.cast(tied, "int64"), axis=1)
        kept = ((distances < reach) & (offset < -tolerance)) | (tied & (rank <= quota))
        slots = free[:, None] + T.cumsum(T.cast(kept, "int64"), axis=1)
        rows, columns = kept.nonzero()
        candidates = T.set_subtensor(candidates[slots[rows, columns] - 1], start + columns)
        return candidates, slots[:, -1], rank[:, -1]

    candidates = T.zeros((T.sum(counts),), dtype="int64")
    free, n_ties = T.cumsum(counts) - counts, T.zeros_like(counts)
    (candidates, _, _), _ = theano.scan(
        select,
        starts,
        [candidates, free, n_ties],
        [anchor, pool, reach, cutoff, quota, tolerance],
        strict=True,
    )
    return T.repeat(T.arange(anchor.shape[0]), counts), candidates[-1]
