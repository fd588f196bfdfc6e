"""Trees over batches of sequences of unequal lengths: every step merges in all of them at once.

Each tree is the one of its sequence alone: the search and the ties are those of `greedy_tree` and
of `bracketing`, which serve a single sequence.
"""

from __future__ import annotations

import math

import numpy as np
import theano
import theano.tensor as T
from theano.tensor.var import TensorVariable

from theano_impl.support.bracketing import Parents, Scores, pair_costs
from theano_impl.support.bracketing import rounding_error as score_error
from theano_impl.support.checks import check_integers, check_values
from theano_impl.support.greedy_tree import Merge, largest_length, pair_scores, rounding_error
from theano_impl.support.linear import Linear
from theano_impl.support.ties import first_minimum

NONE = np.int64(-1)


def is_batch(vectors: TensorVariable, lengths: TensorVariable | None) -> bool:
    """Whether vectors are a batch of sequences. ValueError for lengths beside a single one."""
    batched: bool = vectors.ndim == 3
    if lengths is not None and not batched:
        raise ValueError(f"lengths: expected None beside vectors of two axes, got {lengths}")
    return batched


def as_sequences(
    vectors: TensorVariable, lengths: TensorVariable | None
) -> tuple[TensorVariable, TensorVariable]:
    """The leaves of a batch, (batch, n, dim), 0 behind the ends, and the lengths, (batch,) int64.

    TypeError for lengths that are no integers; AssertionError when it runs for another number of
    lengths, or lengths outside of 1..n.
    """
    batch, n = vectors.shape[0], vectors.shape[1]
    if lengths is None:
        return vectors, T.alloc(n, batch)
    lengths = T.as_tensor_variable(lengths)
    check_integers("lengths", lengths, ndim=1)
    lengths = check_values(lengths, T.eq(lengths.shape[0], batch), "lengths", "one for a sequence")
    inside = T.all((lengths >= 1) & (lengths <= n))
    lengths = T.cast(check_values(lengths, inside, "lengths", "lengths in 1..n"), "int64")
    real = T.arange(n) < lengths[:, None]
    return T.switch(real[..., None], vectors, T.zeros_like(vectors)), lengths


def with_companions(
    vectors: TensorVariable, lengths: TensorVariable
) -> tuple[TensorVariable, TensorVariable]:
    """Sequences of which one has two vectors at least, for scan refuses to run no step at all.

    Where all are single vectors, each gets a zero vector as a companion.
    """
    batch, n, dim = vectors.shape[0], vectors.shape[1], vectors.shape[2]
    leaves = T.zeros((batch, T.maximum(n, 2), dim), vectors.dtype)
    alone = T.all(T.eq(lengths, 1))
    return T.set_subtensor(leaves[:, :n], vectors), T.switch(alone, np.int64(2), lengths)


def with_companion_brackets(brackets: TensorVariable, lengths: TensorVariable) -> TensorVariable:
    """Brackets, (batch, n−1, 2), for leaves with companions: from leaf 0 to leaf 1."""
    batch, spans = brackets.shape[0], brackets.shape[1]
    rows = T.zeros((batch, T.maximum(spans, 1), 2), "int64")
    rows = T.set_subtensor(rows[:, :spans], brackets)
    alone = T.all(T.eq(lengths, 1))
    return T.set_subtensor(rows[:, 0], T.switch(alone, np.array([[0, 1]]), rows[:, 0]))


def longest(lengths: TensorVariable) -> TensorVariable:
    """The largest length, at least 2; 2 of no sequences."""
    return T.max(T.concatenate([lengths, np.array([2])]))


