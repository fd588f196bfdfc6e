"""Greedy merges of adjacent nodes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from numpy_infer.support.greedy_tree import TIED
from numpy_infer.support.ties import first_minimum

Parents = Callable[[np.ndarray, np.ndarray], np.ndarray]
Scores = Callable[[np.ndarray], np.ndarray]


def adjacent_merges(
    vectors: np.ndarray,
    parents: Parents,
    scores: Scores,
    score_weight: np.ndarray,
    score_bias: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The merges and their first and last leaves, (n−1, 2) both, and all nodes, (2n−1, dim).

    Args:
        vectors: (n, dim), the leaves: nodes 0..n−1. The t-th merge makes node n+t.
        parents: the parents of left and of right children, (k, dim) each.
        scores: the scores of parents, (k,).
        score_weight, score_bias: of the projection that gives the scores.
    """
    n, dim = vectors.shape
    nodes = np.concatenate([vectors, np.empty((n - 1, dim), vectors.dtype)])
    # One pair for each gap between two leaves. A gap is closed when its pair is merged.
    left = np.arange(n - 1)
    right = left + 1
    first, last = left.copy(), right.copy()
    costs = pair_costs(parents, scores, nodes[left], nodes[right])
    tolerance = rounding_error(score_weight, score_bias)
    merges, brackets = np.empty((2, n - 1, 2), np.int64)
    for t in range(n - 1):
        node = n + t
        gap = first_minimum(costs, tolerance)
        merges[t] = left[gap], right[gap]
        brackets[t] = first[gap], last[gap]
        nodes[node] = parents(nodes[left[gap]], nodes[right[gap]])
        costs[gap] = np.inf
        before, behind = right == merges[t, 0], left == merges[t, 1]
        right[before], last[before] = node, brackets[t, 1]
        left[behind], first[behind] = node, brackets[t, 0]
        new = np.flatnonzero(before | behind)
        costs[new] = pair_costs(parents, scores, nodes[left[new]], nodes[right[new]])
    return merges, brackets, nodes


def pair_costs(parents: Parents, scores: Scores, left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """The negative scores of pairs; below infinity, which stands for a closed gap."""
    costs = -scores(parents(left, right))
    largest = np.finfo(costs.dtype).max / 2
    return np.where(costs < largest, costs, largest)


def rounding_error(score_weight: np.ndarray, score_bias: np.ndarray) -> np.ndarray:
    """The difference below which two scores count as equal: entries of parents are within ±1."""
    size = np.abs(score_weight).sum() + np.abs(score_bias).sum()
    error: np.ndarray = TIED * np.finfo(size.dtype).eps * (size if np.isfinite(size) else 0)
    return error
