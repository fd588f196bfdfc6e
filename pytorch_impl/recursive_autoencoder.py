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
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pytorch_impl.checks import (
    check_choice,
    check_count,
    check_dtype,
    check_floating,
    check_not_empty,
    check_width,
)
from pytorch_impl.initializers import generator, glorot_uniform

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


class RecursiveAutoencoder(nn.Module):
    """Vectors to the `Tree` over them: at most (n−1)² pairs are scored, in n batches.

    activation: linear, tanh, sigmoid or relu. pairs: all or adjacent.
    """

    def __init__(
        self, dim: int, *, activation: str = "linear", pairs: str = "all", seed: int | None = None
    ) -> None:
        super().__init__()
        check_count("dim", dim)
        check_choice("activation", activation, tuple(ACTIVATIONS))
        check_choice("pairs", pairs, PAIRS)
        self.config = {"dim": dim, "activation": activation, "pairs": pairs}
        self.dim = dim
        self.activation = activation
        self.pairs = pairs
        start = generator(seed)
        self.encoder = nn.utils.skip_init(nn.Linear, 2 * dim, dim)
        self.encoder.weight = glorot_uniform(dim, 2 * dim, generator=start)
        self.decoder = nn.utils.skip_init(nn.Linear, dim, 2 * dim)
        self.decoder.weight = glorot_uniform(2 * dim, dim, generator=start)
        nn.init.zeros_(self.encoder.bias)
        nn.init.zeros_(self.decoder.bias)

    def forward(self, vectors: Tensor) -> Tree:
        """vectors: (n, dim), n at least 1. Scores that differ by rounding alone are tied.

        Of tied pairs the first is merged; NaN is merged last. Embeddings and scores are
        differentiable, with the tree as it is. TypeError for another dtype than the weights',
        ValueError for no vectors or a wrong width.
        """
        check_floating("vectors", vectors, ndim=2)
        check_dtype("vectors", vectors, self.encoder.weight.dtype)
        check_not_empty("vectors", vectors)
        check_width("vectors", vectors, self.dim)
        # The search tries n² pairs and needs no gradient: the n − 1 merges are done once more.
        return self._replay(vectors, self._search(vectors))

    @torch.no_grad()
    def _search(self, vectors: Tensor) -> Tensor:
        """The merges: node i's parent takes its place, the place of node j is left empty."""
        n = len(vectors)
        reach = 1 if self.pairs == "adjacent" else n
        nodes, scores = self._nodes(vectors), vectors.new_zeros(n)
        ids, places, merges = list(range(n)), list(range(n)), []
        size, unit = _size(vectors).item(), TIED * torch.finfo(vectors.dtype).eps
        costs = vectors.new_full((n, n), math.inf)  # of the pairs i < j that may be merged
        gap = torch.arange(n, device=vectors.device)
        gap = gap - gap[:, None]
        lower, upper = ((gap > 0) & (gap <= reach)).nonzero(as_tuple=True)
        costs[lower, upper] = self._pair_scores(nodes, scores, lower, upper)
        for node in range(n, 2 * n - 1):
            best = costs.min().item()
            tied = costs <= best + _rounding_error(best, size, unit)
            i, j = divmod(int(tied.to(torch.int8).argmax()), n)
            merges.append((ids[i], ids[j]))
            parent = self._joined(nodes[i], nodes[j])
            nodes[i], scores[i], ids[i] = self._nodes(parent), costs[i, j], node
            costs[j], costs[:, j] = math.inf, math.inf
            places = [place for place in places if place != j]
            partners = gap.new_tensor(_partners(places, i, reach))
            lower, upper = partners.clamp(max=i), partners.clamp(min=i)
            costs[lower, upper] = self._pair_scores(nodes, scores, lower, upper)
        return gap.new_tensor(merges).reshape(n - 1, 2)

    def _replay(self, vectors: Tensor, merges: Tensor) -> Tree:
        """The tree, differentiable: the nodes of one height are one batch."""
        n = len(vectors)
        embeddings, scores = vectors, vectors.new_zeros(n)
        places = list(range(2 * n - 1))  # of the nodes, in order of their height
        for level in _levels(merges.tolist()):
            pairs = merges.new_tensor([[places[child] for child in pair] for _, pair in level])
            children = embeddings[pairs].flatten(1)
            parents = self._parents(children)
            errors = self._errors(children, parents)
            for place, (node, _) in enumerate(level, len(embeddings)):
                places[node] = place
            embeddings = torch.cat([embeddings, parents])
            scores = torch.cat([scores, errors + scores[pairs].sum(1)])
        order = merges.new_tensor(places)
        return Tree(merges, embeddings[order], scores[order])

    def _nodes(self, embeddings: Tensor) -> Tensor:
        """(..., 3·dim): their products with the encoder as left and as right child, and they.

        What a pair brings to its parent is then a sum, and no product for each pair.
        """
        left, right = self.encoder.weight.split(self.dim, dim=1)
        shares = F.linear(embeddings, left, self.encoder.bias), F.linear(embeddings, right)
        return torch.cat([*shares, embeddings], dim=-1)

    def _pair_scores(self, nodes: Tensor, scores: Tensor, i: Tensor, j: Tensor) -> Tensor:
        """The scores that the parents of nodes i and j would have, for vectors of places."""
        left, right = nodes[i], nodes[j]
        children = torch.cat([left[:, 2 * self.dim :], right[:, 2 * self.dim :]], dim=1)
        parents = self._joined(left, right)
        found = self._errors(children, parents) + scores[i] + scores[j]
        largest = torch.finfo(found.dtype).max / 2  # NaN and infinity come last, but they come
        return torch.where(found < largest, found, largest)

    def _joined(self, left: Tensor, right: Tensor) -> Tensor:
        """The parents of rows of `_nodes`."""
        encoded = left[..., : self.dim] + right[..., self.dim : 2 * self.dim]
        return ACTIVATIONS[self.activation](encoded)

    def _parents(self, children: Tensor) -> Tensor:
        return ACTIVATIONS[self.activation](self.encoder(children))

    def _errors(self, children: Tensor, parents: Tensor) -> Tensor:
        return (children - self.decoder(parents)).square().sum(-1) / 2

    def extra_repr(self) -> str:
        return ", ".join(f"{name}={value!r}" for name, value in self.config.items())


def _size(vectors: Tensor) -> Tensor:
    """The length of the longest vector, those without a finite one left out."""
    squares = vectors.square().sum(1)
    return squares.where(squares.isfinite(), 0).max().sqrt()


def _rounding_error(best: float, size: float, unit: float) -> float:
    """How far above the best score an equal one may lie.

    A score is half the square of a difference whose entries are rounded by the vectors' size:
    near a perfect reconstruction that is far more than a rounding of the score itself.
    """
    return unit * (best + math.sqrt(best) * size + unit * size**2)


def _partners(places: list[int], place: int, reach: int) -> list[int]:
    """The other living places, in order, that are at most so many living places away."""
    rank = places.index(place)
    return places[max(0, rank - reach) : rank] + places[rank + 1 : rank + 1 + reach]


def _levels(merges: list[list[int]]) -> list[list[tuple[int, list[int]]]]:
    """The merges, each with the node it makes, by the height of that node, the lowest first."""
    leaves = len(merges) + 1
    heights = [0] * leaves
    levels: list[list[tuple[int, list[int]]]] = []
    for node, (left, right) in enumerate(merges, leaves):
        heights.append(1 + max(heights[left], heights[right]))
        if heights[-1] > len(levels):
            levels.append([])
        levels[heights[-1] - 1].append((node, [left, right]))
    return levels
