"""Greedy merges of adjacent nodes, free or along labelled bracketings, in a batch of sequences."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from pytorch_impl.support.checks import check_integers
from pytorch_impl.support.greedy_tree import (
    TIED,
    longest_first,
    node_table,
    rows_at,
    table_rows,
)
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
    blocked = blocked_spans(None if brackets is None else brackets[order], lengths, n)
    # The gap between leaves c−1 and c is column c; columns 0 and n are no gaps. A node is in the
    # slot of its first leaf: right of gap c in slot c.
    nodes = functional.pad(vectors, (0, 0, 0, 1)).flatten(0, 1)  # (batch · (n+1), dim)
    start = (n + 1) * torch.arange(batch, device=vectors.device)  # row of a sequence's slot 0
    # The leaves that the two nodes beside a gap span, first and last, (2, batch, n+1). In column 0
    # the first one is n, and in column n the last one: such spans are blocked.
    columns = torch.arange(n + 1, device=vectors.device)
    ends = torch.stack([(columns - 1) % (n + 1), columns])[:, None].repeat(1, batch, 1)
    made = nodes.new_zeros(batch, n + 1, dim)  # the parent of the nodes beside each gap
    made[:, 1:n] = parents(vectors[:, :-1], vectors[:, 1:])
    # The costs of a merge, and of a rival: infinity where the gap is closed or its span blocked.
    costs = ranked_costs(pair_costs(scores, made[:, 1:n]), len(blocked))
    costs = functional.pad(costs, (1, 1), value=math.inf)  # (kinds, batch, n+1)
    spans = ((start[:, None] + ends[0]) * (n + 1) + ends[1]).flatten()
    blocked = blocked.flatten(1)
    costs.masked_fill_(blocked.index_select(1, spans).view_as(costs), math.inf)
    made = made.flatten(0, 1)
    tolerance = rounding_error(score)
    gaps = columns.new_zeros(len(costs), batch, n - 1)
    chosen = columns.new_full((2, batch, n - 1, len(costs)), n)
    for t, count in enumerate(counts):  # of the longest sequences, which have two nodes or more
        if count < costs.shape[1]:
            costs, ends, start = costs[:, :count], ends[:, :count], start[:count]
        gap = gaps[:, :count, t] = first_minimum(costs, tolerance)  # 0 where all are infinite
        span = chosen[:, :count, t] = ends.gather(2, gap.T.expand(2, -1, -1))  # (2, count, kinds)
        first, last = span[..., 0]
        nodes.index_copy_(0, start + first, made.index_select(0, start + gap[0]))
        # The new node is right of the gap in column `first`, and left of that in column last + 1.
        sides = torch.stack([first, last + 1])  # (2, count)
        ends.scatter_(2, sides.flip(0)[..., None], span[..., :1])
        sides = sides.T.expand(2, -1, -1)  # (2, count, 2)
        first_leaf, last_leaf = ends.gather(2, sides)
        children = start[:, None] + torch.stack([first_leaf, sides[0]])  # (2, count, 2)
        left, right = nodes.index_select(0, children.flatten()).unflatten(0, children.shape)
        parent = parents(left, right)
        made.index_copy_(0, children[1].flatten(), parent.flatten(0, 1))
        found = ranked_costs(pair_costs(scores, parent), len(costs))  # (kinds, count, 2)
        spans = (children[0] * (n + 1) + last_leaf).flatten()
        found = found.masked_fill(blocked.index_select(1, spans).view_as(found), math.inf)
        costs.scatter_(2, sides[:1].expand_as(found), found)
        costs.scatter_(2, gap[:1, :, None].expand(len(costs), -1, -1), math.inf)
    return numbered(gaps, chosen, lengths, order)


def blocked_spans(brackets: Tensor | None, lengths: Tensor, n: int) -> Tensor:
    """Which spans, from a first to a last leaf, no merge may make, (kinds, batch, n+1, n+1).

    With brackets there are two kinds: those that no merge may make, and those that no rival may.
    """
    rows = torch.arange(len(lengths), device=lengths.device)[:, None]
    leaves = torch.arange(n + 1, device=lengths.device)
    outside = (leaves >= lengths[:, None]) | (leaves[:, None, None] == n)  # (n+1, batch, n+1)
    outside = outside.transpose(0, 1)
    if brackets is None:
        return outside[None]
    right = torch.zeros_like(outside)
    first, last = real_brackets(brackets, lengths).unbind(2)
    right[rows, first, last] = True
    return torch.stack([outside | ~right, outside | right])


def numbered(gaps: Tensor, chosen: Tensor, lengths: Tensor, order: Tensor) -> Tensor:
    """What `adjacent_merges` returns, in the order of the batch.

    Args:
        gaps: (kinds, batch, n−1), the column of each merge, and of its rival or 0.
        chosen: (2, batch, n−1, kinds), the first and the last leaf of both.
        lengths: (batch,), in the order from the longest.
        order: (batch,), the sequences in that order.
    """
    batch, n = len(lengths), gaps.shape[2] + 1
    rows = torch.arange(batch, device=lengths.device)[:, None]
    leaves = torch.arange(n, device=lengths.device)
    gap, (first, last) = gaps[0], chosen[..., 0]
    table = gaps.new_full((batch, n + 1, n + 1), -1)  # the node of each span
    table[rows, first, last] = lengths[:, None] + leaves[:-1]
    table[rows, leaves, leaves] = leaves

    def children(gap: Tensor, first: Tensor, last: Tensor) -> Tensor:
        return torch.stack([table[rows, first, gap - 1], table[rows, gap, last]], dim=-1)

    merges, spans = children(gap, first, last), torch.stack([first, last], dim=-1)
    rivals = merges
    if len(gaps) == 2:
        rivals = children(gaps[1], *chosen[..., 1])
        rivals = rivals.where(gaps[1][..., None] > 0, merges)
    found = torch.stack([merges, spans, rivals])
    found = found.masked_fill((leaves[:-1] >= lengths[:, None] - 1)[..., None], -1)
    return torch.empty_like(found).index_copy_(1, order, found)


def pair_costs(scores: Scores, made: Tensor) -> Tensor:
    """The negative scores of parents; below infinity, which stands for a closed gap."""
    costs = -scores(made)
    return costs.clamp(max=torch.finfo(costs.dtype).max / 2)


def ranked_costs(costs: Tensor, kinds: int) -> Tensor:
    """Costs of merges, in which NaN comes last, and of rivals, in which it comes first."""
    nan, most = costs.isnan(), torch.finfo(costs.dtype).max / 2
    merges = costs.masked_fill(nan, most)[None]
    return merges if kinds == 1 else torch.cat([merges, costs.masked_fill(nan, -math.inf)[None]])


def rounding_error(score: nn.Linear) -> Tensor:
    """The difference below which two scores count as equal: entries of parents are within ±1."""
    size = widened(score.weight).abs().sum() + widened(score.bias).abs().sum()
    return TIED * torch.finfo(size.dtype).eps * size.where(size.isfinite(), 0)


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


def replayed(vectors: Tensor, lengths: Tensor, merges: Tensor, parents: Parents) -> Tensor:
    """The table of all nodes of these merges, as of `node_table`: ((2n)·batch, dim)."""
    nodes = node_table(vectors)  # a batch of rows more after each step
    for pair in table_rows(merges, lengths, vectors.shape[1]).unbind(1):  # (batch, 2)
        parent = parents(*rows_at(nodes, pair).unbind(1))
        nodes = torch.cat([nodes, parent])
    return nodes
