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

from typing import Any, NamedTuple

import keras
import tensorflow as tf

from tf2_impl.support import tree_batches
from tf2_impl.support.bracketing import (
    adjacent_merges,
    allowed_spans,
    check_brackets,
    replayed,
)
from tf2_impl.support.checks import check_count, check_seed
from tf2_impl.support.greedy_tree import check_vectors
from tf2_impl.support.initializers import GlorotUniform
from tf2_impl.support.layer import Layer
from tf2_impl.support.linear import make_linear
from tf2_impl.support.precision import in_compute_dtype, project, widened
from tf2_impl.support.reduction import reduced


class Tree(NamedTuple):
    """A binary tree: nodes 0..n−1 are the leaves, the t-th merge makes node n+t, the last the root.

    merges: (n−1, 2) int64, the left and the right child of each inner node.
    brackets: (n−1, 2) int64, the first and the last leaf of each inner node.
    embeddings: (2n−1, dim) and scores: (2n−1,), of all nodes.

    Of a batch all have one axis more in front. Each sequence has its own tree, in which its t-th
    merge makes node length+t: behind the root nodes repeat it, and merges and brackets are −1.
    """

    merges: tf.Tensor
    brackets: tf.Tensor
    embeddings: tf.Tensor
    scores: tf.Tensor


class LabelledTree(NamedTuple):
    """The tree of a labelled bracketing, as in `Tree`, and hinges: (n−1,), of its merges.

    The hinge is 0 where every other adjacent pair is in the bracketing too, and behind a root.
    """

    merges: tf.Tensor
    embeddings: tf.Tensor
    scores: tf.Tensor
    hinges: tf.Tensor

    @property
    def loss(self) -> tf.Tensor:
        """The mean of the hinges, 0 for a single leaf; of a batch those of the trees, (batch,)."""
        merged = tf.math.count_nonzero(self.merges[..., 0] >= 0, axis=-1)
        return tf.math.divide_no_nan(
            tf.reduce_sum(self.hinges, axis=-1), tf.cast(merged, self.hinges.dtype)
        )

    def reduced_loss(self, reduction: str = "mean") -> tf.Tensor:
        """The losses of a batch as one number.

        Args:
            reduction: mean, sum or none.
        Returns:
            A scalar; with reduction none the losses of the sequences, (batch,).
        Raises:
            ValueError: another reduction.
        Example:
            >>> vectors, brackets = tf.zeros((3, 2, 5)), tf.constant([[[0, 1]]] * 3)
            >>> NeuralGrammar(5, 7, seed=1)(vectors, brackets).reduced_loss().numpy().item()
            0.0
        """
        return reduced(self.loss, reduction)


