"""A tree over vectors, grown by merging the pair that is best reconstructed from its parent.

    parent         h = f([l; r]·We + be)
    reconstruction [l'; r'] = h·Wd + bd
    score          ½ ‖[l; r] − [l'; r']‖² + score(l) + score(r); a leaf's is 0

Greedy: of all pairs in the list, or of the adjacent ones, that of the lowest score becomes one
node, in the place of its left child, until one node is left.

Sources: Socher et al. 2011 (semi-supervised recursive autoencoders); seed topic, recursive
autoencoders in TensorFlow 2.0.
"""

from __future__ import annotations

import math
import sys
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from pytorch_impl.support.checks import (
    check_choice,
    check_count,
    check_floating,
    check_not_empty,
    check_width,
)
from pytorch_impl.support.configured import ConfiguredModule
from pytorch_impl.support.initializers import generator
from pytorch_impl.support.linear import make_linear
from pytorch_impl.support.precision import check_layer_dtype, in_single_precision, widened
from pytorch_impl.support.transforms import search, transformed

ACTIVATIONS = {
    "linear": lambda x: x,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "relu": torch.relu,
}
PAIRS = ("all", "adjacent")
TIED = 64  # so many roundings apart, two scores are equal


class Tree(NamedTuple):
    """The leaves are the nodes 0..n−1; the t-th merge makes node n+t, the last one the root.

    merges: (n−1, 2) int64, each node's children, the left one first. embeddings: (2n−1, dim)
    and scores: (2n−1,), of all nodes.
    """

    merges: Tensor
    embeddings: Tensor
    scores: Tensor

    @property
    def loss(self) -> Tensor:
        """The root's score."""
        return self.scores[-1]