def greedy_merges(
    vectors: TensorVariable, lengths: TensorVariable, merge: Merge, *, adjacent: bool
) -> TensorVariable:
    """The merges of each sequence, (longest−1, batch, 2), −1 behind its root.

    Each pair of nodes is scored once, and the new nodes of all sequences in one batch.

    Args:
        vectors: (batch, n, dim), the leaves: nodes 0..length−1 of a sequence. Its t-th merge makes
            node length+t.
        lengths: (batch,) int64, the longest at least 2.
        merge: parents (k, dim) and errors (k,) of left and of right children, (k, dim) each, and
            of their numbers of leaves, (k, 2).
        adjacent: whether only neighboring nodes are merged.
    """
    batch, n, dim = vectors.shape[0], vectors.shape[1], vectors.shape[2]
    reach = T.constant(1, dtype="int64") if adjacent else n
    infinity = np.asarray(math.inf, vectors.dtype)
    length = largest_length(vectors)
    # Slots are numbered through all sequences, n for each. A parent takes the slot of its left
    # child; the slot of the right child is closed.
    slot = T.arange(n)
    is_open = slot < lengths[:, None]
    ids = T.tile(slot, batch, ndim=1)
    nodes = vectors.reshape((batch * n, dim))
    scores = T.zeros_like(nodes[:, 0])
    leaves = T.ones_like(scores)
    gap = slot - slot[:, None]
    b, i, j = T.nonzero((gap > 0) & (gap <= reach) & is_open[:, None, :])
    costs = T.alloc(infinity, batch, n, n)  # score of merging the nodes in slots i < j
    found = pair_scores(merge, nodes, scores, b * n + i, b * n + j, leaves)
    costs = T.set_subtensor(costs[b, i, j], found)

    def step(t, nodes, scores, leaves, ids, is_open, costs):
        b = T.nonzero(t < lengths - 1)[0]  # the sequences with two nodes or more
        flat = costs[b].reshape((b.shape[0], n * n))
        tolerance = rounding_error(T.min(flat, axis=1), length[b])
        lowest = first_minimum(flat, tolerance[:, None])
        left, right = lowest // n, lowest % n
        i, j = b * n + left, b * n + right
        pair = T.stack([ids[i], ids[j]], axis=1)
        row = T.set_subtensor(T.alloc(NONE, batch, 2)[b], pair)
        counts = T.stack([leaves[i], leaves[j]], axis=1)
        nodes = T.set_subtensor(nodes[i], merge(nodes[i], nodes[j], counts)[0])
        leaves = T.set_subtensor(leaves[i], T.sum(counts, axis=1))
        scores = T.set_subtensor(scores[i], costs[b, left, right])
        ids = T.set_subtensor(ids[i], lengths[b] + t)
        is_open = T.set_subtensor(is_open[b, right], np.False_)
        costs = T.switch(is_open[:, :, None] & is_open[:, None, :], costs, infinity)
        row_of, partners = neighbors(is_open[b], left, reach)
        b, left = b[row_of], left[row_of]
        i, j = T.minimum(partners, left), T.maximum(partners, left)
        found = pair_scores(merge, nodes, scores, b * n + i, b * n + j, leaves)
        costs = T.set_subtensor(costs[b, i, j], found)
        return row, nodes, scores, leaves, ids, is_open, costs

    (merges, *_), _ = theano.scan(
        step,
        sequences=T.arange(longest(lengths) - 1),
        outputs_info=[None, nodes, scores, leaves, ids, is_open, costs],
    )
    return merges


def neighbors(
    is_open: TensorVariable, slot: TensorVariable, reach: TensorVariable
) -> tuple[TensorVariable, TensorVariable]:
    """The other open slots of each row, in order, at most `reach` open slots away: (row, slot)."""
    rank = T.cumsum(T.cast(is_open, "int64"), axis=1)
    away = abs(rank - rank[T.arange(slot.shape[0]), slot][:, None])
    # Theano's C code refuses a product of no rows: where all are done, last nodes are their own
    # partners.
    other = (away > 0) | T.all(T.eq(rank[:, -1], 1))
    row, partners = T.nonzero(is_open & other & (away <= reach))
    return row, partners


