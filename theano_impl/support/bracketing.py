"""Greedy merges of adjacent nodes, free or along a labelled bracketing."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import theano
import theano.tensor as T
from theano.tensor.var import TensorVariable

from theano_impl.support.checks import check_integers, check_values
from theano_impl.support.greedy_tree import TIED
from theano_impl.support.linear import Linear
from theano_impl.support.ties import first_minimum, machine_epsilon

Parents = Callable[[TensorVariable, TensorVariable], TensorVariable]
Scores = Callable[[TensorVariable], TensorVariable]


def adjacent_merges(
    vectors: TensorVariable,
    allowed: TensorVariable,
    parents: Parents,
    scores: Scores,
    score: Linear,
) -> tuple[TensorVariable, TensorVariable, TensorVariable]:
    """The merges, their first and last leaves, and the best wrong pair at each, (n−1, 2) all.

    Where no pair is wrong, the merge itself stands instead.

    Args:
        vectors: (n, dim), n at least 2, the leaves: nodes 0..n−1. The t-th merge makes node n+t.
        allowed: (n, n), whether a merge from this leaf to that leaf is right.
        parents: the parents of left and of right children, (k, dim) each.
        scores: the scores of parents, (k,).
        score: the projection that gives the scores.
    """
    n = vectors.shape[0]
    infinity = np.asarray(math.inf, vectors.dtype)
    tolerance = rounding_error(score)
    nodes = T.set_subtensor(T.zeros((2 * n - 1, vectors.shape[1]), vectors.dtype)[:n], vectors)
    # One pair for each gap between two leaves. A gap is closed when its pair is merged.
    gaps = T.arange(n - 1)
    costs = pair_costs(parents, scores, vectors[:-1], vectors[1:])

    def step(node, nodes, left, right, first, last, costs):
        wrong = T.eq(allowed[first, last], 0)
        nan = T.isnan(costs)
        ranked = T.switch(nan, _largest(costs), costs)
        gap = first_minimum(T.switch(wrong, infinity, ranked), tolerance)
        ranked = T.switch(nan, -infinity, costs)
        ranked = T.switch(wrong, ranked, infinity)
        rival = T.switch(T.min(ranked) < infinity, first_minimum(ranked, tolerance), gap)
        pair = T.stack([left[gap], right[gap]])
        span = T.stack([first[gap], last[gap]])
        other = T.stack([left[rival], right[rival]])
        parent = parents(nodes[pair[0]], nodes[pair[1]])
        nodes = T.set_subtensor(nodes[node], parent)
        before, behind = T.eq(right, pair[0]), T.eq(left, pair[1])
        right, last = T.switch(before, node, right), T.switch(before, span[1], last)
        left, first = T.switch(behind, node, left), T.switch(behind, span[0], first)
        # Theano's C code refuses a product of no rows: the pair that closes is scored too.
        new = T.nonzero(before | behind | T.eq(gaps, gap))[0]
        found = pair_costs(parents, scores, nodes[left[new]], nodes[right[new]])
        costs = T.set_subtensor(costs[new], found)
        costs = T.set_subtensor(costs[gap], infinity)
        return pair, span, other, nodes, left, right, first, last, costs

    (merges, spans, rivals, *_), _ = theano.scan(
        step,
        sequences=T.arange(n, 2 * n - 1),
        outputs_info=[None] * 3 + [nodes, gaps, gaps + 1, gaps, gaps + 1, costs],
    )
    return merges, spans, rivals


def pair_costs(
    parents: Parents, scores: Scores, left: TensorVariable, right: TensorVariable
) -> TensorVariable:
    """The negative scores of pairs; below infinity, which stands for a closed gap."""
    costs = -scores(parents(left, right))
    return T.switch(costs > _largest(costs), _largest(costs), costs)


def rounding_error(score: Linear) -> TensorVariable:
    """The difference below which two scores count as equal: entries of parents are within ±1."""
    size = T.sum(abs(score.weight)) + T.sum(abs(score.bias))
    finite = T.switch(T.isnan(size) | T.isinf(size), T.zeros_like(size), size)
    return machine_epsilon(size.dtype, times=TIED) * finite


def _largest(x: TensorVariable) -> np.ndarray:
    return np.asarray(np.finfo(x.dtype).max / 2, x.dtype)


def check_brackets(brackets: TensorVariable, n: TensorVariable) -> TensorVariable:
    """The n − 1 spans of a binary tree: distinct, of two leaves or more, none crossing another."""
    check_integers("brackets", brackets, ndim=2)
    fits = T.eq(brackets.shape[0], n - 1) & T.eq(brackets.shape[1], 2)
    brackets = check_values(brackets, fits, "brackets", "two leaves for each merge, (n−1, 2)")
    first, last = brackets[:, 0], brackets[:, 1]
    inside = T.all((first >= 0) & (first < last) & (last < n))
    crossing = (first[:, None] < first) & (first <= last[:, None]) & (last[:, None] < last)
    same = T.eq(first[:, None], first) & T.eq(last[:, None], last)
    ok = inside & T.eq(T.sum(same), n - 1) & T.eq(T.sum(crossing), 0)
    return check_values(brackets, ok, "brackets", "those of a binary tree")


def bracket_merges(brackets: TensorVariable) -> TensorVariable:
    """The merges of a bracketing, (n−1, 2): nodes of fewer leaves first, then from the left."""
    n, brackets = brackets.shape[0] + 1, T.cast(brackets, "int64")
    order = T.argsort((brackets[:, 1] - brackets[:, 0]) * n + brackets[:, 0])
    first, last = brackets[order, 0], brackets[order, 1]
    leaves = T.arange(n)
    table = T.alloc(np.int64(-1), n + 1, n)  # the node from its first to its last leaf, or −1
    table = T.set_subtensor(table[leaves, leaves], leaves)
    table = T.set_subtensor(table[first, last], n + leaves[:-1])
    # The children end and begin on both sides of the one gap where two nodes meet.
    left, right = table[first], table[1:].T[last]  # (n−1, n)
    gap = T.argmax((left >= 0) & (right >= 0), axis=1)
    return T.stack([left[leaves[:-1], gap], right[leaves[:-1], gap]], axis=1)


def replayed(vectors: TensorVariable, merges: TensorVariable, parents: Parents) -> TensorVariable:
    """The embeddings, (2n−1, dim), of all nodes of these merges, (n−1, 2)."""
    n = vectors.shape[0]
    nodes = T.set_subtensor(T.zeros((2 * n - 1, vectors.shape[1]), vectors.dtype)[:n], vectors)

    def step(pair, node, nodes):
        return T.set_subtensor(nodes[node], parents(nodes[pair[0]], nodes[pair[1]]))

    nodes, _ = theano.scan(
        step,
        sequences=[merges, T.arange(n, 2 * n - 1)],
        outputs_info=nodes,
        n_steps=n - 1,
    )
    return nodes[-1]


def allowed_spans(brackets: TensorVariable | None, n: TensorVariable) -> TensorVariable:
    """Whether a merge from this leaf to that leaf is in the brackets, (n, n); without them all."""
    if brackets is None:
        return T.ones((n, n), "bool")
    spans = T.zeros((n, n), "bool")
    return T.set_subtensor(spans[brackets[:, 0], brackets[:, 1]], np.True_)
