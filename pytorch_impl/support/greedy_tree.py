"""Greedy search for a tree: merge the pair of nodes with the lowest score until one is left."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from pytorch_impl.support.checks import check_floating, check_not_empty, check_width
from pytorch_impl.support.precision import check_layer_dtype
from pytorch_impl.support.ties import first_minimum

TIED = 64  # two scores count as equal when they differ by at most so many roundings

Merge = Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]


def check_vectors(vectors: Tensor, dim: int, dtype: torch.dtype) -> None:
    """TypeError or ValueError unless these are vectors, (n ≥ 1, dim), for weights of this dtype."""
    check_floating("vectors", vectors, ndim=2)
    check_layer_dtype("vectors", vectors, dtype)
    check_not_empty("vectors", vectors)
    check_width("vectors", vectors, dim)


def greedy_merges(vectors: Tensor, merge: Merge, *, adjacent: bool) -> Tensor:
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
        vectors.clone(),
        vectors.new_zeros(n),
        list(range(n)),
        list(range(n)),
    )
    leaves = torch.ones_like(scores)
    costs = vectors.new_full((n, n), math.inf)  # score of merging the nodes in slots i < j
    i, j = torch.ones_like(costs).triu(1).tril(reach).nonzero(as_tuple=True)
    costs[i, j] = pair_scores(merge, nodes, scores, i, j, leaves)
    length, merges = largest_length(vectors), []
    for parent in range(n, 2 * n - 1):
        lowest = first_minimum(costs.flatten(), rounding_error(costs.min(), length))
        left, right = divmod(int(lowest), n)
        merges.append((ids[left], ids[right]))
        nodes[left] = merge(nodes[left], nodes[right], leaves[[left, right]])[0]
        leaves[left] += leaves[right]
        scores[left], ids[left] = costs[left, right], parent
        costs[right], costs[:, right] = math.inf, math.inf
        slots.remove(right)
        partners = i.new_tensor(neighbors(slots, left, reach))
        i, j = partners.clamp(max=left), partners.clamp(min=left)
        costs[i, j] = pair_scores(merge, nodes, scores, i, j, leaves)
    return i.new_tensor(merges).reshape(n - 1, 2)


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
    """The length of the longest finite vector."""
    squares = vectors.square().sum(1)
    return squares.where(squares.isfinite(), 0).max().sqrt()


def rounding_error(lowest: Tensor, length: Tensor) -> Tensor:
    """How far above the lowest score an equal score may be.

    A score is half a squared difference, whose entries carry rounding errors in proportion to the
    length of the vectors. Near a perfect reconstruction these exceed a rounding of the score.
    """
    unit = TIED * torch.finfo(lowest.dtype).eps
    return unit * (lowest + lowest.sqrt() * length + unit * length**2)


def neighbors(slots: list[int], slot: int, reach: int) -> list[int]:
    """The other open slots, in order, at most `reach` open slots away."""
    rank = slots.index(slot)
    return slots[max(0, rank - reach) : rank] + slots[rank + 1 : rank + 1 + reach]
