"""Trees over batches of sequences of unequal lengths: every step merges in all of them at once.

Each tree is the one of its sequence alone: the search and the ties are those of `greedy_tree` and
of `bracketing`, which serve a single sequence.
"""

from __future__ import annotations

import math

import keras
import tensorflow as tf

from tf2_impl.support.bracketing import Parents, Scores, pair_costs
from tf2_impl.support.bracketing import rounding_error as score_error
from tf2_impl.support.checks import check_integers, check_size, check_values
from tf2_impl.support.greedy_tree import Merge, largest_length, pair_scores, rounding_error
from tf2_impl.support.precision import single
from tf2_impl.support.ties import first_minimum


def is_batch(vectors: tf.Tensor, lengths: tf.Tensor | None) -> bool:
    """Whether vectors are a batch of sequences. ValueError for lengths beside a single one."""
    batched: bool = vectors.shape.rank == 3
    if lengths is not None and not batched:
        raise ValueError(f"lengths: expected None beside vectors of two axes, got {lengths}")
    return batched


def as_sequences(vectors: tf.Tensor, lengths: tf.Tensor | None) -> tuple[tf.Tensor, tf.Tensor]:
    """The leaves of a batch, (batch, n, dim), 0 behind the ends, and the lengths, (batch,) int64.

    Raises:
        TypeError: lengths that are no integers.
        ValueError: another number of lengths, or lengths outside of 1..n.
    """
    batch, n = tf.unstack(tf.shape(vectors, out_type=tf.int64)[:2])
    if lengths is None:
        return vectors, tf.fill((batch,), n)
    check_integers("lengths", lengths, ndim=1)
    check_size("lengths", lengths, 0, vectors.shape[0] or batch, "lengths")
    lengths = tf.cast(lengths, tf.int64)
    ok = tf.reduce_all((lengths >= 1) & (lengths <= n))
    asserted = check_values(ok, "lengths", "lengths in 1..n", lengths)
    # A graph goes on beside its assertion: it must be told to wait.
    with tf.control_dependencies([] if asserted is None else [asserted]):
        lengths = tf.identity(lengths)
    real = tf.range(n) < lengths[:, None]
    return tf.where(real[..., None], vectors, tf.zeros_like(vectors)), lengths


