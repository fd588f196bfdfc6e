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

from typing import NamedTuple, TypeVar

import torch
from torch import Tensor
from torch.nn import functional

from pytorch_impl.support.bracketing import adjacent_merges, check_brackets, replayed
from pytorch_impl.support.checks import check_count
from pytorch_impl.support.configured import ConfiguredModule
from pytorch_impl.support.greedy_tree import (
    all_nodes,
    as_sequences,
    check_vectors,
    rows_at,
    table_rows,
)
from pytorch_impl.support.initializers import generator
from pytorch_impl.support.linear import make_linear
from pytorch_impl.support.precision import in_single_precision, linear, widened
from pytorch_impl.support.reduction import reduced
from pytorch_impl.support.transforms import search


class Tree(NamedTuple):
    """A binary tree: nodes 0..n−1 are the leaves, the t-th merge makes node n+t, the last the root.

    merges: (n−1, 2) int64, the left and the right child of each inner node.
    brackets: (n−1, 2) int64, the first and the last leaf of each inner node.
    embeddings: (2n−1, dim) and scores: (2n−1,), of all nodes.

    Of a batch all have one axis more in front. Each sequence has its own tree, in which its t-th
    merge makes node length+t: behind the root nodes repeat it, and merges and brackets are −1.
    """

    merges: Tensor
    brackets: Tensor
    embeddings: Tensor
    scores: Tensor


class LabelledTree(NamedTuple):
    """The tree of a labelled bracketing, as in `Tree`, and hinges: (n−1,), of its merges.

    The hinge is 0 where every other adjacent pair is in the bracketing too, and behind a root.
    """

    merges: Tensor
    embeddings: Tensor
    scores: Tensor
    hinges: Tensor

    @property
    def loss(self) -> Tensor:
        """The mean of the hinges, 0 for a single leaf; of a batch those of the trees, (batch,)."""
        return self.hinges.sum(-1) / (self.merges[..., 0] >= 0).sum(-1).clamp(min=1)

    def reduced_loss(self, reduction: str = "mean") -> Tensor:
        """The losses of a batch as one number.

        Args:
            reduction: mean, sum or none.
        Returns:
            A scalar; with reduction none the losses of the sequences, (batch,).
        Raises:
            ValueError: another reduction.
        Example:
            >>> vectors, brackets = torch.zeros(3, 2, 5), torch.tensor([[[0, 1]]] * 3)
            >>> NeuralGrammar(5, 7, seed=1)(vectors, brackets).reduced_loss().item()
            0.0
        """
        return reduced(self.loss, reduction)


Trees = TypeVar("Trees", Tree, LabelledTree)


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

    def forward(
        self, vectors: Tensor, brackets: Tensor | None = None, lengths: Tensor | None = None
    ) -> Tree | LabelledTree:
        """The greedy tree over vectors, or the tree that brackets describe, whose loss trains.

        Gradients hold the choice of merges fixed. Scores that differ by rounding alone are tied:
        the first of tied pairs is merged, the first of tied wrong pairs is the best. NaN is merged
        last, and makes a hinge NaN. Of halves, and under autocast, hinges are
        float32, embeddings and scores are halves. The tree of a sequence of a batch is the one that
        it has alone. Padding is never read, and has gradient 0.

        Args:
            vectors: (n, dim), or a batch of sequences, (batch, n, dim); n at least 1.
            brackets: (n−1, 2) integers, the first and the last leaf of every inner node of a binary
                tree, in any order; (batch, n−1, 2) of a batch.
            lengths: (batch,) integers in 1..n, the numbers of leaves of a batch; all n when None.
        Raises:
            TypeError: another dtype than the weights' (under autocast halves and float32 may meet),
                lengths that are no integers.
            ValueError: no vectors, another width than dim, no binary tree, or lengths that do not
                fit.
        """
        check_vectors(vectors, self.dim, self.left.weight.dtype)
        leaves, lengths = as_sequences(vectors, lengths)
        inputs = [leaves, lengths]
        if brackets is not None:
            check_brackets(brackets, vectors, lengths)
            inputs.append(brackets if vectors.ndim == 3 else brackets[None])
        # The search also scores pairs that it does not merge, and needs no gradient: the merges
        # are computed again under differentiation.
        found = search(self, self._search, *inputs)  # (3, batch, n−1, 2)
        n, (merges, spans, rivals) = leaves.shape[1], found.unbind()
        embeddings = replayed(leaves, lengths, merges, self._parents)  # a table of all nodes
        inner = self._scores(embeddings[(1 + n) * len(leaves) :])
        scores = functional.pad(inner, ((1 + n) * len(leaves), 0))
        every = table_rows(all_nodes(lengths, n), lengths, n)
        nodes = rows_at(embeddings, every), rows_at(scores, every)
        if brackets is None:
            return _of(vectors, Tree(merges, spans, *nodes))
        pairs = rows_at(embeddings, table_rows(rivals, lengths, n))  # (batch, n−1, 2, dim)
        wrong = widened(self._scores(self._parents(*pairs.unbind(2))))
        contested = (rivals != merges).any(2)
        violation = 1 + wrong - inner.view(n - 1, len(leaves)).T
        hinges = violation.relu().masked_fill(~contested, 0)
        return _of(vectors, LabelledTree(merges, *nodes, hinges))

    @in_single_precision
    @torch.no_grad()
    def _search(self, vectors: Tensor, lengths: Tensor, brackets: Tensor | None = None) -> Tensor:
        return adjacent_merges(vectors, lengths, brackets, self._parents, self._scores, self.score)

    def _parents(self, left: Tensor, right: Tensor) -> Tensor:
        children = [linear(self.left, left).relu(), linear(self.right, right).relu()]
        return linear(self.parent, torch.cat(children, dim=-1)).tanh()

    def _scores(self, parents: Tensor) -> Tensor:
        return linear(self.score, parents).squeeze(-1)


def _of(vectors: Tensor, trees: Trees) -> Trees:
    """The trees of a batch, or the only one of a single sequence."""
    return trees if vectors.ndim == 3 else type(trees)(*(one[0] for one in trees))