class RecursiveAutoencoder(ConfiguredModule):
    """Vectors to the `Tree` over them: at most (n−1)² pairs are scored, in n batches.

    activation: linear, tanh, sigmoid or relu. pairs: all or adjacent. Under autocast and of halves
    the tree is found, and errors are summed, in float32; the embeddings are in halves.
    """

    def __init__(
        self, dim: int, *, activation: str = "linear", pairs: str = "all", seed: int | None = None
    ) -> None:
        super().__init__()
        dim = check_count("dim", dim)
        check_choice("activation", activation, tuple(ACTIVATIONS))
        check_choice("pairs", pairs, PAIRS)
        self.config = {"dim": dim, "activation": activation, "pairs": pairs}
        self.dim = dim
        self.activation = activation
        self.pairs = pairs
        start = generator(seed)
        self.encoder = make_linear(2 * dim, dim, generator=start)
        self.decoder = make_linear(dim, 2 * dim, generator=start)

    def forward(self, vectors: Tensor) -> Tree:
        """vectors: (n, dim), n at least 1. Scores that differ by rounding alone are tied.

        Of tied pairs the first is merged; NaN is merged last. Embeddings and scores are
        differentiable, with the tree as it is. TypeError for another dtype than the weights' (under
        autocast halves and float32 may meet), ValueError for no vectors or a wrong width.
        """
        check_floating("vectors", vectors, ndim=2)
        check_layer_dtype("vectors", vectors, self.encoder.weight.dtype)
        check_not_empty("vectors", vectors)
        check_width("vectors", vectors, self.dim)
        # The search tries n² pairs and needs no gradient: the n − 1 merges are done once more.
        merges = search(self, self._search, vectors)
        plain = transformed(vectors, self.encoder.weight)
        return self._plain_replay(vectors, merges) if plain else self._replay(vectors, merges)

    @in_single_precision
    @torch.no_grad()
    def _search(self, vectors: Tensor) -> Tensor:
        """The merges: node i's parent takes its place, the place of node j is left empty."""
        n = len(vectors)
        reach = 1 if self.pairs == "adjacent" else n
        ids, places, merges = list(range(n)), list(range(n)), []
        size, unit = _size(vectors).item(), TIED * torch.finfo(vectors.dtype).eps
        weight, bias = self._as_children()
        table = F.linear(torch.cat([vectors, vectors.new_zeros(n, 1)], dim=1), weight, bias)
        left, right = table.chunk(2, dim=1)
        costs = vectors.new_full((n, n), math.inf)  # of merging two places, in either order
        lower, upper = torch.ones_like(costs).triu(1).tril(reach).nonzero(as_tuple=True)
        found = self._pair_scores(left, right, lower, upper)
        costs[lower, upper], costs[upper, lower] = found, found
        # A view of each row is made once: it takes longer than to fill the row.
        nodes, lefts, rights = table.unbind(), left.unbind(), right.unbind()
        rows, columns = costs.unbind(), costs.unbind(1)
        for node in range(n, 2 * n - 1):
            lowest = costs.amin(1).tolist()
            limit = _tied_with(min(lowest), size, unit)
            i = next(place for place in places if lowest[place] <= limit)
            row = rows[i].tolist()
            j = next(place for place in places if place != i and row[place] <= limit)
            merges.append((ids[i], ids[j]))
            parent = self._joined(lefts[i] + rights[j])
            parent = torch.cat([parent, rows[i][j : j + 1]])
            torch.addmv(bias, weight, parent, out=nodes[i])
            ids[i] = node
            places.remove(j)
            rows[j].fill_(math.inf)
            columns[j].fill_(math.inf)
            partners = lower.new_tensor(_partners(places, i, reach))
            lower, upper = partners.clamp(max=i), partners.clamp(min=i)
            found = self._pair_scores(left, right, lower, upper)
            rows[i].index_copy_(0, partners, found)
            columns[i].index_copy_(0, partners, found)
        return lower.new_tensor(merges).reshape(n - 1, 2)

    def _replay(self, vectors: Tensor, merges: Tensor) -> Tree:
        """The tree, differentiable: the nodes of one height are one batch."""
        n = len(vectors)
        nodes, counts = _by_height(merges.tolist())
        order = merges.new_tensor(nodes)
        places = order.argsort()
        children = places[merges[order[n:] - n]]
        embeddings, scores = vectors, widened(vectors).new_zeros(n)
        for pairs in children.split(counts):
            embeddings = torch.cat([embeddings, self._parents(_rows(embeddings, pairs))])
        errors = self._errors(_rows(embeddings, children), embeddings[n:])
        for pairs, error in zip(children.split(counts), errors.split(counts), strict=True):
            scores = torch.cat([scores, error + _rows(scores, pairs).sum(1)])
        return Tree(merges, embeddings.index_select(0, places), scores.index_select(0, places))

    def _plain_replay(self, vectors: Tensor, merges: Tensor) -> Tree:
        """The same one merge after the other, in which no size depends on the tree."""
        embeddings, scores = vectors, vectors.new_zeros(len(vectors))
        for pair in merges.unbind():
            children = embeddings[pair].flatten()
            parent = self._parents(children)
            score = self._errors(children, parent) + scores[pair].sum()
            embeddings = torch.cat([embeddings, parent[None]])
            scores = torch.cat([scores, score[None]])
        return Tree(merges, embeddings, scores)

    def _as_children(self) -> tuple[Tensor, Tensor]:
        """Weight and bias of what a node brings to its parent as left and as right child.

        From its embedding and score, dim + 1, to twice its share of what is encoded, of both
        children's embeddings (less the decoder's bias) and of the score, 3·dim + 1. A pair is
        then a sum, and takes no product of its own.
        """
        dim, encode = self.dim, widened(self.encoder.weight)
        weight = encode.new_zeros(2, 3 * dim + 1, dim + 1)
        weight[0, :dim, :dim], weight[1, :dim, :dim] = encode.split(dim, dim=1)
        weight[0, dim : 2 * dim, :dim] = weight[1, 2 * dim : -1, :dim] = torch.eye(
            dim, device=encode.device
        )
        weight[:, -1, -1] = 1
        bias = encode.new_zeros(2, 3 * dim + 1)
        bias[0, :-1] = torch.cat([widened(self.encoder.bias), -widened(self.decoder.bias)])
        return weight.flatten(0, 1), bias.flatten()

    def _pair_scores(self, left: Tensor, right: Tensor, i: Tensor, j: Tensor) -> Tensor:
        """The scores that the parents of nodes i and j would have, for vectors of places."""
        pairs = left.index_select(0, i) + right.index_select(0, j)
        children, scores = pairs[:, self.dim : -1], pairs[:, -1]
        decode = widened(self.decoder.weight)
        errors = torch.addmm(children, self._joined(pairs), decode.T, alpha=-1)
        found = torch.add(scores, (errors * errors).sum(1), alpha=0.5)
        # NaN and infinity come last, but they come.
        return found.nan_to_num_(nan=torch.finfo(found.dtype).max)

    def _joined(self, pairs: Tensor) -> Tensor:
        """The parents of sums of what left and right children bring."""
        return ACTIVATIONS[self.activation](pairs[..., : self.dim])

    def _parents(self, children: Tensor) -> Tensor:
        return ACTIVATIONS[self.activation](self.encoder(children))

    def _errors(self, children: Tensor, parents: Tensor) -> Tensor:
        return (widened(children) - widened(self.decoder(parents))).square().sum(-1) / 2


def _size(vectors: Tensor) -> Tensor:
    """The length of the longest vector, those without a finite one left out."""
    squares = vectors.square().sum(1)
    return squares.where(squares.isfinite(), 0).max().sqrt()


def _tied_with(best: float, size: float, unit: float) -> float:
    """How high a score may lie to equal the best one.

    A score is half the square of a difference whose entries are rounded by the vectors' size:
    near a perfect reconstruction that is far more than a rounding of the score itself.
    """
    error = unit * best + unit * math.sqrt(best) * size + (unit * size) ** 2
    return min(best + error, sys.float_info.max)


def _partners(places: list[int], place: int, reach: int) -> list[int]:
    """The other living places, in order, that are at most so many living places away."""
    rank = places.index(place)
    return places[max(0, rank - reach) : rank] + places[rank + 1 : rank + 1 + reach]


def _by_height(merges: list[list[int]]) -> tuple[list[int], list[int]]:
    """All nodes in order of their height, the leaves first, and how many have 1, 2, …"""
    heights = [0] * (len(merges) + 1)
    for left, right in merges:
        heights.append(1 + max(heights[left], heights[right]))
    counts = [heights.count(height) for height in range(1, max(heights) + 1)]
    return sorted(range(len(heights)), key=heights.__getitem__), counts


def _rows(table: Tensor, pairs: Tensor) -> Tensor:
    """What stands in the table at each two places, side by side."""
    return table.index_select(0, pairs.flatten()).unflatten(0, pairs.shape).flatten(1)
