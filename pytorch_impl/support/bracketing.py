"""Greedy merges of adjacent nodes, free or along labelled bracketings, in a batch of sequences."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from pytorch_impl.support.checks import check_integers
from pytorch_impl.support.greedy_tree import TIED, longest_first
from pytorch_impl.support.precision import widened
from pytorch_impl.support.ties import first_minimum
from pytorch_impl.support.transforms import check_values

Parents = Callable[[Tensor, Tensor], Tensor]
Scores = Callable[[Tensor], Tensor]


def adjacent_merges(
    vectors: Tensor,
    lengths: Tensor,
    brackets: Tensor | None,
    parents: Parents,
    scores: Scores,
    score: nn.Linear,
) -> Tensor:
    """The merges, their first and last leaves, and the best wrong pair at each: (3, batch, n−1, 2).

    Without brackets every merge is right. Where no pair is wrong, the merge itself stands instead.
    Behind the root of a sequence stand −1.

    Args:
        vectors: (batch, n, dim), the leaves: nodes 0..length−1 of a sequence. Its t-th merge makes
            node length+t.
        lengths: (batch,) int64.
        brackets: (batch, n−1, 2), the first and the last leaf of each merge that is right.
        parents: the parents of left and of right children, (..., dim) each.
        scores: the scores of parents, (...).
        score: the projection that gives the scores.
    """
    batch, n, dim = vectors.shape
    order, counts = longest_first(lengths, n)
    vectors, lengths = vectors[order], lengths[order]
    forbidden, rows = None, torch.arange(batch, device=vectors.device)[:, None]
    if brackets is not None:
        forbidden = torch.ones(batch, n, n, dtype=torch.bool, device=vectors.device)
        first, last = real_brackets(brackets[order], lengths).unbind(2)
        forbidden[rows, first, last] = False
    nodes = torch.cat([vectors, vectors.new_empty(batch, n - 1, dim)], dim=1).flatten(0, 1)
    start = (2 * n - 1) * torch.arange(batch, device=vectors.device)  # row of a sequence's node 0
    # One pair for each gap between two leaves. A gap is closed when its pair is merged; beside
    # padding it is closed from the beginning, and has no node on either side.
    gaps = torch.arange(n - 1, device=vectors.device)
    padding = gaps + 1 >= lengths[:, None]
    costs = pair_costs(parents, scores, vectors[:, :-1], vectors[:, 1:])
    costs = costs.masked_fill(padding, math.inf)
    # Of each gap the nodes on its left and right, and the first and the last leaf of both.
    ends = torch.stack([gaps, gaps + 1] * 2)[:, None].masked_fill(padding, -1)  # (4, batch, n−1)
    tolerance, most = rounding_error(score), _largest(costs)
    chosen, rivals = gaps.new_full((2, batch, n - 1, 4), -1)
    for t, count in enumerate(counts):  # of the longest sequences, which have two nodes or more
        if count < len(costs):
            costs, ends, start, lengths = (
                costs[:count],
                ends[:, :count],
                start[:count],
                lengths[:count],
            )
        nan = costs.isnan()
        ranked = costs.masked_fill(nan, most)
        if forbidden is not None:
            wrong = forbidden[rows[:count], ends[2], ends[3]]
            ranked = ranked.masked_fill(wrong, math.inf)
        gap = first_minimum(ranked, tolerance)[:, None]  # (count, 1)
        pair = ends.gather(2, gap.expand(4, -1, -1))  # (4, count, 1)
        chosen[:count, t] = pair[..., 0].T
        if forbidden is not None:
            ranked = costs.masked_fill(nan, -math.inf).masked_fill(~wrong, math.inf)
            rival = first_minimum(ranked, tolerance)[:, None]
            rival = rival.where(ranked.amin(1, keepdim=True) < math.inf, gap)
            rivals[:count, t] = ends.gather(2, rival.expand(4, -1, -1))[..., 0].T
        node = lengths + t
        nodes[start + node] = parents(*nodes[start + pair[:2, :, 0]].unbind())
        beside = ends[:2] == pair[:2].flip(0)  # the gap behind the new node, and the one before it
        new = torch.cat([node[:, None].expand(2, -1, -1), pair[2:]])
        ends = new.where(beside.repeat(2, 1, 1), ends)
        # The gaps on both sides of the new node are scored; where there is none, the one that is
        # closed now stands instead.
        is_there, where = beside.to(torch.int32).max(2)  # (2, count)
        where = where.T.where(is_there.T > 0, gap)
        sides = nodes[start[:, None] + ends[:2].gather(2, where.expand(2, -1, -1))]
        costs = costs.scatter(1, where, pair_costs(parents, scores, *sides.unbind()))
        costs = costs.scatter(1, gap, math.inf)
    rivals = chosen if forbidden is None else rivals
    found = torch.stack([chosen[..., :2], chosen[..., 2:], rivals[..., :2]])
    return torch.empty_like(found).index_copy_(1, order, found)


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


def check_brackets(brackets: Tensor, vectors: Tensor, lengths: Tensor) -> None:
    """The spans of a binary tree: distinct, of two leaves or more, none crossing another.

    Args:
        brackets: (n−1, 2), or (batch, n−1, 2), of which a sequence has length − 1.
        vectors: (n, dim), or (batch, n, dim).
        lengths: (batch,), or (1,) of a single sequence.
    """
    shape = (*vectors.shape[:-2], vectors.shape[-2] - 1, 2)
    check_integers("brackets", brackets, ndim=len(shape))
    if brackets.shape != shape:
        raise ValueError(f"brackets: expected shape {shape}, got {tuple(brackets.shape)}")

    def holds(brackets: Tensor, lengths: Tensor) -> Tensor:
        lengths = lengths[..., None] if len(shape) == 3 else lengths
        spans = torch.arange(brackets.shape[-2], device=brackets.device)
        real = spans < lengths - 1
        first, last = brackets.unbind(-1)
        inside = (first >= 0) & (first < last) & (last < lengths) | ~real
        begin, end = first[..., None], last[..., None]
        first, last = first[..., None, :], last[..., None, :]
        wrong = (begin < first) & (first <= end) & (end < last)
        repeated = (begin == first) & (end == last) & (spans[:, None] != spans)
        wrong = (wrong | repeated) & real[..., None] & real[..., None, :]
        return inside.all() & ~wrong.any()

    def got(brackets: Tensor, lengths: Tensor) -> object:
        return brackets.tolist()

    check_values(holds, "brackets: expected those of a binary tree", got, brackets, lengths)


def real_brackets(brackets: Tensor, lengths: Tensor) -> Tensor:
    """Brackets, (batch, n−1, 2) int64, with (0, 0) in the place of padding."""
    spans = torch.arange(brackets.shape[1], device=brackets.device)
    padding = spans >= lengths[:, None] - 1
    return brackets.long().masked_fill(padding[..., None], 0)


def bracket_merges(brackets: Tensor, lengths: Tensor) -> Tensor:
    """The merges of bracketings, (batch, n−1, 2): nodes of fewer leaves first, then from the left.

    Behind the root of a sequence stand −1.
    """
    batch, n = len(brackets), brackets.shape[1] + 1
    row = torch.arange(batch, device=brackets.device)[:, None]
    leaves = torch.arange(n, device=brackets.device)
    padding = leaves[:-1] >= lengths[:, None] - 1
    first, last = real_brackets(brackets, lengths).unbind(2)
    order = ((last - first) * n + first).masked_fill(padding, n * n).argsort(1)
    first, last = first.gather(1, order), last.gather(1, order)
    # table[b, i, j]: the node from leaf i to leaf j of sequence b, or −1.
    table = leaves.new_full((batch, n + 1, n), -1)
    table[row, first, last] = lengths[:, None] + leaves[:-1]
    table[row, leaves, leaves] = leaves  # also over what padding has written
    # The children end and begin on both sides of the one gap where two nodes meet.
    left, right = table[row, first], table[:, 1:].mT[row, last]  # (batch, n−1, n)
    gap = ((left >= 0) & (right >= 0)).int().argmax(2, keepdim=True)
    merges = torch.cat([left.gather(2, gap), right.gather(2, gap)], dim=2)
    return merges.masked_fill(padding[..., None], -1)