@keras.saving.register_keras_serializable("fourfold")
class NeuralGrammar(Layer):
    """Vectors to the `Tree` over them: at most 3n adjacent pairs are scored, in n batches.

    Args:
        dim: the width of a vector.
        hidden: the width of a projected child.
        seed: of the initial weights.
    Example:
        >>> NeuralGrammar(2, 3, seed=1)(tf.eye(2)).brackets.numpy().tolist()
        [[0, 1]]
    """

    def __init__(self, dim: int, hidden: int, *, seed: int | None = None, **kwargs: Any) -> None:
        super().__init__(autocast=False, **kwargs)
        self.supports_jit = False  # XLA needs sizes that are known beforehand
        self.dim = dim = check_count("dim", dim)
        hidden = check_count("hidden", hidden)
        self.config = {"dim": dim, "hidden": hidden}
        start = {"glorot": GlorotUniform(check_seed("seed", seed)), "dtype": self.dtype_policy}
        self.left = make_linear(dim, hidden, name="left", **start)
        self.right = make_linear(dim, hidden, name="right", **start)
        self.parent = make_linear(2 * hidden, dim, name="parent", **start)
        self.score = make_linear(dim, 1, name="score", **start)

    @in_compute_dtype
    def call(
        self,
        vectors: tf.Tensor,
        brackets: tf.Tensor | None = None,
        lengths: tf.Tensor | None = None,
    ) -> Tree | LabelledTree:
        """The greedy tree over vectors, or the tree that brackets describe, whose loss trains.

        Gradients hold the choice of merges fixed. Scores that differ by rounding alone are tied:
        the first of tied pairs is merged, the first of tied wrong pairs is the best. NaN is merged
        last, and makes a hinge NaN.
        The tree of a sequence of a batch is the one that it has alone. Padding is never read, and
        has gradient 0.

        Args:
            vectors: (n, dim), or a batch of sequences, (batch, n, dim); n at least 1.
            brackets: (n−1, 2) integers, the first and the last leaf of every inner node of a binary
                tree, in any order; (batch, n−1, 2) of a batch.
            lengths: (batch,) integers in 1..n, the numbers of leaves of a batch; all n when None.
        Raises:
            TypeError: another dtype than the weights', lengths that are no integers.
            ValueError: no vectors, another width than dim, no binary tree, or lengths that do not
                fit.
        """
        vectors = check_vectors(vectors, self.dim, self.compute_dtype)
        if tree_batches.is_batch(vectors, lengths):
            return self._trees(*tree_batches.as_sequences(vectors, lengths), brackets)
        n = tf.shape(vectors, out_type=tf.int64)[0]
        if brackets is not None:
            brackets = check_brackets(brackets, n)
        allowed = allowed_spans(brackets, n)
        # The search also scores pairs that it does not merge, and needs no gradient: the merges
        # are computed again under differentiation.
        merges, spans, rivals = self._search(tf.stop_gradient(widened(vectors)), allowed)
        embeddings = self._replay(vectors, merges)
        inner = self._scores(embeddings[n:])
        scores = tf.concat([tf.zeros((n,), inner.dtype), inner], axis=0)
        if brackets is None:
            return Tree(merges, spans, embeddings, scores)
        left, right = tf.gather(embeddings, rivals[:, 0]), tf.gather(embeddings, rivals[:, 1])
        wrong = self._scores(self._parents(left, right))
        hinges = _hinges(wrong, inner, tf.reduce_any(rivals != merges, axis=1))
        return LabelledTree(merges, embeddings, scores, hinges)

    def _trees(
        self, vectors: tf.Tensor, lengths: tf.Tensor, brackets: tf.Tensor | None
    ) -> Tree | LabelledTree:
        n = tf.shape(vectors, out_type=tf.int64)[1]
        if brackets is not None:
            brackets = tree_batches.check_brackets(brackets, lengths, n)
        allowed = tree_batches.allowed_spans(brackets, lengths, n)
        searched = tf.stop_gradient(widened(vectors))
        merges, spans, rivals = tf.unstack(self._search_batch(searched, lengths, allowed))
        embeddings = self._replay_batch(vectors, lengths, merges)  # (batch, 2n−1, dim)
        scores = tree_batches.scores_of_all(embeddings, lengths, self._scores)  # (batch, 2n−1)
        if brackets is None:
            return Tree(merges, spans, embeddings, scores)
        contested = tf.reduce_any(rivals != merges, axis=2)
        left, right = tree_batches.children_of(rivals, embeddings, contested)
        wrong = tf.reshape(self._scores(self._parents(left, right)), tf.shape(contested))
        hinges = _hinges(wrong, tree_batches.of_merges(scores, lengths), contested)
        return LabelledTree(merges, embeddings, scores, hinges)

    # Each is a graph of its own, so that eager callers do not pay for every step of the loop.
    @tf.function(reduce_retracing=True, autograph=False)
    def _search(
        self, vectors: tf.Tensor, allowed: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        return adjacent_merges(vectors, allowed, self._parents, self._scores, self.score)

    @tf.function(reduce_retracing=True, autograph=False)
    def _replay(self, vectors: tf.Tensor, merges: tf.Tensor) -> tf.Tensor:
        return replayed(vectors, merges, self._parents)

    @tf.function(reduce_retracing=True, autograph=False)
    def _search_batch(
        self, vectors: tf.Tensor, lengths: tf.Tensor, allowed: tf.Tensor
    ) -> tf.Tensor:
        functions = self._parents, self._scores, self.score
        return tree_batches.adjacent_merges(vectors, lengths, allowed, *functions)

    @tf.function(reduce_retracing=True, autograph=False)
    def _replay_batch(self, vectors: tf.Tensor, lengths: tf.Tensor, merges: tf.Tensor) -> tf.Tensor:
        return tree_batches.replayed_parents(vectors, lengths, merges, self._parents)

    def _parents(self, left: tf.Tensor, right: tf.Tensor) -> tf.Tensor:
        children = [_relu(project(self.left, left)), _relu(project(self.right, right))]
        return tf.tanh(project(self.parent, tf.concat(children, axis=-1)))

    def _scores(self, parents: tf.Tensor) -> tf.Tensor:
        return widened(project(self.score, parents)[:, 0])


def _hinges(wrong: tf.Tensor, merged: tf.Tensor, contested: tf.Tensor) -> tf.Tensor:
    """How far the scores of the best wrong pairs come within the margin of the merges'."""
    violation = 1 + wrong - merged
    return tf.where(contested, tf.nn.relu(violation), tf.zeros_like(violation))


def _relu(x: tf.Tensor) -> tf.Tensor:
    """max(x, 0). Graphs fuse tf.nn.relu with a float32 Dense, and so fused it turns NaN to 0."""
    return tf.where(x <= 0, tf.zeros_like(x), x)
