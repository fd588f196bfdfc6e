"""Greedy search for a tree: merge the pair of nodes with the lowest score until one is left."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import theano
import theano.tensor as T
from theano.tensor.var import TensorVariable

from theano_impl.support.checks import check_dtype, check_floating, check_not_empty, check_width
from theano_impl.support.ties import first_minimum, machine_epsilon

TIED = 64  # two scores count as equal when they differ by at most so many roundings

Merge = Callable[
    [TensorVariable, TensorVariable, TensorVariable], tuple[TensorVariable, TensorVariable]
]


def check_vectors(vectors: TensorVariable, dim: int, dtype: str) -> TensorVariable:
    """Vectors, (n, dim) or (batch, n, dim), checked: TypeError now, AssertionError when it runs."""
    check_floating("vectors", vectors, ndim=3 if vectors.ndim == 3 else 2)
    check_dtype("vectors", vectors, dtype)
    vectors = check_not_empty("vectors", vectors, axis=vectors.ndim - 2)
    return check_width("vectors", vectors, dim)


def greedy_merges(vectors: TensorVariable, merge: Merge, *, adjacent: bool) -> TensorVariable:
    """The merges, (n−1, 2). Each pair of nodes is scored once, and each new node in one batch.

    Args:
        vectors: (n, dim), n at least 2, the leaves: nodes 0..n−1. The t-th merge makes node n+t.
        merge: parents (k, dim) and errors (k,) of left and of right children, (k, dim) each, and
            of their numbers of leaves, (k, 2).
        adjacent: whether only neighboring nodes are merged.
    """
    n = vectors.shape[0]
    reach = T.constant(1, dtype="int64") if adjacent else n
    infinity = np.asarray(math.inf, vectors.dtype)
    length = largest_length(vectors)
    # A parent takes the slot of its left child; the slot of the right child is closed.
    ids = T.arange(n)
    is_open = T.ones_like(ids, dtype="bool")
    scores = T.zeros_like(vectors[:, 0])
    leaves = T.ones_like(scores)
    gap = ids - ids[:, None]
    i, j = T.nonzero((gap > 0) & (gap <= reach))
    costs = T.alloc(infinity, n, n)  # score of merging the nodes in slots i < j
    costs = T.set_subtensor(costs[i, j], pair_scores(merge, vectors, scores, i, j, leaves))

    def step(parent, nodes, scores, leaves, ids, is_open, costs):
        flat = costs.flatten()
        lowest = first_minimum(flat, rounding_error(T.min(flat), length))
        left, right = lowest // n, lowest % n
        pair = T.stack([ids[left], ids[right]])
        counts = T.stack([leaves[left], leaves[right]])
        nodes = T.set_subtensor(nodes[left], merge(nodes[left], nodes[right], counts)[0])
        leaves = T.set_subtensor(leaves[left], T.sum(counts))
        scores = T.set_subtensor(scores[left], costs[left, right])
        ids = T.set_subtensor(ids[left], parent)
        is_open = T.set_subtensor(is_open[right], np.False_)
        costs = T.switch(is_open[:, None] & is_open, costs, infinity)
        partners = neighbors(is_open, left, reach)
        i, j = T.minimum(partners, left), T.maximum(partners, left)
        costs = T.set_subtensor(costs[i, j], pair_scores(merge, nodes, scores, i, j, leaves))
        return pair, nodes, scores, leaves, ids, is_open, costs

    (merges, *_), _ = theano.scan(
        step,
        sequences=T.arange(n, 2 * n - 1),
        outputs_info=[None, vectors, scores, leaves, ids, is_open, costs],
    )
    return merges


def pair_scores(
    merge: Merge,
    nodes: TensorVariable,
    scores: TensorVariable,
    i: TensorVariable,
    j: TensorVariable,
    leaves: TensorVariable,
) -> TensorVariable:
    """The scores of the parents of the nodes in slots i and j, (k,) each."""
    counts = T.stack([leaves[i], leaves[j]], axis=1)  # (k, 2)
    found = merge(nodes[i], nodes[j], counts)[1] + scores[i] + scores[j]
    # NaN and infinite scores are merged last, but before a closed slot, which is infinite.
    largest = np.asarray(np.finfo(found.dtype).max / 2, found.dtype)
    return T.switch(found < largest, found, largest)


def largest_length(vectors: TensorVariable) -> TensorVariable:
    """The length of the longest finite vector: (..., n, dim) → (...)."""
    squares = T.sum(vectors**2, axis=-1)
    infinite = T.isnan(squares) | T.isinf(squares)
    return T.sqrt(T.max(T.switch(infinite, T.zeros_like(squares), squares), axis=-1))


def rounding_error(lowest: TensorVariable, length: TensorVariable) -> TensorVariable:
    """How far above the lowest score an equal score may be.

    A score is half a squared difference, whose entries carry rounding errors in proportion to the
    length of the vectors. Near a perfect reconstruction these exceed a rounding of the score.
    """
    unit = machine_epsilon(lowest.dtype, times=TIED)
    return unit * (lowest + T.sqrt(lowest) * length + unit * length**2)


def neighbors(
    is_open: TensorVariable, slot: TensorVariable, reach: TensorVariable
) -> TensorVariable:
    """The other open slots, in order, at most `reach` open slots away."""
    rank = T.cumsum(T.cast(is_open, "int64"))
    away = abs(rank - rank[slot])
    # Theano's C code refuses a product of no rows: the last node is its own partner.
    other = (away > 0) | T.eq(rank[-1], 1)
    return T.nonzero(is_open & other & (away <= reach))[0]


def with_companion(vectors: TensorVariable) -> TensorVariable:
    """Vectors, two at least: a single one gets a zero vector, for scan refuses to run no step.

    What stands behind the first n leaves, n−1 merges and 2n−1 nodes is to be cut off again.
    """
    n = vectors.shape[0]
    leaves = T.zeros((T.maximum(n, 2), vectors.shape[1]), vectors.dtype)
    return T.set_subtensor(leaves[:n], vectors)


def replayed(
    vectors: TensorVariable, merges: TensorVariable, merge: Merge
) -> tuple[TensorVariable, TensorVariable]:
    """Embeddings, (2n−1, dim), and scores, (2n−1,), of all nodes of these merges, (n−1, 2).

    A score is the error of the merge and the scores of both children.
    """
    n = vectors.shape[0]
    embeddings = T.zeros((2 * n - 1, vectors.shape[1]), vectors.dtype)
    embeddings = T.set_subtensor(embeddings[:n], vectors)
    scores = T.zeros_like(embeddings[:, 0])
    leaves = T.ones_like(scores)

    def step(pair, node, embeddings, scores, leaves):
        left, right = pair[0], pair[1]
        parent, error = merge(embeddings[left], embeddings[right], leaves[pair])
        embeddings = T.set_subtensor(embeddings[node], parent)
        scores = T.set_subtensor(scores[node], error + scores[left] + scores[right])
        return embeddings, scores, T.set_subtensor(leaves[node], T.sum(leaves[pair]))

    (embeddings, scores, _), _ = theano.scan(
        step,
        sequences=[merges, T.arange(n, 2 * n - 1)],
        outputs_info=[embeddings, scores, leaves],
        n_steps=n - 1,
    )
    return embeddings[-1], scores[-1]
