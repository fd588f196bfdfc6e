"""A tree over a sequence of vectors, grown by merging the neighbours that score best.

    parent    p = tanh([relu(l·Wl + bl); relu(r·Wr + br)]·Wp + bp)
    score     p·ws + bs; a leaf's is 0

Greedy: of all adjacent pairs that with the highest score becomes one node, until one is left.
Trained on a labelled bracketing: it is followed, its own pair with the highest score first, and
at each merge that pair must outscore the best of those that are not in the bracketing:

    hinge = max(0, 1 + score of the best wrong pair − score of the merge)

Where no hinge is left, the greedy search finds the bracketing by itself. A margin other than 1
would only scale ws.

Sources: Socher et al. 2011 (parsing natural scenes and natural language with recursive neural
networks); seed topic, recursive neural networks.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from pytorch_impl.support.checks import (
    check_count,
    check_floating,
    check_integers,
    check_not_empty,
    check_width,
)
from pytorch_impl.support.configured import ConfiguredModule
from pytorch_impl.support.initializers import generator
from pytorch_impl.support.linear import make_linear
from pytorch_impl.support.precision import check_layer_dtype, in_single_precision, linear, widened
from pytorch_impl.support.ties import first_minimum
from pytorch_impl.support.transforms import check_values, search, transformed

TIED = 64  # so many roundings apart, two scores are equal


class Tree(NamedTuple):
    """The leaves are the nodes 0..n−1; the t-th merge makes node n+t, the last one the root.

    merges: (n−1, 2) int64, each node's children, the left one first. brackets: (n−1, 2) int64,
    the first and the last leaf of each merge. embeddings: (2n−1, dim) and scores: (2n−1,), of
    all nodes.
    """

    merges: Tensor
    brackets: Tensor
    embeddings: Tensor
    scores: Tensor


class LabelledTree(NamedTuple):
    """The tree of a labelled bracketing, as in `Tree`; hinges: (n−1,), of its merges.

    A merge has no hinge, 0, where every other adjacent pair is in the bracketing too.
    """

    merges: Tensor
    embeddings: Tensor
    scores: Tensor
    hinges: Tensor

    @property
    def loss(self) -> Tensor:
        """The mean of the hinges; 0 for a single leaf."""
        return self.hinges.sum() / max(len(self.hinges), 1)


class NeuralGrammar(ConfiguredModule):
    """Vectors to the `Tree` over them: at most 3n adjacent pairs are scored, in n batches.

    Under autocast and of halves the tree is found, and hinges are, in float32; the embeddings and
    their scores are in halves.
    """

    def __init__(self, dim: int, hidden: int, *, seed: int | None = None) -> None:
        super().__init__()
        dim = check_count("dim", dim)
        hidden = check_count("hidden", hidden)
        self.config = {"dim": dim, "hidden": hidden}
        self.dim = dim
        start = generator(seed)
        self.left = make_linear(dim, hidden, generator=start)
        self.right = make_linear(dim, hidden, generator=start)
        self.parent = make_linear(2 * hidden, dim, generator=start)
        self.score = make_linear(dim, 1, generator=start)

    def forward(self, vectors: Tensor, brackets: Tensor | None = None) -> Tree | LabelledTree:
        """vectors: (n, dim), n at least 1. Scores that differ by rounding alone are tied.

        brackets: (n−1, 2) integers, the first and the last leaf of every node of a binary tree, in
        any order: that tree is followed, and its `loss` trains the scores. Of tied pairs the first
        is merged, and of tied wrong pairs the first is the best; NaN is merged last, and makes a
        hinge NaN. All is differentiable, with the tree as it is. TypeError for another dtype than
        the weights' (under autocast halves and float32 may meet), ValueError for no vectors, a
        wrong width or no binary tree.
        """
        check_floating("vectors", vectors, ndim=2)
        check_layer_dtype("vectors", vectors, self.left.weight.dtype)
        check_not_empty("vectors", vectors)
        check_width("vectors", vectors, self.dim)
        n = len(vectors)
        given = [vectors]
        if brackets is not None:
            _check_brackets(brackets, n)
            given.append(brackets)
        # The search scores what it will not merge and needs no gradient: the merges are done anew.
        merges, spans, rivals = search(self, self._search, *given).unbind()
        embeddings, scores = self._replay(vectors, merges)
        if brackets is None:
            return Tree(merges, spans, embeddings, scores)
        parents = self._parents(embeddings[rivals[:, 0]], embeddings[rivals[:, 1]])
        wrong = widened(self._scores(parents))  # so that the hinges are in float32
        contested = (rivals != merges).any(1)
        hinges = (1 + wrong - scores[n:]).relu().masked_fill(~contested, 0)
        return LabelledTree(merges, embeddings, scores, hinges)

    @in_single_precision
    @torch.no_grad()
    def _search(self, vectors: Tensor, brackets: Tensor | None = None) -> Tensor:
        """The merges, their first and last leaves, and the best wrong pair at each: (3, n−1, 2).

        Without brackets every merge is right. Where no pair is wrong, the merge stands in the
        place of its rival.
        """
        n = len(vectors)
        # Whether a merge from this leaf to that one is right.
        allowed = torch.ones(n, n, dtype=torch.bool, device=vectors.device)
        if brackets is not None:
            allowed = torch.zeros_like(allowed)
            allowed[brackets[:, 0].long(), brackets[:, 1].long()] = True
        nodes = torch.cat([vectors, vectors.new_empty(n - 1, self.dim)])
        # One pair for each place between two leaves, which closes when they are merged.
        left = torch.arange(n - 1, device=vectors.device)
        right = left + 1
        first, last = left, right
        costs = self._costs(nodes[left], nodes[right])
        tolerance = self._rounding_error()
        found = left.new_empty(3, n - 1, 2)
        merges, spans, rivals = found
        for t in range(n - 1):
            node = n + t
            wrong = ~allowed[first, last]
            ranked = costs.where(~costs.isnan(), _largest(costs)).masked_fill(wrong, math.inf)
            place = first_minimum(ranked, tolerance)
            ranked = costs.where(~costs.isnan(), -math.inf).masked_fill(~wrong, math.inf)
            rival = first_minimum(ranked, tolerance).where(ranked.min() < math.inf, place)
            merges[t] = torch.stack([left[place], right[place]])
            spans[t] = torch.stack([first[place], last[place]])
            rivals[t] = torch.stack([left[rival], right[rival]])
            nodes[node] = self._parents(nodes[left[place]], nodes[right[place]])
            left = left.where(left != merges[t, 1], node)
            right = right.where(right != merges[t, 0], node)
            first = first.where(left != node, spans[t, 0])
            last = last.where(right != node, spans[t, 1])
            costs[place] = math.inf
            (new,) = ((left == node) | (right == node)).nonzero(as_tuple=True)
            costs[new] = self._costs(nodes[left[new]], nodes[right[new]])
        return found

    def _replay(self, vectors: Tensor, merges: Tensor) -> tuple[Tensor, Tensor]:
        if transformed(vectors, self.parent.weight):
            embeddings = vectors
            for pair in merges.unbind():
                parent = self._parents(*embeddings[pair].unbind())
                embeddings = torch.cat([embeddings, parent[None]])
        else:
            nodes = list(vectors)
            for left, right in merges.tolist():
                nodes.append(self._parents(nodes[left], nodes[right]))
            embeddings = torch.stack(nodes)
        inner = self._scores(embeddings[len(vectors) :])
        return embeddings, torch.cat([inner.new_zeros(len(vectors)), inner])

    def _parents(self, left: Tensor, right: Tensor) -> Tensor:
        children = [linear(self.left, left).relu(), linear(self.right, right).relu()]
        return linear(self.parent, torch.cat(children, dim=-1)).tanh()

    def _scores(self, parents: Tensor) -> Tensor:
        return linear(self.score, parents).squeeze(-1)

    def _costs(self, left: Tensor, right: Tensor) -> Tensor:
        """The negative scores of pairs; below infinity, which stands for a place that is closed."""
        costs = -self._scores(self._parents(left, right))
        return torch.minimum(costs, _largest(costs))

    def _rounding_error(self) -> Tensor:
        """The difference below which two scores count as equal: parents are within ±1."""
        weight, bias = widened(self.score.weight), widened(self.score.bias)
        size = weight.abs().sum() + bias.abs().sum()
        return TIED * torch.finfo(size.dtype).eps * size.where(size.isfinite(), 0)


def _largest(x: Tensor) -> Tensor:
    return x.new_tensor(torch.finfo(x.dtype).max / 2)


def _check_brackets(brackets: Tensor, n: int) -> None:
    """The n − 1 spans of a binary tree: distinct, of two leaves or more, none crossing another."""
    check_integers("brackets", brackets, ndim=2)
    if brackets.shape != (n - 1, 2):
        raise ValueError(f"brackets: expected shape {(n - 1, 2)}, got {tuple(brackets.shape)}")

    def check(brackets: Tensor) -> None:
        first, last = brackets.unbind(-1)
        begin, end = first[..., None], last[..., None]
        first, last = first[..., None, :], last[..., None, :]
        inside = (first >= 0) & (first < last) & (last < n)
        crossing = (begin < first) & (first <= end) & (end < last)
        repeated = ((begin == first) & (end == last)).sum(-1) > 1
        if not inside.all() or crossing.any() or repeated.any():
            raise ValueError(f"brackets: expected those of a binary tree, got {brackets.tolist()}")

    check_values(check, brackets)