def adjacent_merges(
    vectors: TensorVariable,
    lengths: TensorVariable,
    allowed: TensorVariable,
    parents: Parents,
    scores: Scores,
    score: Linear,
) -> TensorVariable:
    """The merges, their leaves, and the best wrong pair at each: (longest−1, batch, 6).

    The first two columns are the merge, the next two its first and last leaf, the last two the best
    wrong pair; where no pair is wrong, the merge itself. Behind the root of a sequence stand −1.

    Args:
        vectors: (batch, n, dim), the leaves: nodes 0..length−1 of a sequence. Its t-th merge makes
            node length+t.
        lengths: (batch,) int64, the longest at least 2.
        allowed: (batch, n, n), whether a merge from this leaf to that leaf is right.
        parents: the parents of left and of right children, (k, dim) each.
        scores: the scores of parents, (k,).
        score: the projection that gives the scores.
    """
    batch, n, dim = vectors.shape[0], vectors.shape[1], vectors.shape[2]
    infinity = np.asarray(math.inf, vectors.dtype)
    largest = np.asarray(np.finfo(vectors.dtype).max / 2, vectors.dtype)
    tolerance = score_error(score)
    nodes = T.zeros((batch, 2 * n - 1, dim), vectors.dtype)
    nodes = T.set_subtensor(nodes[:, :n], vectors)
    # One pair for each gap between two leaves. A gap is closed when its pair is merged; beside
    # padding it is closed from the beginning, and has no node on either side.
    gaps = T.arange(n - 1)
    real = gaps + 1 < lengths[:, None]
    # Of each gap the nodes on its left and right, and the first and the last leaf of both.
    ends = T.switch(real[..., None], T.stack([gaps, gaps + 1] * 2, axis=1), NONE)
    b, new = T.nonzero(real)
    costs = T.alloc(infinity, batch, n - 1)
    found = pair_costs(parents, scores, vectors[b, new], vectors[b, new + 1])
    costs = T.set_subtensor(costs[b, new], found)

    def step(t, nodes, ends, costs):
        b = T.nonzero(t < lengths - 1)[0]  # the sequences with two nodes or more
        k = T.arange(b.shape[0])
        ours, cost = ends[b], costs[b]  # (k, n−1, 4), (k, n−1)
        wrong = T.eq(allowed[b[:, None], ours[..., 2], ours[..., 3]], 0)
        nan = T.isnan(cost)
        ranked = T.switch(wrong, infinity, T.switch(nan, largest, cost))
        gap = first_minimum(ranked, tolerance)
        ranked = T.switch(wrong, T.switch(nan, -infinity, cost), infinity)
        there = T.min(ranked, axis=1) < infinity
        rival = T.switch(there, first_minimum(ranked, tolerance), gap)
        pair = ours[k, gap]  # (k, 4)
        chosen = T.concatenate([pair, ours[k, rival][:, :2]], axis=1)
        row = T.set_subtensor(T.alloc(NONE, batch, 6)[b], chosen)
        node = lengths[b] + t
        parent = parents(nodes[b, pair[:, 0]], nodes[b, pair[:, 1]])
        nodes = T.set_subtensor(nodes[b, node], parent)
        begin, end = pair[:, 0][:, None], pair[:, 1][:, None]
        before, behind = T.eq(ours[..., 1], begin), T.eq(ours[..., 0], end)
        new = T.stack([node, node, pair[:, 2], pair[:, 3]], axis=1)
        changed = T.stack([behind, before, behind, before], axis=2)
        ours = T.switch(changed, new[:, None, :], ours)
        ends = T.set_subtensor(ends[b], ours)
        # Theano's C code refuses a product of no rows: the pair that closes is scored too.
        closes = T.eq(T.arange(cost.shape[1]), gap[:, None])
        row_of, place = T.nonzero(before | behind | closes)
        left, right = ours[row_of, place, 0], ours[row_of, place, 1]
        at = b[row_of]
        found = pair_costs(parents, scores, nodes[at, left], nodes[at, right])
        costs = T.set_subtensor(costs[at, place], found)
        costs = T.set_subtensor(costs[b, gap], infinity)
        return row, nodes, ends, costs

    (found, *_), _ = theano.scan(
        step,
        sequences=T.arange(longest(lengths) - 1),
        outputs_info=[None, nodes, ends, costs],
    )
    return found


