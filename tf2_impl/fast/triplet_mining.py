"""Mining by sorts: semi-hard triplets in n² log n instead of n³, and a pool block by block.

Semi-hard: the nearest negative that is farther than a positive comes right after it in the order
of the anchor's distances. One sort of each anchor's negatives serves all of its positives. A pool
of many candidates is read in blocks, which bounds the memory: with a limit twice, first for the
distance to cut at.
"""

from __future__ import annotations

import math

import tensorflow as tf

from tf2_impl.distances import pairwise_distances
from tf2_impl.support.compiler import in_xla
from tf2_impl.support.ties import tied_ranks


def applies() -> bool:
    """Not under XLA, whose search compares each with all: memory of n³."""
    return not in_xla()


def nearest_farther(
    distances: tf.Tensor, negative: tf.Tensor, tolerance: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """The result of `_nearest_farther` in the component: (n, m) int64 and (n, m) bool."""
    m = tf.shape(distances, out_type=tf.int64)[1]
    ranks = tied_ranks(distances, tolerance)
    # A negative's key orders by distance, then by index: rank · m + index. A key of m² stands for
    # each row that is none, and at the end: there no negative is farther.
    keys = tf.sort(tf.where(negative, ranks * m + tf.range(m), m * m), axis=1)
    keys = tf.pad(keys, [[0, 0], [0, 1]], constant_values=m * m)
    key = tf.gather(keys, tf.searchsorted(keys, (ranks + 1) * m), batch_dims=1)
    return key % m, key < m * m


def applies_to_pool(pool: tf.Tensor, block_size: int) -> bool:
    """Whether the pool is larger than a block, or of a size that is not known in this graph.

    Under XLA always: it refuses blocks, and pools of every size are to be refused alike.
    """
    return pool.shape[0] is None or pool.shape[0] > block_size or in_xla()


def violators(
    anchor: tf.Tensor,
    pool: tf.Tensor,
    reach: tf.Tensor,
    tolerance: tf.Tensor,
    *,
    distance: str,
    limit: int | None,
    block_size: int,
) -> tf.Tensor:
    """The candidates within the reach, (n, 1), of each anchor, by blocks of the pool.

    distance: cosine or sqeuclidean. Returns pairs of indices, of an anchor and a candidate.
    """
    pool_size = _refused_by_xla(tf.shape(pool, out_type=tf.int64)[0])

    def more(start: tf.Tensor, *_: tf.Tensor | tf.TensorArray) -> tf.Tensor:
        return start < pool_size

    def block_distances(start: tf.Tensor) -> tf.Tensor:
        block = pool[start : start + block_size]
        return pairwise_distances(anchor, block, distance=distance)

    # First reading: the distance of the limit-th violator, the cutoff. Nearer violators are kept,
    # and of those that tie with the cutoff as many as the quota allows, lower indices first.
    zero = tf.zeros((), tf.int64)
    infinity = tf.constant(math.inf, anchor.dtype)
    cutoff, quota = tf.fill(tf.shape(reach), infinity), 0
    if limit is not None:
        n_nearest = tf.cast(tf.minimum(tf.cast(limit, tf.int64), pool_size), tf.int32)

        def survey(start: tf.Tensor, nearest: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            distances = block_distances(start)
            violating = tf.where(distances < reach, distances, infinity)
            joined = tf.concat([nearest, violating], axis=1)
            return start + block_size, -tf.math.top_k(-joined, n_nearest).values

        _, nearest = tf.while_loop(
            more,
            survey,
            (zero, tf.repeat(cutoff, n_nearest, axis=1)),
            shape_invariants=(zero.shape, tf.TensorShape([None, None])),
            parallel_iterations=1,
        )
        cutoff = nearest[:, -1:]
        n_nearer = tf.math.count_nonzero(nearest - cutoff < -tolerance, axis=1, keepdims=True)
        quota = limit - n_nearer

    def select(
        start: tf.Tensor, n_ties: tf.Tensor, pairs: tf.TensorArray
    ) -> tuple[tf.Tensor, tf.Tensor, tf.TensorArray]:
        distances = block_distances(start)
        offset = distances - cutoff
        tied = (distances < reach) & (tf.abs(offset) <= tolerance)
        rank = n_ties + tf.cumsum(tf.cast(tied, tf.int64), axis=1)
        kept = ((distances < reach) & (offset < -tolerance)) | (tied & (rank <= quota))
        pairs = pairs.write(pairs.size(), tf.where(kept) + tf.stack([zero, start]))
        return start + block_size, rank[:, -1:], pairs

    pairs = tf.TensorArray(
        tf.int64, 0, dynamic_size=True, infer_shape=False, element_shape=[None, 2]
    )
    n_ties = tf.zeros_like(reach, dtype=tf.int64)
    # One block at a time: iterations that overlap would each hold theirs in memory.
    _, _, pairs = tf.while_loop(
        more,
        select,
        (zero, n_ties, pairs),
        shape_invariants=(zero.shape, tf.TensorShape([None, None]), None),
        parallel_iterations=1,
    )
    joined = pairs.concat()
    return tf.gather(joined, tf.argsort(joined[:, 0], stable=True))


def _refused_by_xla(value: tf.Tensor) -> tf.Tensor:
    """The scalar, by way of an operation that XLA has not.

    XLA does not let a TensorArray grow: without an error, nothing would be found.
    """
    return tf.unique_with_counts(value[None]).y[0]
