"""A tree over a sequence of vectors: merge the two neighbors whose parent scores best.

    parent  p = tanh([relu(l·Wl + bl); relu(r·Wr + br)]·Wp + bp)
    score   p·ws + bs, 0 for a leaf

The search is greedy: of all adjacent pairs the pair with the highest score becomes one node, until
one node is left.

Training follows a labelled bracketing. Of the pairs that are in the bracketing, the pair with the
highest score is merged; it must outscore the best of the pairs that are not in the bracketing:

    hinge = max(0, 1 + score of the best wrong pair − score of the merge)

When every hinge is 0, the greedy search finds the bracketing. Another margin would only scale ws.

Source: Socher et al. (2011), parsing natural scenes and natural language with recursive neural
networks.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from pytorch_impl.support.bracketing import adjacent_merges, check_brackets
from pytorch_impl.support.checks import check_count
from pytorch_impl.support.configured import ConfiguredModule
from pytorch_impl.support.greedy_tree import check_vectors
from pytorch_impl.support.initializers import generator
from pytorch_impl.support.linear import make_linear
from pytorch_impl.support.precision import in_single_precision, linear, widened
from pytorch_impl.support.transforms import search


class Tree(NamedTuple):
    """A binary tree: nodes 0..n−1 are the leaves, the t-th merge makes node n+t, the last the root.

    merges: (n−1, 2) int64, the left and the right child of each inner node.
    brackets: (n−1, 2) int64, the first and the last leaf of each inner node.
    embeddings: (2n−1, dim) and scores: (2n−1,), of all nodes.
    """

    merges: Tensor
    brackets: Tensor
    embeddings: Tensor
    scores: Tensor


class LabelledTree(NamedTuple):
    """The tree of a labelled bracketing, as in `Tree`, and hinges: (n−1,), of its merges.

    The hinge is 0 where every other adjacent pair is in the bracketing too.
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

    Args:
        dim: the width of a vector.
        hidden: the width of a projected child.
        seed: of the initial weights.
    Example:
        >>> NeuralGrammar(2, 3, seed=1)(torch.eye(2)).brackets.tolist()
        [[0, 1]]
    """

    def __init__(self, dim: int, hidden: int, *, seed: int | None = None) -> None:
        super().__init__()
        self.dim = dim = check_count("dim", dim)
        hidden = check_count("hidden", hidden)
        self.config = {"dim": dim, "hidden": hidden}
        start = generator(seed)
        self.left = make_linear(dim, hidden, generator=start)
        self.right = make_linear(dim, hidden, generator=start)
        self.parent = make_linear(2 * hidden, dim, generator=start)
        self.score = make_linear(dim, 1, generator=start)

    def forward(self, vectors: Tensor, brackets: Tensor | None = None) -> Tree | LabelledTree:
        """The greedy tree over vectors, or the tree that brackets describe, whose loss trains.

        Gradients hold the choice of merges fixed. Scores that differ by rounding alone are tied:
        the first of tied pairs is merged, the first of tied wrong pairs is the best. NaN is merged
        last, and makes a hinge NaN. Of halves, and under autocast, hinges are
        float32, embeddings and scores are halves.

        Args:
            vectors: (n, dim), n at least 1.
            brackets: (n−1, 2) integers, the first and the last leaf of every inner node of a binary
                tree, in any order.
        Raises:
            TypeError: another dtype than the weights' (under autocast halves and float32 may meet).
            ValueError: no vectors, another width than dim, or no binary tree.
        """
        check_vectors(vectors, self.dim, self.left.weight.dtype)
        inputs = [vectors]
        if brackets is not None:
            check_brackets(brackets, len(vectors))
            inputs.append(brackets)
        # The search also scores pairs that it does not merge, and needs no gradient: the merges
        # are computed again under differentiation.
        merges, spans, rivals = search(self, self._search, *inputs).unbind()
        embeddings = vectors
        for pair in merges.unbind():
            parent = self._parents(*embeddings[pair].unbind())
            embeddings = torch.cat([embeddings, parent[None]])
        inner = self._scores(embeddings[len(vectors) :])
        scores = torch.cat([inner.new_zeros(len(vectors)), inner])
        if brackets is None:
            return Tree(merges, spans, embeddings, scores)
        left, right = embeddings[rivals].unbind(1)
        wrong = widened(self._scores(self._parents(left, right)))
        contested = (rivals != merges).any(1)
        hinges = (1 + wrong - inner).relu().masked_fill(~contested, 0)
        return LabelledTree(merges, embeddings, scores, hinges)

    @in_single_precision
    @torch.no_grad()
    def _search(self, vectors: Tensor, brackets: Tensor | None = None) -> Tensor:
        return adjacent_merges(vectors, brackets, self._parents, self._scores, self.score)

    def _parents(self, left: Tensor, right: Tensor) -> Tensor:
        children = [linear(self.left, left).relu(), linear(self.right, right).relu()]
        return linear(self.parent, torch.cat(children, dim=-1)).tanh()

    def _scores(self, parents: Tensor) -> Tensor:
        return linear(self.score, parents).squeeze(-1)