def greedy_merges(
    vectors: tf.Tensor, lengths: tf.Tensor, merge: Merge, *, adjacent: bool
) -> tf.Tensor:
    """The merges of each sequence, (batch, n−1, 2), −1 behind its root.

    Each pair of nodes is scored once, and the new nodes of all sequences in one batch.

    Args:
        vectors: (batch, n, dim), the leaves: nodes 0..length−1 of a sequence. Its t-th merge makes
            node length+t.
        lengths: (batch,) int64.
        merge: parents (k, dim) and errors (k,) of left and of right children, (k, dim) each, and
            of their numbers of leaves, (k, 2).
        adjacent: whether only neighboring nodes are merged.
    """
    batch, n = tf.unstack(tf.shape(vectors, out_type=tf.int64)[:2])
    reach = tf.constant(1, tf.int64) if adjacent else n
    infinity = tf.constant(math.inf, vectors.dtype)
    length = largest_length(vectors)
    # Slots are numbered through all sequences, n for each. A parent takes the slot of its left
    # child; the slot of the right child is closed.
    slot = tf.range(n)
    is_open = slot < lengths[:, None]
    ids = tf.tile(slot, [batch])
    nodes = tf.reshape(vectors, (batch * n, vectors.shape[2]))
    scores = tf.zeros_like(nodes[:, 0])
    leaves = tf.ones_like(scores)
    gap = slot - slot[:, None]
    places = tf.where((gap > 0) & (gap <= reach) & is_open[:, None])  # sequence, i, j
    first = n * places[:, :1] + places[:, 1:]
    found = pair_scores(merge, nodes, scores, first[:, 0], first[:, 1], leaves)
    costs = tf.fill((batch, n, n), infinity)  # score of merging the nodes in slots i < j
    costs = tf.tensor_scatter_nd_update(costs, places, found)
    merges = tf.fill((n - 1, batch, 2), tf.constant(-1, tf.int64))

    def step(t, nodes, scores, leaves, ids, is_open, costs, merges):
        b = tf.where(t < lengths - 1)[:, 0]  # the sequences with two nodes or more
        flat = tf.reshape(tf.gather(costs, b), (-1, n * n))
        tolerance = rounding_error(tf.reduce_min(flat, axis=1), tf.gather(length, b))
        lowest = first_minimum(flat, tolerance[:, None])
        left, right = lowest // n, lowest % n
        i, j = b * n + left, b * n + right
        pair = tf.stack([tf.gather(ids, i), tf.gather(ids, j)], axis=1)
        steps = tf.stack([tf.fill(tf.shape(b), t), b], axis=1)
        merges = tf.tensor_scatter_nd_update(merges, steps, pair)
        counts = tf.stack([tf.gather(leaves, i), tf.gather(leaves, j)], axis=1)
        parent, _ = merge(tf.gather(nodes, i), tf.gather(nodes, j), counts)
        score = tf.gather_nd(costs, tf.stack([b, left, right], axis=1))
        nodes = tf.tensor_scatter_nd_update(nodes, i[:, None], parent)
        scores = tf.tensor_scatter_nd_update(scores, i[:, None], score)
        leaves = tf.tensor_scatter_nd_update(leaves, i[:, None], tf.reduce_sum(counts, axis=1))
        ids = tf.tensor_scatter_nd_update(ids, i[:, None], tf.gather(lengths, b) + t)
        closed = tf.stack([b, right], axis=1)
        is_open = tf.tensor_scatter_nd_update(is_open, closed, tf.zeros_like(b, tf.bool))
        costs = tf.where(is_open[:, :, None] & is_open[:, None], costs, infinity)
        row, partners = neighbors(tf.gather(is_open, b), left, reach)
        b, left = tf.gather(b, row), tf.gather(left, row)
        i, j = tf.minimum(partners, left), tf.maximum(partners, left)
        found = pair_scores(merge, nodes, scores, b * n + i, b * n + j, leaves)
        costs = tf.tensor_scatter_nd_update(costs, tf.stack([b, i, j], axis=1), found)
        return t + 1, nodes, scores, leaves, ids, is_open, costs, merges

    start = (tf.constant(0, tf.int64), nodes, scores, leaves, ids, is_open, costs, merges)
    *_, merges = tf.while_loop(lambda t, *_: t < n - 1, step, start)
    return tf.transpose(merges, (1, 0, 2))


