"""Greedy search for a tree: merge the pair of nodes with the lowest score until one is left."""

from __future__ import annotations

import math
from collections.abc import Callable

import tensorflow as tf

from tf2_impl.support.checks import check_dtype, check_floating, check_not_empty, check_width
from tf2_impl.support.precision import single, widened
from tf2_impl.support.ties import first_minimum, machine_epsilon

TIED = 64  # two scores count as equal when they differ by at most so many roundings

Merge = Callable[[tf.Tensor, tf.Tensor, tf.Tensor], tuple[tf.Tensor, tf.Tensor]]


def check_vectors(vectors: tf.Tensor, dim: int, dtype: str) -> tf.Tensor:
    """TypeError or ValueError unless these are vectors for weights of this dtype.

    (n, dim), or a batch of sequences, (batch, n, dim); n at least 1.
    """
    rank = 3 if vectors.shape.rank == 3 else 2
    check_floating("vectors", vectors, ndim=rank)
    check_dtype("vectors", vectors, dtype)
    check_not_empty("vectors", vectors, axis=rank - 2)
    check_width("vectors", vectors, dim)
    return tf.ensure_shape(vectors, (*[None] * (rank - 1), dim))


def greedy_merges(vectors: tf.Tensor, merge: Merge, *, adjacent: bool) -> tf.Tensor:
    """The merges, (n−1, 2). Each pair of nodes is scored once, and each new node in one batch.

    Args:
        vectors: (n, dim), the leaves: nodes 0..n−1. The t-th merge makes node n+t.
        merge: parents (k, dim) and errors (k,) of left and of right children, (k, dim) each, and
            of their numbers of leaves, (k, 2).
        adjacent: whether only neighboring nodes are merged.
    """
    n = tf.shape(vectors, out_type=tf.int64)[0]
    reach = tf.constant(1, tf.int64) if adjacent else n
    infinity = tf.constant(math.inf, vectors.dtype)
    length = largest_length(vectors)
    # A parent takes the slot of its left child; the slot of the right child is closed.
    ids = tf.range(n)
    is_open = tf.ones_like(ids, tf.bool)
    scores = tf.zeros_like(vectors[:, 0])
    leaves = tf.ones_like(scores)
    gap = ids - ids[:, None]
    pairs = tf.where((gap > 0) & (gap <= reach))
    found = pair_scores(merge, vectors, scores, pairs[:, 0], pairs[:, 1], leaves)
    costs = tf.fill((n, n), infinity)  # score of merging the nodes in slots i < j
    costs = tf.tensor_scatter_nd_update(costs, pairs, found)
    merges = tf.TensorArray(tf.int64, size=tf.cast(n - 1, tf.int32), element_shape=(2,))

    def step(t, nodes, scores, leaves, ids, is_open, costs, merges):
        flat = tf.reshape(costs, (-1,))
        lowest = first_minimum(flat, rounding_error(tf.reduce_min(flat), length))
        left, right = lowest // n, lowest % n
        merges = merges.write(tf.cast(t, tf.int32), tf.gather(ids, [left, right]))
        counts = tf.gather(leaves, [[left, right]])  # (1, 2)
        parent, _ = merge(nodes[left][None], nodes[right][None], counts)
        nodes = tf.tensor_scatter_nd_update(nodes, [[left]], parent)
        scores = tf.tensor_scatter_nd_update(scores, [[left]], [costs[left, right]])
        leaves = tf.tensor_scatter_nd_update(leaves, [[left]], tf.reduce_sum(counts, axis=1))
        ids = tf.tensor_scatter_nd_update(ids, [[left]], [n + t])
        is_open = tf.tensor_scatter_nd_update(is_open, [[right]], [False])
        costs = tf.where(is_open[:, None] & is_open, costs, infinity)
        partners = neighbors(is_open, left, reach)
        i, j = tf.minimum(partners, left), tf.maximum(partners, left)
        found = pair_scores(merge, nodes, scores, i, j, leaves)
        costs = tf.tensor_scatter_nd_update(costs, tf.stack([i, j], axis=1), found)
        return t + 1, nodes, scores, leaves, ids, is_open, costs, merges

    start = (tf.constant(0, tf.int64), vectors, scores, leaves, ids, is_open, costs, merges)
    *_, merges = tf.while_loop(lambda t, *_: t < n - 1, step, start)
    return merges.stack()


