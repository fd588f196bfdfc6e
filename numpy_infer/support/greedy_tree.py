"""Greedy search for a tree: merge the pair of nodes with the lowest score until one is left."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from numpy_infer.support.checks import check_dtype, check_floating, check_not_empty, check_width
from numpy_infer.support.ties import first_minimum

TIED = 64  # two scores count as equal when they differ by at most so many roundings

Merge = Callable[[np.ndarray, np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]


def check_vectors(vectors: np.ndarray, dim: int, dtype: np.dtype) -> None:
    """TypeError or ValueError unless these are vectors for weights of this dtype.

    (n, dim), or a batch of sequences, (batch, n, dim); n at least 1.
    """
    check_floating("vectors", vectors, ndim=3 if np.ndim(vectors) == 3 else 2)
    check_dtype("vectors", vectors, dtype)
    check_not_empty("vectors", vectors, axis=-2)
    check_width("vectors", vectors, dim)


def greedy_merges(vectors: np.ndarray, merge: Merge, *, adjacent: bool) -> np.ndarray:
    """The merges, (n−1, 2). Each pair of nodes is scored once, and each new node in one batch.

    Args:
        vectors: (n, dim), the leaves: nodes 0..n−1. The t-th merge makes node n+t.
        merge: parents (k, dim) and errors (k,) of left and of right children, (k, dim) each, and
            of their numbers of leaves, (k, 2).
        adjacent: whether only neighboring nodes are merged.
    """
    n = len(vectors)
    reach = 1 if adjacent else n
    # A parent takes the slot of its left child; the slot of the right child is closed.
    nodes, scores, ids, slots = (
        vectors.copy(),
        np.zeros_like(vectors[:, 0]),
        [*range(n)],
        [*range(n)],
    )
    leaves = np.ones_like(scores)
    costs = np.full((n, n), np.inf, vectors.dtype)  # score of merging the nodes in slots i < j
    gap = np.arange(n) - np.arange(n)[:, None]
    i, j = np.nonzero((gap > 0) & (gap <= reach))
    costs[i, j] = pair_scores(merge, nodes, scores, i, j, leaves)
    length, merges = largest_length(vectors), np.empty((n - 1, 2), np.int64)
    for t in range(n - 1):
        lowest = first_minimum(costs.ravel(), rounding_error(costs.min(), length))
        left, right = divmod(int(lowest), n)
        merges[t] = ids[left], ids[right]
        nodes[left] = merge(nodes[left], nodes[right], leaves[[left, right]])[0]
        leaves[left] += leaves[right]
        scores[left], ids[left] = costs[left, right], n + t
        costs[right], costs[:, right] = np.inf, np.inf
        slots.remove(right)
        partners = np.array(neighbors(slots, left, reach), np.int64)
        i, j = np.minimum(partners, left), np.maximum(partners, left)
        costs[i, j] = pair_scores(merge, nodes, scores, i, j, leaves)
    return merges


def pair_scores(
    merge: Merge,
    nodes: np.ndarray,
    scores: np.ndarray,
    i: np.ndarray,
    j: np.ndarray,
    leaves: np.ndarray,
) -> np.ndarray:
    """The scores of the parents of the nodes in slots i and j, (k,) each."""
    counts = np.stack([leaves[i], leaves[j]], axis=1)  # (k, 2)
    found = merge(nodes[i], nodes[j], counts)[1] + scores[i] + scores[j]
    # NaN and infinite scores are merged last, but before a closed slot, which is infinite.
    largest = np.finfo(found.dtype).max / 2
    finite: np.ndarray = np.where(found < largest, found, largest)
    return finite


def largest_length(vectors: np.ndarray) -> np.ndarray:
    """The length of the longest finite vector: (..., n, dim) → (...)."""
    squares = (vectors * vectors).sum(axis=-1)
    length: np.ndarray = np.sqrt(np.where(np.isfinite(squares), squares, 0).max(axis=-1))
    return length


def rounding_error(lowest: np.ndarray, length: np.ndarray) -> np.ndarray:
    """How far above the lowest score an equal score may be.

    A score is half a squared difference, whose entries carry rounding errors in proportion to the
    length of the vectors. Near a perfect reconstruction these exceed a rounding of the score.
    """
    unit = TIED * np.finfo(lowest.dtype).eps
    error: np.ndarray = unit * (lowest + np.sqrt(lowest) * length + unit * length * length)
    return error


def neighbors(slots: list[int], slot: int, reach: int) -> list[int]:
    """The other open slots, in order, at most `reach` open slots away."""
    rank = slots.index(slot)
    return slots[max(0, rank - reach) : rank] + slots[rank + 1 : rank + 1 + reach]
