"""Greedy search for trees: merge the pair of nodes with the lowest score until one is left.

All sequences of a batch are searched at once. The sizes of all steps are read before the first one,
and nothing after it: a GPU never waits for Python.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from pytorch_impl.support.checks import (
    check_floating,
    check_integers,
    check_not_empty,
    check_width,
)
from pytorch_impl.support.precision import check_layer_dtype, widened
from pytorch_impl.support.ties import first_minimum
from pytorch_impl.support.transforms import check_values

TIED = 64  # two scores count as equal when they differ by at most so many roundings

Merge = Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]


def check_vectors(vectors: Tensor, dim: int, dtype: torch.dtype) -> None:
    """TypeError or ValueError unless these are vectors for weights of this dtype.

    (n, dim), or a batch of sequences, (batch, n, dim); n at least 1.
    """
    check_floating("vectors", vectors, ndim=3 if getattr(vectors, "ndim", 2) == 3 else 2)
    check_layer_dtype("vectors", vectors, dtype)
    check_not_empty("vectors", vectors, axis=-2)
    check_width("vectors", vectors, dim)


def as_sequences(vectors: Tensor, lengths: Tensor | None) -> tuple[Tensor, Tensor]:
    """The leaves, (batch, n, dim), 0 behind the ends, and the lengths, (batch,) int64.

    Args:
        vectors: (n, dim), which makes a batch of one, or (batch, n, dim).
        lengths: (batch,) integers in 1..n beside a batch; all n when None.
    Raises:
        TypeError: lengths that are no integers.
        ValueError: lengths beside a single sequence, another number of them, or some outside of
            1..n.
    """
    if vectors.ndim == 2:
        if lengths is not None:
            raise ValueError(f"lengths: expected None beside vectors of two axes, got {lengths}")
        vectors = vectors[None]
    batch, n, _ = vectors.shape
    if lengths is None:
        return vectors, torch.full((batch,), n, device=vectors.device)
    check_integers("lengths", lengths, ndim=1)
    if len(lengths) != batch:
        raise ValueError(f"lengths: expected {batch} of them, got {len(lengths)}")

    def holds(lengths: Tensor) -> Tensor:
        return ((lengths >= 1) & (lengths <= n)).all()

    def got(lengths: Tensor) -> object:
        return lengths.tolist()

    check_values(holds, f"lengths: expected lengths in 1..{n}", got, lengths)
    lengths = lengths.long()
    padding = torch.arange(n, device=lengths.device) >= lengths[:, None]
    return vectors.masked_fill(padding[..., None], 0), lengths


def longest_first(lengths: Tensor, n: int) -> tuple[Tensor, list[int]]:
    """The sequences in the order of their lengths, (batch,), and how many have a t-th merge."""
    order = lengths.argsort(descending=True, stable=True)
    steps = torch.arange(1, n, device=lengths.device)
    counts = (lengths > steps[:, None]).sum(1).tolist()
    return order, [count for count in counts if count]


def greedy_merges(vectors: Tensor, lengths: Tensor, merge: Merge, *, adjacent: bool) -> Tensor:
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
    batch, n, _ = vectors.shape
    order, counts = longest_first(lengths, n)
    vectors, lengths = vectors[order], lengths[order]
    # Slots are numbered through all sequences, n for each. A parent takes the slot of its left
    # child; the slot of the right child is closed.
    start = n * torch.arange(batch, device=lengths.device)
    end = start + lengths
    first_ids = torch.arange(n, device=lengths.device)
    slots = start[:, None] + first_ids  # the open ones, in order, and padding behind them
    nodes, ids = vectors.flatten(0, 1), first_ids.repeat(batch)
    scores = nodes.new_zeros(batch * n)
    leaves = torch.ones_like(scores)
    merges = ids.new_full((batch, n - 1, 2), -1)
    # costs[i, j]: the score of merging the nodes in slots i < j, the second one counted in its own
    # sequence.
    costs = nodes.new_full((batch * n, n), math.inf)
    first, second = (
        (first_ids[:-1], first_ids[1:])
        if adjacent
        else torch.triu_indices(n, n, 1, device=lengths.device)
    )
    i, j = start[:, None] + first, start[:, None] + second  # (batch, pairs)
    score_pairs(costs, merge, nodes, scores, i, j, leaves, end)
    length = largest_length(vectors)
    for t, count in enumerate(counts):  # of the longest sequences, which have two nodes or more
        flat = costs[: count * n].view(count, n * n)
        tolerance = rounding_error(flat.amin(1), length[:count])
        lowest = first_minimum(flat, tolerance[:, None])
        right = lowest % n
        i, j = start[:count] + lowest // n, start[:count] + right
        merges[:count, t] = torch.stack([ids[i], ids[j]], dim=1)
        nodes[i] = merge(nodes[i], nodes[j], torch.stack([leaves[i], leaves[j]], dim=1))[0]
        leaves[i] += leaves[j]
        scores[i], ids[i] = costs[i, right], lengths[:count] + t
        costs.index_fill_(0, j, math.inf)
        columns = right[:, None, None].expand(count, n, 1)
        costs.view(batch, n, n)[:count].scatter_(2, columns, math.inf)
        slots = without(slots[:count], j)
        partners = neighbors(slots, i) if adjacent else without(slots, i)  # (count, k)
        i, j = partners.minimum(i[:, None]), partners.maximum(i[:, None])
        score_pairs(costs, merge, nodes, scores, i, j, leaves, end[:count])
    return torch.empty_like(merges).index_copy_(0, order, merges)


def score_pairs(
    costs: Tensor,
    merge: Merge,
    nodes: Tensor,
    scores: Tensor,
    i: Tensor,
    j: Tensor,
    leaves: Tensor,
    end: Tensor,
) -> None:
    """Write the scores of the nodes in slots i and j, (batch, k); infinity from the ends on."""
    found = pair_scores(merge, nodes, scores, i.flatten(), j.flatten(), leaves).view_as(i)
    found = found.masked_fill(j >= end[:, None], math.inf)
    costs[i, j % costs.shape[1]] = found


def pair_scores(
    merge: Merge, nodes: Tensor, scores: Tensor, i: Tensor, j: Tensor, leaves: Tensor
) -> Tensor:
    """The scores of the parents of the nodes in slots i and j, (k,) each."""
    counts = torch.stack([leaves[i], leaves[j]], dim=1)  # (k, 2)
    found = merge(nodes[i], nodes[j], counts)[1] + scores[i] + scores[j]
    # NaN and infinite scores are merged last, but before a closed slot, which is infinite.
    largest = torch.finfo(found.dtype).max / 2
    return torch.where(found < largest, found, largest)


def largest_length(vectors: Tensor) -> Tensor:
    """The length of the longest finite vector: (..., n, dim) → (...)."""
    squares = vectors.square().sum(-1)
    return squares.where(squares.isfinite(), 0).amax(-1).sqrt()


def rounding_error(lowest: Tensor, length: Tensor) -> Tensor:
    """How far above the lowest score an equal score may be.

    A score is half a squared difference, whose entries carry rounding errors in proportion to the
    length of the vectors. Near a perfect reconstruction these exceed a rounding of the score.
    """
    unit = TIED * torch.finfo(lowest.dtype).eps
    return unit * (lowest + lowest.sqrt() * length + unit * length**2)


def without(slots: Tensor, slot: Tensor) -> Tensor:
    """Each row of slots, (batch, k), without one of them, (batch,): (batch, k−1)."""
    before = slots[:, :-1]
    return before.where(before < slot[:, None], slots[:, 1:])


def neighbors(slots: Tensor, slot: Tensor) -> Tensor:
    """The slots before and behind a slot, (batch, 2); at an end, the one that there is twice."""
    others = without(slots, slot)
    if others.shape[1] == 0:
        return others
    behind = (others < slot[:, None]).sum(1, keepdim=True)
    ranks = torch.cat([behind - 1, behind], dim=1).clamp(0, others.shape[1] - 1)
    return others.gather(1, ranks)


def node_table(leaves: Tensor) -> Tensor:
    """Leaves, (batch, n, ...), as the first nodes of a table, ((1+n)·batch, ...), of a batch.

    A table holds zeros for each sequence, then the leaf 0 of each, the leaf 1 and so on, padding
    among them, and then what the first merges made, the second merges and so on.
    """
    batch = len(leaves)
    rows = leaves.transpose(0, 1).flatten(0, 1)
    return torch.cat([torch.zeros_like(rows[:batch]), rows])


def table_rows(nodes: Tensor, lengths: Tensor, n: int) -> Tensor:
    """The rows of a table where nodes, (batch, ...), stand; zeros for node −1, which is none."""
    batch = len(lengths)
    lengths, sequence = (
        one.view(-1, *[1] * (nodes.ndim - 1))
        for one in (lengths, torch.arange(batch, device=lengths.device))
    )
    columns = nodes + 1 + (n - lengths) * (nodes >= lengths)
    return batch * columns + sequence


def rows_at(table: Tensor, rows: Tensor) -> Tensor:
    """The rows of a table at indices of any shape."""
    return table.index_select(0, rows.flatten()).unflatten(0, rows.shape)


def all_nodes(lengths: Tensor, n: int) -> Tensor:
    """The nodes of each tree, (batch, 2n−1), with the root in the place of all behind it."""
    nodes = torch.arange(2 * n - 1, device=lengths.device)
    return nodes.minimum(2 * lengths[:, None] - 2)


def replayed(
    vectors: Tensor, lengths: Tensor, merges: Tensor, merge: Merge
) -> tuple[Tensor, Tensor]:
    """Embeddings, (batch, 2n−1, dim), and scores, (batch, 2n−1), of all nodes of these merges.

    A score is the error of the merge and the scores of both children.
    """
    n = vectors.shape[1]
    nodes = node_table(vectors)  # a batch of rows more after each step
    scores = torch.zeros_like(widened(nodes[:, 0]))
    leaves = torch.ones_like(scores)
    for pair in table_rows(merges, lengths, n).unbind(1):  # (batch, 2)
        counts = rows_at(leaves, pair)
        left, right = rows_at(nodes, pair).unbind(1)
        parent, error = merge(left, right, counts)
        nodes = torch.cat([nodes, parent])
        scores = torch.cat([scores, error + rows_at(scores, pair).sum(1)])
        leaves = torch.cat([leaves, counts.sum(1)])
    every = table_rows(all_nodes(lengths, n), lengths, n)
    return rows_at(nodes, every), rows_at(scores, every)
