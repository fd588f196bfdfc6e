"""A tree over vectors: merge the two nodes that are best reconstructed from their parent.

    parent          h = f([l; r]·We + be)
    reconstruction  [l'; r'] = h·Wd + bd
    score           ½ ‖[l; r] − [l'; r']‖² + score(l) + score(r), 0 for a leaf

The search is greedy: of all pairs of nodes, or of adjacent nodes only, the pair with the lowest
score becomes one node in the place of its left child, until one node is left.

Source: Socher et al. (2011), semi-supervised recursive autoencoders.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from pytorch_impl.fast import recursive_autoencoder as fast
from pytorch_impl.support.checks import check_choice, check_count
from pytorch_impl.support.configured import ConfiguredModule
from pytorch_impl.support.greedy_tree import check_vectors, greedy_merges
from pytorch_impl.support.initializers import generator
from pytorch_impl.support.linear import make_linear
from pytorch_impl.support.precision import in_single_precision, linear, widened
from pytorch_impl.support.transforms import search

ACTIVATIONS = {
    "linear": lambda x: x,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "relu": torch.relu,
}
PAIRS = ("all", "adjacent")


class Tree(NamedTuple):
    """A binary tree: nodes 0..n−1 are the leaves, the t-th merge makes node n+t, the last the root.

    merges: (n−1, 2) int64, the left and the right child of each inner node.
    embeddings: (2n−1, dim) and scores: (2n−1,), of all nodes.
    """

    merges: Tensor
    embeddings: Tensor
    scores: Tensor

    @property
    def loss(self) -> Tensor:
        """The score of the root."""
        return self.scores[-1]


class RecursiveAutoencoder(ConfiguredModule):
    """Vectors to the `Tree` over them: at most (n−1)² pairs are scored, in n batches.

    Args:
        dim: the width of a vector.
        activation: f, one of linear, tanh, sigmoid and relu.
        pairs: the pairs that may be merged, all or adjacent.
        seed: of the initial weights.
    Example:
        >>> RecursiveAutoencoder(2, seed=1)(torch.eye(2)).merges.tolist()
        [[0, 1]]
    """

    def __init__(
        self, dim: int, *, activation: str = "linear", pairs: str = "all", seed: int | None = None
    ) -> None:
        super().__init__()
        self.dim = check_count("dim", dim)
        self.activation, self.pairs = activation, pairs
        check_choice("activation", activation, tuple(ACTIVATIONS))
        check_choice("pairs", pairs, PAIRS)
        self.config = {"dim": self.dim, "activation": activation, "pairs": pairs}
        start = generator(seed)
        self.encoder = make_linear(2 * self.dim, self.dim, generator=start)
        self.decoder = make_linear(self.dim, 2 * self.dim, generator=start)

    def forward(self, vectors: Tensor) -> Tree:
        """The tree over vectors, (n, dim), n at least 1. Gradients hold the choice of merges fixed.

        Scores that differ by rounding alone are tied, and the first of tied pairs is merged; NaN is
        merged last. Of halves, and under autocast, scores are float32 and embeddings are halves.

        Raises:
            TypeError: another dtype than the weights' (under autocast halves and float32 may meet).
            ValueError: no vectors, or another width than dim.
        """
        check_vectors(vectors, self.dim, self.encoder.weight.dtype)
        if fast.applies(vectors, self.encoder.weight):  # unless torch.func or torch.export runs it
            return Tree(*fast.tree(vectors, self, ACTIVATIONS[self.activation]))
        merges = search(self, self._search, vectors)
        embeddings, scores = vectors, widened(vectors).new_zeros(len(vectors))
        for pair in merges.unbind():
            parent, error = self._merge(*embeddings[pair].unbind())
            embeddings = torch.cat([embeddings, parent[None]])
            scores = torch.cat([scores, (error + scores[pair].sum())[None]])
        return Tree(merges, embeddings, scores)

    @in_single_precision
    @torch.no_grad()
    def _search(self, vectors: Tensor) -> Tensor:
        return greedy_merges(vectors, self._merge, adjacent=self.pairs == "adjacent")

    def _merge(self, left: Tensor, right: Tensor) -> tuple[Tensor, Tensor]:
        """Parents (..., dim) of children (..., dim), and their reconstruction errors (...)."""
        children = torch.cat([left, right], dim=-1)  # (..., 2·dim)
        parents = ACTIVATIONS[self.activation](linear(self.encoder, children))
        errors = widened(children) - widened(linear(self.decoder, parents))
        return parents, errors.square().sum(-1) / 2