def pair_scores(
    merge: Merge,
    nodes: tf.Tensor,
    scores: tf.Tensor,
    i: tf.Tensor,
    j: tf.Tensor,
    leaves: tf.Tensor,
) -> tf.Tensor:
    """The scores of the parents of the nodes in slots i and j, (k,) each."""
    counts = tf.stack([tf.gather(leaves, i), tf.gather(leaves, j)], axis=1)  # (k, 2)
    _, errors = merge(tf.gather(nodes, i), tf.gather(nodes, j), counts)
    found = errors + tf.gather(scores, i) + tf.gather(scores, j)
    # NaN and infinite scores are merged last, but before a closed slot, which is infinite.
    largest = found.dtype.max / 2
    return tf.where(found < largest, found, largest)


def largest_length(vectors: tf.Tensor) -> tf.Tensor:
    """The length of the longest finite vector: (..., n, dim) → (...)."""
    squares = tf.reduce_sum(vectors**2, axis=-1)
    finite = tf.where(tf.math.is_finite(squares), squares, tf.zeros_like(squares))
    return tf.sqrt(tf.reduce_max(finite, axis=-1))


def rounding_error(lowest: tf.Tensor, length: tf.Tensor) -> tf.Tensor:
    """How far above the lowest score an equal score may be.

    A score is half a squared difference, whose entries carry rounding errors in proportion to the
    length of the vectors. Near a perfect reconstruction these exceed a rounding of the score.
    """
    unit = TIED * machine_epsilon(lowest.dtype)
    return unit * (lowest + tf.sqrt(lowest) * length + unit * length**2)


def neighbors(is_open: tf.Tensor, slot: tf.Tensor, reach: tf.Tensor) -> tf.Tensor:
    """The other open slots, in order, at most `reach` open slots away."""
    rank = tf.cumsum(tf.cast(is_open, tf.int64))
    away = tf.abs(rank - rank[slot])
    return tf.where(is_open & (away > 0) & (away <= reach))[:, 0]


def replayed(vectors: tf.Tensor, merges: tf.Tensor, merge: Merge) -> tuple[tf.Tensor, tf.Tensor]:
    """Embeddings, (2n−1, dim), and scores, (2n−1,), of all nodes of these merges, (n−1, 2).

    A score is the error of the merge and the scores of both children.
    """
    n, merges = tf.shape(vectors)[0], tf.cast(merges, tf.int32)
    nodes = {"size": 2 * n - 1, "clear_after_read": False}
    embeddings = tf.TensorArray(vectors.dtype, **nodes, element_shape=vectors.shape[1:])
    embeddings = embeddings.scatter(tf.range(n), vectors)
    scores = tf.TensorArray(single(vectors.dtype), **nodes, element_shape=())
    zeros = widened(tf.zeros_like(vectors[:, 0]))
    scores = scores.scatter(tf.range(n), zeros)
    # How many leaves each node has, (2n−1,): integers, for which no gradient is carried through.
    leaves = tf.cast(tf.range(2 * n - 1) < n, tf.int32)

    def step(t, embeddings, scores, leaves):
        left, right = merges[t, 0], merges[t, 1]
        counts = tf.gather(leaves, merges[t : t + 1])  # (1, 2)
        children = embeddings.read(left)[None], embeddings.read(right)[None]
        parent, error = merge(*children, tf.cast(counts, scores.dtype))
        score = error[0] + scores.read(left) + scores.read(right)
        leaves = tf.tensor_scatter_nd_update(leaves, [[n + t]], tf.reduce_sum(counts, axis=1))
        return t + 1, embeddings.write(n + t, parent[0]), scores.write(n + t, score), leaves

    start = (0, embeddings, scores, leaves)
    _, embeddings, scores, _ = tf.while_loop(lambda t, *_: t < n - 1, step, start)
    return embeddings.stack(), scores.stack()
