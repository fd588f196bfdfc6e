"""Greedy merges of adjacent nodes, free or along a labelled bracketing."""

from __future__ import annotations

import math
from collections.abc import Callable

import keras
import tensorflow as tf

from tf2_impl.support.checks import check_integers, check_values
from tf2_impl.support.greedy_tree import TIED
from tf2_impl.support.precision import widened
from tf2_impl.support.ties import first_minimum, machine_epsilon

Parents = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]
Scores = Callable[[tf.Tensor], tf.Tensor]


def adjacent_merges(
    vectors: tf.Tensor,
    allowed: tf.Tensor,
    parents: Parents,
    scores: Scores,
    score: keras.layers.Dense,
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """The merges, their first and last leaves, and the best wrong pair at each, (n−1, 2) all.

    Where no pair is wrong, the merge itself stands instead.

    Args:
        vectors: (n, dim), the leaves: nodes 0..n−1. The t-th merge makes node n+t.
        allowed: (n, n), whether a merge from this leaf to that leaf is right.
        parents: the parents of left and of right children, (k, dim) each.
        scores: the scores of parents, (k,).
        score: the projection that gives the scores.
    """
    n = tf.shape(vectors, out_type=tf.int64)[0]
    infinity = tf.constant(math.inf, vectors.dtype)
    largest = tf.constant(vectors.dtype.max / 2, vectors.dtype)
    tolerance = rounding_error(score)
    nodes = tf.concat([vectors, tf.zeros_like(vectors[1:])], axis=0)
    # One pair for each gap between two leaves. A gap is closed when its pair is merged.
    gaps = tf.range(n - 1)
    left, right = gaps, gaps + 1
    costs = pair_costs(parents, scores, tf.gather(nodes, left), tf.gather(nodes, right))
    rows = {"size": tf.cast(n - 1, tf.int32), "element_shape": (2,)}
    merges, spans, rivals = (tf.TensorArray(tf.int64, **rows) for _ in range(3))

    def step(t, nodes, left, right, first, last, costs, merges, spans, rivals):
        node, row = n + t, tf.cast(t, tf.int32)
        wrong = ~tf.gather_nd(allowed, tf.stack([first, last], axis=1))
        nan = tf.math.is_nan(costs)
        ranked = tf.where(wrong, infinity, tf.where(nan, largest, costs))
        gap = first_minimum(ranked, tolerance)
        ranked = tf.where(wrong, tf.where(nan, -infinity, costs), infinity)
        rival = first_minimum(ranked, tolerance)
        rival = tf.where(tf.reduce_min(ranked) < infinity, rival, gap)
        pair = tf.stack([left[gap], right[gap]])
        span = tf.stack([first[gap], last[gap]])
        merges, spans = merges.write(row, pair), spans.write(row, span)
        rivals = rivals.write(row, tf.stack([left[rival], right[rival]]))
        parent = parents(nodes[None, pair[0]], nodes[None, pair[1]])
        nodes = tf.tensor_scatter_nd_update(nodes, [[node]], parent)
        before, behind = right == pair[0], left == pair[1]
        right, last = tf.where(before, node, right), tf.where(before, span[1], last)
        left, first = tf.where(behind, node, left), tf.where(behind, span[0], first)
        costs = tf.where(gaps == gap, infinity, costs)
        new = tf.where(before | behind)
        pairs = tf.gather_nd(left, new), tf.gather_nd(right, new)
        found = pair_costs(parents, scores, *(tf.gather(nodes, ends) for ends in pairs))
        costs = tf.tensor_scatter_nd_update(costs, new, found)
        return t + 1, nodes, left, right, first, last, costs, merges, spans, rivals

    start = (tf.constant(0, tf.int64), nodes, left, right, left, right, costs)
    *_, merges, spans, rivals = tf.while_loop(
        lambda t, *_: t < n - 1, step, (*start, merges, spans, rivals)
    )
    return merges.stack(), spans.stack(), rivals.stack()


def pair_costs(parents: Parents, scores: Scores, left: tf.Tensor, right: tf.Tensor) -> tf.Tensor:
    """The negative scores of pairs; below infinity, which stands for a closed gap."""
    costs = -scores(parents(left, right))
    return tf.where(costs > costs.dtype.max / 2, costs.dtype.max / 2, costs)


def rounding_error(score: keras.layers.Dense) -> tf.Tensor:
    """The difference below which two scores count as equal: entries of parents are within ±1."""
    weights = score.kernel, score.bias
    size = sum(tf.reduce_sum(tf.abs(widened(tf.convert_to_tensor(one)))) for one in weights)
    finite = tf.where(tf.math.is_finite(size), size, tf.zeros_like(size))
    return TIED * machine_epsilon(finite.dtype) * finite


def check_brackets(brackets: tf.Tensor, n: tf.Tensor) -> tf.Tensor:
    """The n − 1 spans of a binary tree: distinct, of two leaves or more, none crossing another."""
    check_integers("brackets", brackets, ndim=2)
    brackets = tf.cast(brackets, tf.int64)
    shape = tf.shape(brackets, out_type=tf.int64)
    fits = tf.reduce_all(shape == tf.stack([n - 1, 2]))
    asserted = check_values(fits, "brackets", "two leaves for each merge, (n−1, 2)", shape)
    # A graph goes on beside its assertion: it must be told to wait.
    with tf.control_dependencies([] if asserted is None else [asserted]):
        brackets = tf.ensure_shape(tf.identity(brackets), (None, 2))
    first, last = brackets[:, 0], brackets[:, 1]
    inside = tf.reduce_all((first >= 0) & (first < last) & (last < n))
    crossing = (first[:, None] < first) & (first <= last[:, None]) & (last[:, None] < last)
    same = (first[:, None] == first) & (last[:, None] == last)
    distinct = tf.math.count_nonzero(same) == n - 1
    ok = inside & distinct & ~tf.reduce_any(crossing)
    asserted = check_values(ok, "brackets", "those of a binary tree", brackets)
    with tf.control_dependencies([] if asserted is None else [asserted]):
        return tf.identity(brackets)


def bracket_merges(brackets: tf.Tensor) -> tf.Tensor:
    """The merges of a bracketing, (n−1, 2): nodes of fewer leaves first, then from the left."""
    n = tf.shape(brackets, out_type=tf.int64)[0] + 1
    order = tf.argsort((brackets[:, 1] - brackets[:, 0]) * n + brackets[:, 0])
    brackets = tf.gather(brackets, order)
    leaves = tf.range(n)
    table = tf.fill((n + 1, n), tf.constant(-1, tf.int64))  # the node from its first to its last
    table = tf.tensor_scatter_nd_update(table, tf.stack([leaves, leaves], axis=1), leaves)
    table = tf.tensor_scatter_nd_update(table, brackets, n + leaves[:-1])
    # The children end and begin on both sides of the one gap where two nodes meet.
    left = tf.gather(table, brackets[:, 0])  # (n−1, n)
    right = tf.gather(tf.transpose(table[1:]), brackets[:, 1])
    gap = tf.argmax(tf.cast((left >= 0) & (right >= 0), tf.int32), axis=1)
    return tf.stack([tf.gather(side, gap, batch_dims=1) for side in (left, right)], axis=1)


def replayed(vectors: tf.Tensor, merges: tf.Tensor, parents: Parents) -> tf.Tensor:
    """The embeddings, (2n−1, dim), of all nodes of these merges, (n−1, 2)."""
    n = tf.shape(vectors)[0]
    merges = tf.cast(merges, tf.int32)
    embeddings = tf.TensorArray(
        vectors.dtype, size=2 * n - 1, clear_after_read=False, element_shape=vectors.shape[1:]
    ).scatter(tf.range(n), vectors)

    def step(t, embeddings):
        left, right = embeddings.read(merges[t, 0]), embeddings.read(merges[t, 1])
        return t + 1, embeddings.write(n + t, parents(left[None], right[None])[0])

    _, embeddings = tf.while_loop(lambda t, _: t < n - 1, step, (0, embeddings))
    return embeddings.stack()


def allowed_spans(brackets: tf.Tensor | None, n: tf.Tensor) -> tf.Tensor:
    """Whether a merge from this leaf to that leaf is in the brackets, (n, n); without them all."""
    if brackets is None:
        return tf.ones((n, n), tf.bool)
    return tf.scatter_nd(brackets, tf.ones_like(brackets[:, 0]), (n, n)) > 0