def replayed(
    vectors: TensorVariable, lengths: TensorVariable, merges: TensorVariable, merge: Merge
) -> tuple[TensorVariable, TensorVariable]:
    """Embeddings, (batch·(2n−1), dim), and scores, (batch·(2n−1),), of these merges.

    Of each sequence first n leaves, with padding among them, then the inner nodes: see `rows_of`.
    """
    batch, n, dim = vectors.shape[0], vectors.shape[1], vectors.shape[2]
    count = 2 * n - 1
    embeddings = T.zeros((batch, count, dim), vectors.dtype)
    embeddings = T.set_subtensor(embeddings[:, :n], vectors).reshape((batch * count, dim))
    scores = T.zeros_like(embeddings[:, 0])
    leaves = T.ones_like(scores)

    def step(pair, t, embeddings, scores, leaves):
        b = T.nonzero(T.ge(pair[:, 0], 0))[0]
        rows = rows_of(pair, lengths, n)[b]
        left, right, node = rows[:, 0], rows[:, 1], count * b + n + t
        counts = T.stack([leaves[left], leaves[right]], axis=1)
        parent, error = merge(embeddings[left], embeddings[right], counts)
        embeddings = T.set_subtensor(embeddings[node], parent)
        scores = T.set_subtensor(scores[node], error + scores[left] + scores[right])
        return embeddings, scores, T.set_subtensor(leaves[node], T.sum(counts, axis=1))

    steps = merges.shape[0]
    (embeddings, scores, _), _ = theano.scan(
        step,
        sequences=[merges, T.arange(steps)],
        outputs_info=[embeddings, scores, leaves],
        n_steps=steps,
    )
    return embeddings[-1], scores[-1]


def replayed_parents(
    vectors: TensorVariable,
    lengths: TensorVariable,
    counts: TensorVariable,
    merges: TensorVariable,
    parents: Parents,
    n: TensorVariable,
) -> TensorVariable:
    """Embeddings, (batch, 2n−1, dim), of parents that have no errors; the root in the place behind.

    Args:
        vectors, counts: leaves and lengths with companions.
        lengths: (batch,), those of the sequences, of n leaves at most.
        merges: (longest−1, batch, 2 or more), the merges in the first two columns.
        parents: the parents of left and of right children, (k, dim) each.
    """

    def merge(
        left: TensorVariable, right: TensorVariable, leaves: TensorVariable
    ) -> tuple[TensorVariable, TensorVariable]:
        return parents(left, right), T.zeros_like(leaves[:, 0])

    table, _ = replayed(vectors, counts, merges[..., :2], merge)
    return table[rows_of(all_nodes(lengths, n), counts, vectors.shape[1])]


