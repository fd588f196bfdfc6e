"""A tree over vectors: merge the two nodes that are best reconstructed from their parent.

    parent          h = f([l; r]·We + be)
    reconstruction  [l'; r'] = h·Wd + bd
    score           ½ ‖[l; r] − [l'; r']‖² + score(l) + score(r), 0 for a leaf

With unit_norm a parent is h / max(‖h‖, 1e-12). With weight_by_leaves the reconstruction counts

    n_l / (n_l + n_r) · ‖l − l'‖² + n_r / (n_l + n_r) · ‖r − r'‖²

for children of n_l and n_r leaves, which is the same where these are equal.

The search is greedy: of all pairs of nodes, or of adjacent nodes only, the pair with the lowest
score becomes one node in the place of its left child, until one node is left.

Source: Socher et al. (2011), semi-supervised recursive autoencoders.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from pytorch_impl.distances import l2_normalize
from pytorch_impl.fast import recursive_autoencoder as fast
from pytorch_impl.support.bracketing import bracket_merges, check_brackets
from pytorch_impl.support.checks import check_choice, check_count, check_flag
from pytorch_impl.support.configured import ConfiguredModule
from pytorch_impl.support.greedy_tree import (
    as_sequences,
    check_vectors,
    greedy_merges,
    replayed,
)
from pytorch_impl.support.initializers import generator
from pytorch_impl.support.linear import make_linear
from pytorch_impl.support.precision import in_single_precision, linear, widened
from pytorch_impl.support.reduction import reduced
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

    Of a batch all have one axis more in front. Each sequence has its own tree, in which its t-th
    merge makes node length+t: behind the root nodes repeat the root, and merges are −1.
    """

    merges: Tensor
    embeddings: Tensor
    scores: Tensor

    @property
    def loss(self) -> Tensor:
        """The score of the root; of a batch the scores of the roots, (batch,)."""
        return self.scores[..., -1]

    def reduced_loss(self, reduction: str = "mean") -> Tensor:
        """The losses of a batch as one number.

        Args:
            reduction: mean, sum or none.
        Returns:
            A scalar; with reduction none the losses of the sequences, (batch,).
        Raises:
            ValueError: another reduction.
        Example:
            >>> RecursiveAutoencoder(2, seed=1)(torch.zeros(3, 5, 2)).reduced_loss().item()
            0.0
        """
        return reduced(self.loss, reduction)


class RecursiveAutoencoder(ConfiguredModule):
    """Vectors to the `Tree` over them: at most (n−1)² pairs are scored, in n batches.

    Args:
        dim: the width of a vector.
        activation: f, one of linear, tanh, sigmoid and relu.
        pairs: the pairs that may be merged, all or adjacent.
        unit_norm: whether parents are scaled to length 1.
        weight_by_leaves: whether the errors of children are weighted by their numbers of leaves.
        seed: of the initial weights.
    Example:
        >>> RecursiveAutoencoder(2, seed=1)(torch.eye(2)).merges.tolist()
        [[0, 1]]
    """

    def __init__(
        self,
        dim: int,
        *,
        activation: str = "linear",
        pairs: str = "all",
        unit_norm: bool = False,
        weight_by_leaves: bool = False,
        seed: int | None = None,
    ) -> None:
        super().__init__()
        self.dim = check_count("dim", dim)
        self.activation, self.pairs = activation, pairs
        check_choice("activation", activation, tuple(ACTIVATIONS))
        check_choice("pairs", pairs, PAIRS)
        self.unit_norm = check_flag("unit_norm", unit_norm)
        self.weight_by_leaves = check_flag("weight_by_leaves", weight_by_leaves)
        self.config = {
            "dim": self.dim,
            "activation": activation,
            "pairs": pairs,
            "unit_norm": self.unit_norm,
            "weight_by_leaves": self.weight_by_leaves,
        }
        start = generator(seed)
        self.encoder = make_linear(2 * self.dim, self.dim, generator=start)
        self.decoder = make_linear(self.dim, 2 * self.dim, generator=start)

    def forward(
        self, vectors: Tensor, brackets: Tensor | None = None, lengths: Tensor | None = None
    ) -> Tree:
        """The greedy tree over vectors, or the tree that brackets describe; of a batch all trees.

        Gradients hold the choice of merges fixed. Scores that differ by rounding alone are tied,
        and the first of tied pairs is merged; NaN is merged last. Of halves, and under autocast,
        scores are float32 and embeddings are halves. The tree of a sequence of a batch is the one
        that it has alone. Padding is never read, and has gradient 0.

        Args:
            vectors: (n, dim), or a batch of sequences, (batch, n, dim); n at least 1.
            brackets: (n−1, 2) integers, the first and the last leaf of every inner node of a binary
                tree, in any order; (batch, n−1, 2) of a batch. Nodes of fewer leaves are merged
                first, then from the left.
            lengths: (batch,) integers in 1..n, the numbers of leaves of a batch; all n when None.
        Raises:
            TypeError: another dtype than the weights' (under autocast halves and float32 may meet),
                lengths that are no integers.
            ValueError: no vectors, another width than dim, no binary tree, or lengths that do not
                fit.
        """
        check_vectors(vectors, self.dim, self.encoder.weight.dtype)
        leaves, lengths = as_sequences(vectors, lengths)
        inputs = [leaves, lengths]
        if brackets is not None:
            check_brackets(brackets, vectors, lengths)
            inputs.append(brackets if vectors.ndim == 3 else brackets[None])
        if fast.applies(vectors, self.encoder.weight):  # unless torch.func or torch.export runs it
            if vectors.ndim == 2 and vectors.device.type == "cpu":
                given = None if brackets is None else self._search(*inputs)[0]
                return Tree(*fast.tree(vectors, given, self, self._activate))
            merges = self._search(*inputs)
            found = Tree(merges, *fast.replay(leaves, lengths, merges, self, self._activate))
        else:
            merges = search(self, self._search, *inputs)
            # Each score is the error of `_merge` and the scores of both children.
            found = Tree(merges, *replayed(leaves, lengths, merges, self._merge))
        return found if vectors.ndim == 3 else Tree(*(one[0] for one in found))

    @in_single_precision
    @torch.no_grad()
    def _search(self, vectors: Tensor, lengths: Tensor, brackets: Tensor | None = None) -> Tensor:
        if brackets is not None:
            return bracket_merges(brackets, lengths)
        return greedy_merges(vectors, lengths, self._merge, adjacent=self.pairs == "adjacent")

    def _merge(self, left: Tensor, right: Tensor, leaves: Tensor) -> tuple[Tensor, Tensor]:
        """Parents (..., dim) of children (..., dim), and their reconstruction errors (...).

        leaves: (..., 2), the numbers of leaves of the children.
        """
        children = torch.cat([left, right], dim=-1)  # (..., 2·dim)
        parents = self._activate(linear(self.encoder, children))
        errors = widened(children) - widened(linear(self.decoder, parents))
        if not self.weight_by_leaves:
            return parents, errors.square().sum(-1) / 2
        shares = leaves / leaves.sum(-1, keepdim=True)  # (..., 2)
        squares = errors.square().unflatten(-1, (2, self.dim)).sum(-1)  # (..., 2)
        return parents, (shares * squares).sum(-1)

    def _activate(self, encoded: Tensor) -> Tensor:
        """The parents of what the encoder gives."""
        parents = ACTIVATIONS[self.activation](encoded)
        return l2_normalize(parents).to(parents.dtype) if self.unit_norm else parents
