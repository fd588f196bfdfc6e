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

import numpy as np
import theano.tensor as T
from theano.gradient import disconnected_grad
from theano.tensor.var import TensorVariable

from theano_impl.support import tree_batches
from theano_impl.support.bracketing import (
    adjacent_merges,
    allowed_spans,
    check_brackets,
    replayed,
)
from theano_impl.support.checks import check_count, check_seed
from theano_impl.support.greedy_tree import check_vectors, with_companion
from theano_impl.support.layer import Layer
from theano_impl.support.linear import make_linear
from theano_impl.support.reduction import reduced


class Tree(NamedTuple):
    """A binary tree: nodes 0..n−1 are the leaves, the t-th merge makes node n+t, the last the root.

    merges: (n−1, 2) int64, the left and the right child of each inner node.
    brackets: (n−1, 2) int64, the first and the last leaf of each inner node.
    embeddings: (2n−1, dim) and scores: (2n−1,), of all nodes.

    Of a batch all have one axis more in front. Each sequence has its own tree, in which its t-th
    merge makes node length+t: behind the root nodes repeat it, and merges and brackets are −1.
    """

    merges: TensorVariable
    brackets: TensorVariable
    embeddings: TensorVariable
    scores: TensorVariable


class LabelledTree(NamedTuple):
    """The tree of a labelled bracketing, as in `Tree`, and hinges: (n−1,), of its merges.

    The hinge is 0 where every other adjacent pair is in the bracketing too, and behind a root.
    """

    merges: TensorVariable
    embeddings: TensorVariable
    scores: TensorVariable
    hinges: TensorVariable

    @property
    def loss(self) -> TensorVariable:
        """The mean of the hinges, 0 for a single leaf; of a batch those of the trees, (batch,)."""
        merged = T.sum(T.ge(self.merges[..., 0], 0), axis=-1)
        return T.sum(self.hinges, axis=-1) / T.cast(T.maximum(merged, 1), self.hinges.dtype)

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
            >>> vectors = T.zeros((3, 2, 5), theano.config.floatX)
            >>> brackets = T.constant(np.array([[[0, 1]]] * 3))
            >>> trees = NeuralGrammar(vectors, 5, 7, brackets=brackets, seed=1).output
            >>> trees.reduced_loss().eval().item()
            0.0
        """
        return reduced(self.loss, reduction)


class NeuralGrammar(Layer):
    """Vectors to the `Tree` over them, `.output`: at most 3n pairs are scored, in n batches.

    With brackets `.output` is a `LabelledTree`, whose loss trains the scores. Gradients hold the
    choice of merges fixed. Scores that differ by rounding alone are tied: the first of tied pairs
    is merged, the first of tied wrong pairs is the best. NaN is merged last, and makes a hinge NaN.
    The tree of a sequence of a batch is the one that it has alone. Padding is never read, and has
    gradient 0.

    Args:
        vectors: (n, dim), or a batch of sequences, (batch, n, dim); n at least 1.
        dim: the width of a vector.
        hidden: the width of a projected child.
        brackets: (n−1, 2) integers, the first and the last leaf of every inner node of a binary
            tree, in any order; (batch, n−1, 2) of a batch.
        lengths: (batch,) integers in 1..n, the numbers of leaves of a batch; all n when None.
        seed: of the initial weights.
    Raises:
        TypeError: another dtype than the weights', lengths that are no integers.
        AssertionError: when it runs, no vectors, another width than dim, no binary tree, or lengths
            that do not fit.
    Example:
        >>> import theano
        >>> vectors = T.eye(2, dtype=theano.config.floatX)
        >>> NeuralGrammar(vectors, 2, 3, seed=1).output.brackets.eval().tolist()
        [[0, 1]]
    """

    def __init__(
        self,
        vectors: TensorVariable,
        dim: int,
        hidden: int,
        *,
        brackets: TensorVariable | None = None,
        lengths: TensorVariable | None = None,
        seed: int | None = None,
    ) -> None:
        dim = check_count("dim", dim)
        hidden = check_count("hidden", hidden)
        rng = np.random.default_rng(check_seed("seed", seed))
        super().__init__(vectors, config={"dim": dim, "hidden": hidden})
        self.dim = dim
        self.left = make_linear(self, "left", dim, hidden, rng=rng)
        self.right = make_linear(self, "right", dim, hidden, rng=rng)
        self.parent = make_linear(self, "parent", 2 * hidden, dim, rng=rng)
        self.score = make_linear(self, "score", dim, 1, rng=rng)

        vectors = check_vectors(vectors, dim, self.left.weight.dtype)
        self.output: Tree | LabelledTree
        if tree_batches.is_batch(vectors, lengths):
            self.output = self._trees(*tree_batches.as_sequences(vectors, lengths), brackets)
            return
        n, leaves = vectors.shape[0], with_companion(vectors)
        size = leaves.shape[0]
        if brackets is not None:
            brackets = check_brackets(T.as_tensor_variable(brackets), n)
        allowed = allowed_spans(brackets, size)
        # The search also scores pairs that it does not merge, and needs no gradient: the merges
        # are computed again under differentiation.
        merges, spans, rivals = adjacent_merges(
            disconnected_grad(leaves), allowed, self._parents, self._scores, self.score
        )
        embeddings = replayed(leaves, merges, self._parents)
        inner = self._scores(embeddings[size:])
        scores = T.concatenate([T.zeros_like(leaves[:, 0]), inner])[: 2 * n - 1]
        found = merges[: n - 1], embeddings[: 2 * n - 1]
        if brackets is None:
            self.output = Tree(found[0], spans[: n - 1], found[1], scores)
            return
        wrong = self._scores(self._parents(embeddings[rivals[:, 0]], embeddings[rivals[:, 1]]))
        hinges = _hinges(wrong, inner, T.any(T.neq(rivals, merges), axis=1))
        self.output = LabelledTree(*found, scores, hinges[: n - 1])

    def _trees(
        self,
        vectors: TensorVariable,
        lengths: TensorVariable,
        brackets: TensorVariable | None,
    ) -> Tree | LabelledTree:
        n = vectors.shape[1]
        leaves, counts = tree_batches.with_companions(vectors, lengths)
        size = leaves.shape[1]
        if brackets is not None:
            brackets = T.as_tensor_variable(brackets)
            brackets = tree_batches.check_brackets(brackets, lengths, n)
        allowed = tree_batches.allowed_spans(brackets, lengths, size)
        functions = self._parents, self._scores, self.score
        found = tree_batches.adjacent_merges(disconnected_grad(leaves), counts, allowed, *functions)
        embeddings = tree_batches.replayed_parents(leaves, lengths, counts, found, self._parents, n)
        scores = tree_batches.scores_of_all(embeddings, lengths, self._scores)  # (batch, 2n−1)
        found = tree_batches.cut(found, lengths, n)
        merges, spans, rivals = found[..., :2], found[..., 2:4], found[..., 4:]
        if brackets is None:
            return Tree(merges, spans, embeddings, scores)
        contested = T.any(T.neq(rivals, merges), axis=2)
        left, right = tree_batches.children_of(rivals, embeddings, contested)
        wrong = self._scores(self._parents(left, right)).reshape(contested.shape)
        hinges = _hinges(wrong, tree_batches.of_merges(scores, lengths), contested)
        return LabelledTree(merges, embeddings, scores, hinges)

    def _parents(self, left: TensorVariable, right: TensorVariable) -> TensorVariable:
        left, right = _relu(self.left(left)), _relu(self.right(right))
        children = T.concatenate([left, right], axis=left.ndim - 1)
        return T.tanh(self.parent(children))

    def _scores(self, parents: TensorVariable) -> TensorVariable:
        return self.score(parents)[:, 0]

    @staticmethod
    def symbolic_inputs(dtype: str) -> list[TensorVariable]:
        return [T.matrix("vectors", dtype=dtype)]


def _hinges(
    wrong: TensorVariable, merged: TensorVariable, contested: TensorVariable
) -> TensorVariable:
    """How far the scores of the best wrong pairs come within the margin of the merges'."""
    violation = np.asarray(1, wrong.dtype) + wrong - merged
    idle = T.eq(contested, 0) | (violation <= 0)
    return T.switch(idle, T.zeros_like(violation), violation)


def _relu(x: TensorVariable) -> TensorVariable:
    return T.switch(x <= 0, T.zeros_like(x), x)  # T.nnet.relu: gradient ½ at zero