def neighbors(is_open: tf.Tensor, slot: tf.Tensor, reach: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """The other open slots of each row, in order, at most `reach` open slots away: (row, slot)."""
    rank = tf.cumsum(tf.cast(is_open, tf.int64), axis=1)
    away = tf.abs(rank - tf.gather(rank, slot, batch_dims=1)[:, None])
    found = tf.where(is_open & (away > 0) & (away <= reach))
    return found[:, 0], found[:, 1]


def adjacent_merges(
    vectors: tf.Tensor,
    lengths: tf.Tensor,
    allowed: tf.Tensor,
    parents: Parents,
    scores: Scores,
    score: keras.layers.Dense,
) -> tf.Tensor:
    """The merges, their first and last leaves, and the best wrong pair at each: (3, batch, n−1, 2).

    Where no pair is wrong, the merge itself stands instead. Behind the root of a sequence stand −1.

    Args:
        vectors: (batch, n, dim), the leaves: nodes 0..length−1 of a sequence. Its t-th merge makes
            node length+t.
        lengths: (batch,) int64.
        allowed: (batch, n, n), whether a merge from this leaf to that leaf is right.
        parents: the parents of left and of right children, (k, dim) each.
        scores: the scores of parents, (k,).
        score: the projection that gives the scores.
    """
    batch, n = tf.unstack(tf.shape(vectors, out_type=tf.int64)[:2])
    infinity = tf.constant(math.inf, vectors.dtype)
    largest = tf.constant(vectors.dtype.max / 2, vectors.dtype)
    tolerance = score_error(score)
    # One pair for each gap between two leaves. A gap is closed when its pair is merged; beside
    # padding it is closed from the beginning, and has no node on either side.
    gaps = tf.range(n - 1)
    real = gaps + 1 < lengths[:, None]
    # Of each gap the nodes on its left and right, and the first and the last leaf of both.
    ends = tf.where(real[..., None], tf.stack([gaps, gaps + 1] * 2, axis=1), -1)
    places = tf.where(real)
    left = tf.gather_nd(vectors, places)
    right = tf.gather_nd(vectors[:, 1:], places)
    costs = tf.fill((batch, n - 1), infinity)
    costs = tf.tensor_scatter_nd_update(costs, places, pair_costs(parents, scores, left, right))
    nodes = tf.concat([vectors, tf.zeros_like(vectors[:, 1:])], axis=1)
    rows = tf.fill((n - 1, batch, 6), tf.constant(-1, tf.int64))

    def step(t, nodes, ends, costs, rows):
        b = tf.where(t < lengths - 1)[:, 0]  # the sequences with two nodes or more
        ours, cost = tf.gather(ends, b), tf.gather(costs, b)  # (k, n−1, 4), (k, n−1)
        spans = tf.stack(
            [
                tf.repeat(b, tf.cast(n - 1, tf.int32)),
                *tf.unstack(tf.reshape(tf.maximum(ours[..., 2:], 0), (-1, 2)), axis=1),
            ],
            axis=1,
        )
        wrong = ~tf.reshape(tf.gather_nd(allowed, spans), tf.shape(cost))
        nan = tf.math.is_nan(cost)
        ranked = tf.where(wrong, infinity, tf.where(nan, largest, cost))
        gap = first_minimum(ranked, tolerance)
        ranked = tf.where(wrong, tf.where(nan, -infinity, cost), infinity)
        rival = first_minimum(ranked, tolerance)
        rival = tf.where(tf.reduce_min(ranked, axis=1) < infinity, rival, gap)
        pair = tf.gather(ours, gap, batch_dims=1)  # (k, 4)
        other = tf.gather(ours, rival, batch_dims=1)[:, :2]
        steps = tf.stack([tf.fill(tf.shape(b), t), b], axis=1)
        rows = tf.tensor_scatter_nd_update(rows, steps, tf.concat([pair, other], axis=1))
        node = tf.gather(lengths, b) + t
        children = [tf.gather_nd(nodes, tf.stack([b, pair[:, side]], axis=1)) for side in (0, 1)]
        places = tf.stack([b, node], axis=1)
        nodes = tf.tensor_scatter_nd_update(nodes, places, parents(*children))
        before, behind = ours[..., 1] == pair[:, :1], ours[..., 0] == pair[:, 1:2]
        new = tf.concat([tf.stack([node, node], axis=1), pair[:, 2:]], axis=1)  # (k, 4)
        changed = tf.stack([behind, before, behind, before], axis=2)
        ours = tf.where(changed, new[:, None], ours)
        ends = tf.tensor_scatter_nd_update(ends, b[:, None], ours)
        closed = tf.stack([b, gap], axis=1)
        costs = tf.tensor_scatter_nd_update(costs, closed, tf.fill(tf.shape(b), infinity))
        found = tf.where(before | behind)
        b, sides = tf.gather(b, found[:, 0]), tf.gather_nd(ours, found)
        pairs = [tf.gather_nd(nodes, tf.stack([b, sides[:, side]], axis=1)) for side in (0, 1)]
        places = tf.stack([b, found[:, 1]], axis=1)
        costs = tf.tensor_scatter_nd_update(costs, places, pair_costs(parents, scores, *pairs))
        return t + 1, nodes, ends, costs, rows

    start = (tf.constant(0, tf.int64), nodes, ends, costs, rows)
    *_, rows = tf.while_loop(lambda t, *_: t < n - 1, step, start)
    found = tf.reshape(rows, (n - 1, batch, 3, 2))
    return tf.transpose(found, (2, 1, 0, 3))


def replayed(
    vectors: tf.Tensor, lengths: tf.Tensor, merges: tf.Tensor, merge: Merge
) -> tuple[tf.Tensor, tf.Tensor]:
    """Embeddings, (batch, 2n−1, dim), and scores, (batch, 2n−1), of the merges of a batch.

    Nodes behind the root of a sequence repeat the root.
    """
    batch, n = tf.unstack(tf.shape(vectors)[:2])
    count = 2 * n - 1  # nodes of a sequence: n leaves, with padding among them, then the others
    merges, lengths = tf.cast(merges, tf.int32), tf.cast(lengths, tf.int32)
    size = {"size": batch * count, "clear_after_read": False}
    embeddings = tf.TensorArray(vectors.dtype, **size, element_shape=vectors.shape[2:])
    scores = tf.TensorArray(single(vectors.dtype), **size, element_shape=())
    places = tf.reshape(count * tf.range(batch)[:, None] + tf.range(n), (-1,))
    embeddings = embeddings.scatter(places, tf.reshape(vectors, (batch * n, vectors.shape[2])))
    scores = scores.scatter(places, tf.zeros((batch * n,), single(vectors.dtype)))
    leaves = tf.ones((batch * count,), tf.int32)  # integers: no gradient is carried through

    def numbered(b: tf.Tensor, nodes: tf.Tensor) -> tf.Tensor:
        """Where the nodes, (k, m), of sequences b, (k,), stand among those of all sequences."""
        own = tf.gather(lengths, b)[:, None]
        return count * b[:, None] + nodes + tf.where(nodes < own, 0, n - own)

    def step(t, embeddings, scores, leaves):
        b = tf.cast(tf.where(t < lengths - 1)[:, 0], tf.int32)
        pair = numbered(b, tf.gather(merges[:, t], b))  # (k, 2)
        node = count * b + n + t
        counts = tf.gather(leaves, pair)
        children = embeddings.gather(tf.reshape(pair, (-1,)))
        left, right = tf.unstack(tf.reshape(children, (-1, 2, vectors.shape[2])), axis=1)
        parent, error = merge(left, right, tf.cast(counts, scores.dtype))
        below = tf.reshape(scores.gather(tf.reshape(pair, (-1,))), (-1, 2))
        scores = scores.scatter(node, error + tf.reduce_sum(below, axis=1))
        total = tf.reduce_sum(counts, axis=1)
        leaves = tf.tensor_scatter_nd_update(leaves, node[:, None], total)
        return t + 1, embeddings.scatter(node, parent), scores, leaves

    start = (0, embeddings, scores, leaves)
    longest = tf.reduce_max(tf.concat([lengths, [1]], axis=0))
    _, embeddings, scores, _ = tf.while_loop(lambda t, *_: t < longest - 1, step, start)
    every = numbered(tf.range(batch), all_nodes(lengths, count))
    return tf.gather(embeddings.stack(), every), tf.gather(scores.stack(), every)


def replayed_parents(
    vectors: tf.Tensor, lengths: tf.Tensor, merges: tf.Tensor, parents: Parents
) -> tf.Tensor:
    """The embeddings of `replayed`, of parents that have no errors."""

    def merge(left, right, leaves):
        return parents(left, right), tf.zeros_like(leaves[:, 0])

    return replayed(vectors, lengths, merges, merge)[0]


def scores_of_all(embeddings: tf.Tensor, lengths: tf.Tensor, scores: Scores) -> tf.Tensor:
    """The scores of all nodes, (batch, 2n−1), 0 for leaves, of their embeddings, (..., dim)."""
    nodes = all_nodes(lengths, tf.shape(embeddings, out_type=tf.int64)[1])
    inner = nodes >= lengths[:, None]
    parents = tf.where(inner[..., None], embeddings, tf.zeros_like(embeddings))
    found = scores(tf.reshape(parents, (-1, embeddings.shape[-1])))
    found = tf.reshape(found, tf.shape(nodes))
    return tf.where(inner, found, tf.zeros_like(found))


def all_nodes(lengths: tf.Tensor, count: tf.Tensor) -> tf.Tensor:
    """The nodes of each tree, (batch, count), with the root in the place of all behind it."""
    return tf.minimum(tf.range(count), 2 * lengths[:, None] - 2)


def of_merges(scores: tf.Tensor, lengths: tf.Tensor) -> tf.Tensor:
    """Of the scores of all nodes, (batch, 2n−1), those of what the merges made, (batch, n−1)."""
    merges = tf.range(tf.shape(scores, out_type=tf.int64)[1] // 2)
    made = tf.minimum(lengths[:, None] + merges, 2 * lengths[:, None] - 2)
    return tf.gather(scores, made, batch_dims=1)


def check_brackets(brackets: tf.Tensor, lengths: tf.Tensor, n: tf.Tensor) -> tf.Tensor:
    """Brackets of a batch, (batch, n−1, 2), of which length − 1 are those of a binary tree.

    (0, 0) in the place of padding.
    """
    check_integers("brackets", brackets, ndim=3)
    brackets = tf.cast(brackets, tf.int64)
    shape, batch = tf.shape(brackets, out_type=tf.int64), tf.size(lengths, out_type=tf.int64)
    fits = tf.reduce_all(shape == tf.stack([batch, n - 1, 2]))
    asserted = check_values(fits, "brackets", "two leaves for each merge, (batch, n−1, 2)", shape)
    with tf.control_dependencies([] if asserted is None else [asserted]):
        brackets = tf.ensure_shape(tf.identity(brackets), (None, None, 2))
    spans = tf.range(n - 1)
    real = spans < lengths[:, None] - 1
    first, last = brackets[..., 0], brackets[..., 1]
    inside = (first >= 0) & (first < last) & (last < lengths[:, None])
    begin, end, first, last = first[..., None], last[..., None], first[:, None], last[:, None]
    wrong = (begin < first) & (first <= end) & (end < last)
    wrong |= (begin == first) & (end == last) & (spans[:, None] != spans)
    wrong &= real[..., None] & real[:, None]
    ok = tf.reduce_all(inside | ~real) & ~tf.reduce_any(wrong)
    asserted = check_values(ok, "brackets", "those of a binary tree", brackets)
    with tf.control_dependencies([] if asserted is None else [asserted]):
        return tf.where(real[..., None], brackets, 0)


def bracket_merges(brackets: tf.Tensor, lengths: tf.Tensor) -> tf.Tensor:
    """The merges of bracketings, (batch, n−1, 2): nodes of fewer leaves first, then from the left.

    Behind the root of a sequence stand −1.
    """
    batch, spans = tf.unstack(tf.shape(brackets, out_type=tf.int64)[:2])
    n, leaves = spans + 1, tf.range(spans + 1)
    padding = leaves[:-1] >= lengths[:, None] - 1
    rank = (brackets[..., 1] - brackets[..., 0]) * n + brackets[..., 0]
    order = tf.argsort(tf.where(padding, n * n, rank), axis=1)
    brackets = tf.gather(brackets, order, batch_dims=1)
    # table[b, i, j]: the node from leaf i to leaf j of sequence b, or −1.
    places = tf.where(~padding)
    ends = tf.concat([places[:, :1], tf.gather_nd(brackets, places)], axis=1)
    table = tf.linalg.diag(leaves + 1)[None] - 1
    table = tf.tile(tf.pad(table, [[0, 0], [0, 1], [0, 0]], constant_values=-1), [batch, 1, 1])
    node = tf.gather(lengths, places[:, 0]) + places[:, 1]
    table = tf.tensor_scatter_nd_update(table, ends, node)
    # The children end and begin on both sides of the one gap where two nodes meet.
    left = tf.gather(table, brackets[..., 0], batch_dims=1)  # (batch, n−1, n)
    right = tf.gather(tf.transpose(table[:, 1:], (0, 2, 1)), brackets[..., 1], batch_dims=1)
    gap = tf.argmax(tf.cast((left >= 0) & (right >= 0), tf.int32), axis=2)
    sides = [tf.gather(side, gap, batch_dims=2) for side in (left, right)]
    return tf.where(padding[..., None], tf.constant(-1, tf.int64), tf.stack(sides, axis=2))


def allowed_spans(brackets: tf.Tensor | None, lengths: tf.Tensor, n: tf.Tensor) -> tf.Tensor:
    """Whether a merge from this leaf to that leaf is in the brackets; without them all are.

    (batch, n, n), of brackets as `check_brackets` returns them.
    """
    shape = tf.stack([tf.size(lengths, out_type=tf.int64), n, n])
    if brackets is None:
        return tf.ones(shape, tf.bool)
    places = tf.where(brackets[..., 1] > 0)  # but padding
    spans = tf.concat([places[:, :1], tf.gather_nd(brackets, places)], axis=1)
    return tf.scatter_nd(spans, tf.ones_like(spans[:, 0]), shape) > 0


def children_of(
    pairs: tf.Tensor, embeddings: tf.Tensor, real: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """The left and the right nodes of pairs, (batch·(n−1), dim) each; 0 where a pair is not real.

    pairs: (batch, n−1, 2); embeddings: (batch, 2n−1, dim); real: (batch, n−1).
    """
    children = tf.gather(embeddings, tf.maximum(pairs, 0), batch_dims=1)  # (batch, n−1, 2, dim)
    children = tf.where(real[..., None, None], children, tf.zeros_like(children))
    left, right = tf.unstack(tf.reshape(children, (-1, 2, embeddings.shape[-1])), axis=1)
    return left, right
