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

import numpy as np
import theano.tensor as T
from theano.gradient import disconnected_grad
from theano.tensor.var import TensorVariable

from theano_impl.distances import l2_normalize
from theano_impl.support import tree_batches
from theano_impl.support.bracketing import bracket_merges, check_brackets
from theano_impl.support.checks import check_choice, check_count, check_flag, check_seed
from theano_impl.support.greedy_tree import (
    check_vectors,
    greedy_merges,
    replayed,
    with_companion,
)
from theano_impl.support.layer import Layer
from theano_impl.support.linear import make_linear
from theano_impl.support.reduction import reduced

ACTIVATIONS = {
    "linear": lambda x: x,
    "tanh": T.tanh,
    "sigmoid": T.nnet.sigmoid,
    "relu": lambda x: T.switch(x <= 0, T.zeros_like(x), x),  # T.nnet.relu: gradient ½ at zero
}
PAIRS = ("all", "adjacent")


class Tree(NamedTuple):
    """A binary tree: nodes 0..n−1 are the leaves, the t-th merge makes node n+t, the last the root.

    merges: (n−1, 2) int64, the left and the right child of each inner node.
    embeddings: (2n−1, dim) and scores: (2n−1,), of all nodes.

    Of a batch all have one axis more in front. Each sequence has its own tree, in which its t-th
    merge makes node length+t: behind the root nodes repeat the root, and merges are −1.
    """

    merges: TensorVariable
    embeddings: TensorVariable
    scores: TensorVariable

    @property
    def loss(self) -> TensorVariable:
        """The score of the root; of a batch the scores of the roots, (batch,)."""
        return self.scores[..., -1]

    def reduced_loss(self, reduction: str = "mean") -> TensorVariable:
        """The losses of a batch as one number.

        Args:
            reduction: mean, sum or none.
        Returns:
            A scalar; with reduction none the losses of the sequences, (batch,).
        Raises:
            ValueError: another reduction.
        Example:
            >>> import theano
            >>> vectors = T.zeros((3, 5, 2), theano.config.floatX)
            >>> RecursiveAutoencoder(vectors, 2, seed=1).output.reduced_loss().eval().item()
            0.0
        """
        return reduced(self.loss, reduction)


