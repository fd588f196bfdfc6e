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

from tf2_impl.support.bracketing import adjacent_merges, check_brackets
from tf2_impl.support.checks import check_count, check_seed
from tf2_impl.support.greedy_tree import check_vectors
from tf2_impl.support.initializers import GlorotUniform
from tf2_impl.support.layer import Layer
from tf2_impl.support.linear import make_linear
from tf2_impl.support.precision import in_compute_dtype, project, widened


class Tree(NamedTuple):
    """A binary tree: nodes 0..n−1 are the leaves, the t-th merge makes node n+t, the last the root.

    merges: (n−1, 2) int64, the left and the right child of each inner node.
    brackets: (n−1, 2) int64, the first and the last leaf of each inner node.
    embeddings: (2n−1, dim) and scores: (2n−1,), of all nodes.
    """

    merges: tf.Tensor
    brackets: tf.Tensor
    embeddings: tf.Tensor
    scores: tf.Tensor


class LabelledTree(NamedTuple):
    """The tree of a labelled bracketing, as in `Tree`, and hinges: (n−1,), of its merges.

    The hinge is 0 where every other adjacent pair is in the bracketing too.
    """

    merges: tf.Tensor
    embeddings: tf.Tensor
    scores: tf.Tensor
    hinges: tf.Tensor

    @property
    def loss(self) -> tf.Tensor:
        """The mean of the hinges; 0 for a single leaf."""
        return tf.math.divide_no_nan(
            tf.reduce_sum(self.hinges), tf.cast(tf.size(self.hinges), self.hinges.dtype)
        )


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
    def call(self, vectors: tf.Tensor, brackets: tf.Tensor | None = None) -> Tree | LabelledTree:
        """The greedy tree over vectors, or the tree that brackets describe, whose loss trains.

        Gradients hold the choice of merges fixed. Scores that differ by rounding alone are tied:
        the first of tied pairs is merged, the first of tied wrong pairs is the best. NaN is merged
        last, and makes a hinge NaN.

        Args:
            vectors: (n, dim), n at least 1.
            brackets: (n−1, 2) integers, the first and the last leaf of every inner node of a binary
                tree, in any order.
        Raises:
            TypeError: another dtype than the weights'.
            ValueError: no vectors, another width than dim, or no binary tree.
        """
        vectors = check_vectors(vectors, self.dim, self.compute_dtype)
        n = tf.shape(vectors, out_type=tf.int64)[0]
        allowed = tf.ones((n, n), tf.bool)
        if brackets is not None:
            brackets = check_brackets(brackets, n)
            allowed = tf.scatter_nd(brackets, tf.ones_like(brackets[:, 0]), (n, n)) > 0
        # The search also scores pairs that it does not merge, and needs no gradient: the merges
        # are computed again under differentiation.
        merges, spans, rivals = self._search(tf.stop_gradient(widened(vectors)), allowed)
        embeddings = self._replay(vectors, merges)
        inner = self._scores(embeddings[n:])
        scores = tf.concat([tf.zeros((n,), inner.dtype), inner], axis=0)
        if brackets is None:
            return Tree(merges, spans, embeddings, scores)
        left, right = tf.gather(embeddings, rivals[:, 0]), tf.gather(embeddings, rivals[:, 1])
        violation = 1 + self._scores(self._parents(left, right)) - inner
        contested = tf.reduce_any(rivals != merges, axis=1)
        hinges = tf.where(contested, tf.nn.relu(violation), tf.zeros_like(violation))
        return LabelledTree(merges, embeddings, scores, hinges)

    # Each is a graph of its own, so that eager callers do not pay for every step of the loop.
    @tf.function(reduce_retracing=True, autograph=False)
    def _search(
        self, vectors: tf.Tensor, allowed: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        return adjacent_merges(vectors, allowed, self._parents, self._scores, self.score)

    @tf.function(reduce_retracing=True, autograph=False)
    def _replay(self, vectors: tf.Tensor, merges: tf.Tensor) -> tf.Tensor:
        n = tf.shape(vectors)[0]
        merges = tf.cast(merges, tf.int32)
        embeddings = tf.TensorArray(
            vectors.dtype, size=2 * n - 1, clear_after_read=False, element_shape=(self.dim,)
        ).scatter(tf.range(n), vectors)

        def step(t, embeddings):
            left, right = embeddings.read(merges[t, 0]), embeddings.read(merges[t, 1])
            return t + 1, embeddings.write(n + t, self._parents(left[None], right[None])[0])

        _, embeddings = tf.while_loop(lambda t, _: t < n - 1, step, (0, embeddings))
        return embeddings.stack()

    def _parents(self, left: tf.Tensor, right: tf.Tensor) -> tf.Tensor:
        children = [_relu(project(self.left, left)), _relu(project(self.right, right))]
        return tf.tanh(project(self.parent, tf.concat(children, axis=-1)))

    def _scores(self, parents: tf.Tensor) -> tf.Tensor:
        return widened(project(self.score, parents)[:, 0])


def _relu(x: tf.Tensor) -> tf.Tensor:
    """max(x, 0). Graphs fuse tf.nn.relu with a float32 Dense, and so fused it turns NaN to 0."""
    return tf.where(x <= 0, tf.zeros_like(x), x)
