"""Greedy merges of adjacent nodes, free or along a labelled bracketing."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from pytorch_impl.support.checks import check_integers
from pytorch_impl.support.greedy_tree import TIED
from pytorch_impl.support.precision import widened
from pytorch_impl.support.ties import first_minimum
from pytorch_impl.support.transforms import check_values

Parents = Callable[[Tensor, Tensor], Tensor]
Scores = Callable[[Tensor], Tensor]


def adjacent_merges(
    vectors: Tensor, brackets: Tensor | None, parents: Parents, scores: Scores, score: nn.Linear
) -> Tensor:
    """The merges, their first and last leaves, and the best wrong pair at each: (3, n−1, 2).

    Without brackets every merge is right. Where no pair is wrong, the merge itself stands instead.

    Args:
        vectors: (n, dim), the leaves: nodes 0..n−1. The t-th merge makes node n+t.
        brackets: (n−1, 2), the first and the last leaf of each merge that is right.
        parents: the parents of left and of right children, (k, dim) each.
        scores: the scores of parents, (k,).
        score: the projection that gives the scores.
    """
    n = len(vectors)
    allowed = torch.ones(n, n, dtype=torch.bool, device=vectors.device)  # by first and last leaf
    if brackets is not None:
        allowed = torch.zeros_like(allowed)
        allowed[brackets[:, 0].long(), brackets[:, 1].long()] = True
    nodes = torch.cat([vectors, vectors.new_empty(n - 1, vectors.shape[1])])
    # One pair for each gap between two leaves. A gap is closed when its pair is merged.
    left = torch.arange(n - 1, device=vectors.device)
    right = left + 1
    first, last = left, right
    costs = pair_costs(parents, scores, nodes[left], nodes[right])
    tolerance = rounding_error(score)
    found = left.new_empty(3, n - 1, 2)
    merges, spans, rivals = found
    for t in range(n - 1):
        node = n + t
        wrong = ~allowed[first, last]
        ranked = costs.where(~costs.isnan(), _largest(costs)).masked_fill(wrong, math.inf)
        gap = first_minimum(ranked, tolerance)
        ranked = costs.where(~costs.isnan(), -math.inf).masked_fill(~wrong, math.inf)
        rival = first_minimum(ranked, tolerance).where(ranked.min() < math.inf, gap)
        merges[t] = torch.stack([left[gap], right[gap]])
        spans[t] = torch.stack([first[gap], last[gap]])
        rivals[t] = torch.stack([left[rival], right[rival]])
        nodes[node] = parents(nodes[left[gap]], nodes[right[gap]])
        left = left.where(left != merges[t, 1], node)
        right = right.where(right != merges[t, 0], node)
        first = first.where(left != node, spans[t, 0])
        last = last.where(right != node, spans[t, 1])
        costs[gap] = math.inf
        (new,) = ((left == node) | (right == node)).nonzero(as_tuple=True)
        costs[new] = pair_costs(parents, scores, nodes[left[new]], nodes[right[new]])
    return found


def pair_costs(parents: Parents, scores: Scores, left: Tensor, right: Tensor) -> Tensor:
    """The negative scores of pairs; below infinity, which stands for a closed gap."""
    costs = -scores(parents(left, right))
    return torch.minimum(costs, _largest(costs))


def rounding_error(score: nn.Linear) -> Tensor:
    """The difference below which two scores count as equal: entries of parents are within ±1."""
    size = widened(score.weight).abs().sum() + widened(score.bias).abs().sum()
    return TIED * torch.finfo(size.dtype).eps * size.where(size.isfinite(), 0)


def _largest(x: Tensor) -> Tensor:
    return x.new_tensor(torch.finfo(x.dtype).max / 2)


def check_brackets(brackets: Tensor, n: int) -> None:
    """The n − 1 spans of a binary tree: distinct, of two leaves or more, none crossing another."""
    check_integers("brackets", brackets, ndim=2)
    if brackets.shape != (n - 1, 2):
        raise ValueError(f"brackets: expected shape {(n - 1, 2)}, got {tuple(brackets.shape)}")

    def holds(brackets: Tensor) -> Tensor:
        first, last = brackets.unbind(-1)
        begin, end = first[..., None], last[..., None]
        first, last = first[..., None, :], last[..., None, :]
        inside = (first >= 0) & (first < last) & (last < n)
        crossing = (begin < first) & (first <= end) & (end < last)
        repeated = ((begin == first) & (end == last)).sum(-1) > 1
        return inside.all() & ~(crossing.any() | repeated.any())

    def got(brackets: Tensor) -> object:
        return brackets.tolist()

    check_values(holds, "brackets: expected those of a binary tree", got, brackets)


def bracket_merges(brackets: Tensor) -> Tensor:
    """The merges of a bracketing, (n−1, 2): nodes of fewer leaves first, then from the left."""
    n = len(brackets) + 1
    first, last = brackets.long().unbind(1)
    order = ((last - first) * n + first).argsort()
    first, last = first[order], last[order]
    leaves = torch.arange(n, device=brackets.device)
    table = leaves.new_full((n + 1, n), -1)  # the node from its first to its last leaf, or −1
    table[leaves, leaves] = leaves
    table[first, last] = n + leaves[:-1]
    # The children end and begin on both sides of the one gap where two nodes meet.
    left, right = table[first], table[1:].T[last]  # (n−1, n)
    gap = ((left >= 0) & (right >= 0)).int().argmax(1, keepdim=True)
    return torch.cat([left.gather(1, gap), right.gather(1, gap)], dim=1)
