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

from pytorch_impl.checks import (
    check_choice,
    check_count,
    check_dtype,
    check_floating,
    check_not_empty,
    check_width,
)
from pytorch_impl.initializers import generator, glorot_uniform
from pytorch_impl.ties import first_minimum

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
        ids = torch.arange(n, device=vectors.device)
        nodes, alive = vectors.clone(), torch.ones_like(ids, dtype=torch.bool)
        scores = vectors.new_zeros(n)
        size = _size(vectors)
        costs = vectors.new_full((n, n), math.inf)  # of the pairs i < j that may be merged
        gap = ids - ids[:, None]
        lower, upper = ((gap > 0) & (gap <= reach)).nonzero(as_tuple=True)
        costs[lower, upper] = self._pair_scores(nodes, scores, lower, upper)
        merges = ids.new_empty(n - 1, 2)
        for t in range(n - 1):
            flat = costs.flatten()
            i, j = divmod(int(first_minimum(flat, _rounding_error(flat.min(), size))), n)
            merges[t] = ids[[i, j]]
            nodes[i] = self._parents(torch.cat([nodes[i], nodes[j]]))
            scores[i], ids[i], alive[j] = costs[i, j], n + t, False
            costs[j], costs[:, j] = math.inf, math.inf
            partners = _partners(alive, i, reach)
            lower, upper = partners.clamp(max=i), partners.clamp(min=i)
            costs[lower, upper] = self._pair_scores(nodes, scores, lower, upper)
        return merges

    def _replay(self, vectors: Tensor, merges: Tensor) -> Tree:
        embeddings = list(vectors)
        scores = [vectors.new_zeros(())] * len(vectors)
        for left, right in merges.tolist():
            children = torch.cat([embeddings[left], embeddings[right]])
            embeddings.append(self._parents(children))
            error = self._errors(children, embeddings[-1])
            scores.append(error + scores[left] + scores[right])
        return Tree(merges, torch.stack(embeddings), torch.stack(scores))

    def _pair_scores(self, nodes: Tensor, scores: Tensor, i: Tensor, j: Tensor) -> Tensor:
        """The scores that the parents of nodes i and j would have, for vectors of places."""
        children = torch.cat([nodes[i], nodes[j]], dim=1)
        found = self._errors(children, self._parents(children)) + scores[i] + scores[j]
        largest = torch.finfo(found.dtype).max / 2  # NaN and infinity come last, but they come
        return torch.where(found < largest, found, largest)

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


def _rounding_error(best: Tensor, size: Tensor) -> Tensor:
    """How far above the best score an equal one may lie.

    A score is half the square of a difference whose entries are rounded by the vectors' size:
    near a perfect reconstruction that is far more than a rounding of the score itself.
    """
    unit = TIED * torch.finfo(best.dtype).eps
    return unit * (best + best.sqrt() * size + unit * size.square())


def _partners(alive: Tensor, place: int, reach: int) -> Tensor:
    """The other living places that are at most so many living places away."""
    rank = alive.cumsum(0)
    away = (rank - rank[place]).abs()
    return (alive & (away > 0) & (away <= reach)).nonzero().squeeze(1)