class RecursiveAutoencoder(Layer):
    """Vectors to the `Tree` over them, `.output`: at most (n−1)² pairs are scored, in n batches.

    With brackets `.output` is the tree that they describe. Gradients hold the choice of merges
    fixed. Scores that differ by rounding alone are tied, and the first of tied pairs is merged; NaN
    is merged last. The tree of a sequence of a batch is the one that it has alone. Padding is never
    read, and has gradient 0.

    Args:
        vectors: (n, dim), or a batch of sequences, (batch, n, dim); n at least 1.
        dim: the width of a vector.
        activation: f, one of linear, tanh, sigmoid and relu.
        pairs: the pairs that may be merged, all or adjacent.
        unit_norm: whether parents are scaled to length 1.
        weight_by_leaves: whether the errors of children are weighted by their numbers of leaves.
        brackets: (n−1, 2) integers, the first and the last leaf of every inner node of a binary
            tree, in any order; (batch, n−1, 2) of a batch. Nodes of fewer leaves are merged first,
            then from the left.
        lengths: (batch,) integers in 1..n, the numbers of leaves of a batch; all n when None.
        seed: of the initial weights.
    Raises:
        TypeError: another dtype than the weights', lengths that are no integers.
        AssertionError: when it runs, no vectors, another width than dim, no binary tree, or lengths
            that do not fit.
    Example:
        >>> import theano
        >>> vectors = T.eye(2, dtype=theano.config.floatX)
        >>> RecursiveAutoencoder(vectors, 2, seed=1).output.merges.eval().tolist()
        [[0, 1]]
    """

    def __init__(
        self,
        vectors: TensorVariable,
        dim: int,
        *,
        activation: str = "linear",
        pairs: str = "all",
        unit_norm: bool = False,
        weight_by_leaves: bool = False,
        brackets: TensorVariable | None = None,
        lengths: TensorVariable | None = None,
        seed: int | None = None,
    ) -> None:
        dim = check_count("dim", dim)
        check_choice("activation", activation, tuple(ACTIVATIONS))
        check_choice("pairs", pairs, PAIRS)
        rng = np.random.default_rng(check_seed("seed", seed))
        unit_norm = check_flag("unit_norm", unit_norm)
        weight_by_leaves = check_flag("weight_by_leaves", weight_by_leaves)
        config = {
            "dim": dim,
            "activation": activation,
            "pairs": pairs,
            "unit_norm": unit_norm,
            "weight_by_leaves": weight_by_leaves,
        }
        super().__init__(vectors, config=config)
        self.dim, self.activation, self.pairs = dim, activation, pairs
        self.unit_norm, self.weight_by_leaves = unit_norm, weight_by_leaves
        self.encoder = make_linear(self, "encoder", 2 * dim, dim, rng=rng)
        self.decoder = make_linear(self, "decoder", dim, 2 * dim, rng=rng)

        vectors = check_vectors(vectors, dim, self.encoder.weight.dtype)
        if tree_batches.is_batch(vectors, lengths):
            self.output = self._trees(*tree_batches.as_sequences(vectors, lengths), brackets)
            return
        n, leaves = vectors.shape[0], with_companion(vectors)
        # There is no fast file: PyTorch's saves eager operations, and a compiled function has none.
        if brackets is None:
            adjacent = pairs == "adjacent"
            merges = greedy_merges(disconnected_grad(leaves), self._merge, adjacent=adjacent)
        else:
            brackets = check_brackets(T.as_tensor_variable(brackets), n)
            companion = T.concatenate([brackets, np.array([[0, 1]])])[: T.maximum(n, 2) - 1]
            merges = bracket_merges(companion)
        # Each score is the error of `_merge` and the scores of both children.
        embeddings, scores = replayed(leaves, merges, self._merge)
        self.output = Tree(merges[: n - 1], embeddings[: 2 * n - 1], scores[: 2 * n - 1])

    def _trees(
        self,
        vectors: TensorVariable,
        lengths: TensorVariable,
        brackets: TensorVariable | None,
    ) -> Tree:
        n = vectors.shape[1]
        leaves, counts = tree_batches.with_companions(vectors, lengths)
        if brackets is not None:
            brackets = T.as_tensor_variable(brackets)
            brackets = tree_batches.check_brackets(brackets, lengths, n)
            spans = tree_batches.with_companion_brackets(brackets, lengths)
            merges = tree_batches.bracket_merges(spans, counts)
        else:
            adjacent = self.pairs == "adjacent"
            searched = disconnected_grad(leaves)
            merges = tree_batches.greedy_merges(searched, counts, self._merge, adjacent=adjacent)
        embeddings, scores = tree_batches.replayed(leaves, counts, merges, self._merge)
        rows = tree_batches.rows_of(tree_batches.all_nodes(lengths, n), counts, leaves.shape[1])
        merges = tree_batches.cut(merges, lengths, n)
        return Tree(merges, embeddings[rows], scores[rows])

    def _merge(
        self, left: TensorVariable, right: TensorVariable, leaves: TensorVariable
    ) -> tuple[TensorVariable, TensorVariable]:
        """Parents (..., dim) of children (..., dim), and their reconstruction errors (...).

        leaves: (..., 2), the numbers of leaves of the children.
        """
        children = T.concatenate([left, right], axis=left.ndim - 1)  # (..., 2·dim)
        parents = ACTIVATIONS[self.activation](self.encoder(children))
        parents = l2_normalize(parents) if self.unit_norm else parents
        errors = children - self.decoder(parents)
        if not self.weight_by_leaves:
            return parents, T.sum(errors**2, axis=-1) / np.asarray(2, errors.dtype)
        shares = leaves / T.sum(leaves, axis=-1, keepdims=True)  # (..., 2)
        sides = errors[..., : self.dim], errors[..., self.dim :]
        left, right = (T.sum(side**2, axis=-1) for side in sides)
        return parents, shares[..., 0] * left + shares[..., 1] * right

    @staticmethod
    def symbolic_inputs(dtype: str) -> list[TensorVariable]:
        return [T.TensorType(dtype, (False, False))("vectors")]