def scores_of_all(
    embeddings: TensorVariable, lengths: TensorVariable, scores: Scores
) -> TensorVariable:
    """The scores of all nodes, (batch, 2n−1), 0 for leaves, of their embeddings, (..., dim)."""
    nodes = all_nodes(lengths, (embeddings.shape[1] + 1) // 2)
    inner = nodes >= lengths[:, None]
    parents = T.switch(inner[..., None], embeddings, T.zeros_like(embeddings))
    found = scores(parents.reshape((-1, embeddings.shape[2]))).reshape(nodes.shape)
    return T.switch(inner, found, T.zeros_like(found))


def of_merges(scores: TensorVariable, lengths: TensorVariable) -> TensorVariable:
    """Of the scores of all nodes, (batch, 2n−1), those of what the merges made, (batch, n−1)."""
    merges = T.arange(scores.shape[1] // 2)
    made = T.minimum(lengths[:, None] + merges, 2 * lengths[:, None] - 2)
    return scores[T.arange(made.shape[0])[:, None], made]


def rows_of(nodes: TensorVariable, lengths: TensorVariable, n: TensorVariable) -> TensorVariable:
    """Where nodes, (batch, k), stand in the tables of `replayed`."""
    own = lengths[:, None]
    start = (2 * n - 1) * T.arange(lengths.shape[0])[:, None]
    return start + nodes + T.switch(nodes < own, 0, n - own)


def all_nodes(lengths: TensorVariable, n: TensorVariable) -> TensorVariable:
    """The nodes of each tree, (batch, 2n−1), with the root in the place of all behind it."""
    return T.minimum(T.arange(2 * n - 1), 2 * lengths[:, None] - 2)


def cut(found: TensorVariable, lengths: TensorVariable, n: TensorVariable) -> TensorVariable:
    """What stands at each merge, (longest−1, batch, k), as (batch, n−1, k), −1 behind the root."""
    steps = T.minimum(found.shape[0], n - 1)
    rows = T.alloc(NONE, lengths.shape[0], n - 1, found.shape[2])
    rows = T.set_subtensor(rows[:, :steps], found[:steps].dimshuffle(1, 0, 2))
    real = T.arange(n - 1) < lengths[:, None] - 1
    return T.switch(real[..., None], rows, NONE)


def check_brackets(
    brackets: TensorVariable, lengths: TensorVariable, n: TensorVariable
) -> TensorVariable:
    """Brackets of a batch, (batch, n−1, 2), of which length − 1 are those of a binary tree.

    (0, 0) in the place of padding.
    """
    check_integers("brackets", brackets, ndim=3)
    shape = T.stack([lengths.shape[0], n - 1, T.constant(2, dtype="int64")])
    fits = T.all(T.eq(brackets.shape, shape))
    wanted = "two leaves for each merge, (batch, n−1, 2)"
    brackets = T.cast(check_values(brackets, fits, "brackets", wanted), "int64")
    spans = T.arange(n - 1)
    real = spans < lengths[:, None] - 1
    first, last = brackets[..., 0], brackets[..., 1]
    inside = (first >= 0) & (first < last) & (last < lengths[:, None])
    begin, end, first, last = first[..., None], last[..., None], first[:, None, :], last[:, None, :]
    crossing = (begin < first) & (first <= end) & (end < last)
    same = T.eq(begin, first) & T.eq(end, last) & T.neq(spans[:, None], spans)
    wrong = (crossing | same) & real[..., None] & real[:, None, :]
    ok = T.all(inside | T.eq(real, 0)) & T.eq(T.sum(wrong), 0)
    brackets = check_values(brackets, ok, "brackets", "those of a binary tree")
    return T.switch(real[..., None], brackets, np.int64(0))


def bracket_merges(brackets: TensorVariable, lengths: TensorVariable) -> TensorVariable:
    """The merges of bracketings, (n−1, batch, 2): nodes of fewer leaves first, then from the left.

    Behind the root of a sequence stand −1.
    """
    batch, spans = brackets.shape[0], T.arange(brackets.shape[1])
    n, leaves, row = (
        brackets.shape[1] + 1,
        T.arange(brackets.shape[1] + 1),
        T.arange(batch)[:, None],
    )
    padding = spans >= lengths[:, None] - 1
    rank = (brackets[..., 1] - brackets[..., 0]) * n + brackets[..., 0]
    order = T.argsort(T.switch(padding, n * n, rank), axis=1)
    first, last = brackets[..., 0][row, order], brackets[..., 1][row, order]
    # table[b, i, j]: the node from leaf i to leaf j of sequence b, or −1.
    table = T.alloc(NONE, batch, n + 1, n)
    table = T.set_subtensor(table[row, first, last], lengths[:, None] + spans)
    table = T.set_subtensor(table[:, leaves, leaves], leaves)  # also over what padding has written
    # The children end and begin on both sides of the one gap where two nodes meet.
    left, right = table[row, first], table[:, 1:].dimshuffle(0, 2, 1)[row, last]  # (batch, n−1, n)
    gap = T.argmax((left >= 0) & (right >= 0), axis=2)
    merges = T.stack([left[row, spans, gap], right[row, spans, gap]], axis=2)
    return T.switch(padding[..., None], NONE, merges).dimshuffle(1, 0, 2)


def allowed_spans(
    brackets: TensorVariable | None, lengths: TensorVariable, size: TensorVariable
) -> TensorVariable:
    """Whether a merge from this leaf to that leaf is in the brackets; without them all are.

    (batch, size, size), of brackets as `check_brackets` returns them and of leaves with companions.
    """
    batch = lengths.shape[0]
    if brackets is None:
        return T.ones((batch, size, size), "bool")
    spans = with_companion_brackets(brackets, lengths)
    row, first, last = T.arange(batch)[:, None], spans[..., 0], spans[..., 1]
    allowed = T.zeros((batch, size, size), "bool")
    return T.set_subtensor(allowed[row, first, last], np.True_)


def children_of(
    pairs: TensorVariable, embeddings: TensorVariable, real: TensorVariable
) -> tuple[TensorVariable, TensorVariable]:
    """The left and the right nodes of pairs, (batch·(n−1), dim) each; 0 where a pair is not real.

    pairs: (batch, n−1, 2); embeddings: (batch, 2n−1, dim); real: (batch, n−1).
    """
    row = T.arange(pairs.shape[0])[:, None, None]
    children = embeddings[row, T.maximum(pairs, 0)]  # (batch, n−1, 2, dim)
    children = T.switch(real[..., None, None], children, T.zeros_like(children))
    left, right = (children[:, :, side].reshape((-1, embeddings.shape[2])) for side in (0, 1))
    return left, right
