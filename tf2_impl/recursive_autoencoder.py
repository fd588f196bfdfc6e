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

from typing import Any, NamedTuple

import keras
import tensorflow as tf

from tf2_impl.distances import l2_normalize
from tf2_impl.support import tree_batches
from tf2_impl.support.bracketing import bracket_merges, check_brackets
from tf2_impl.support.checks import check_choice, check_count, check_flag, check_seed
from tf2_impl.support.greedy_tree import check_vectors, greedy_merges, replayed
from tf2_impl.support.initializers import GlorotUniform
from tf2_impl.support.layer import Layer
from tf2_impl.support.linear import make_linear
from tf2_impl.support.precision import in_compute_dtype, project, widened
from tf2_impl.support.reduction import reduced

ACTIVATIONS = {
    "linear": lambda x: x,
    "tanh": tf.tanh,
    "sigmoid": tf.sigmoid,
    "relu": tf.nn.relu,
}
PAIRS = ("all", "adjacent")


class Tree(NamedTuple):
    """A binary tree: nodes 0..n−1 are the leaves, the t-th merge makes node n+t, the last the root.

    merges: (n−1, 2) int64, the left and the right child of each inner node.
    embeddings: (2n−1, dim) and scores: (2n−1,), of all nodes.

    Of a batch all have one axis more in front. Each sequence has its own tree, in which its t-th
    merge makes node length+t: behind the root nodes repeat the root, and merges are −1.
    """

    merges: tf.Tensor
    embeddings: tf.Tensor
    scores: tf.Tensor

    @property
    def loss(self) -> tf.Tensor:
        """The score of the root; of a batch the scores of the roots, (batch,)."""
        return self.scores[..., -1]

    def reduced_loss(self, reduction: str = "mean") -> tf.Tensor:
        """The losses of a batch as one number.

        Args:
            reduction: mean, sum or none.
        Returns:
            A scalar; with reduction none the losses of the sequences, (batch,).
        Raises:
            ValueError: another reduction.
        Example:
            >>> RecursiveAutoencoder(2, seed=1)(tf.zeros((3, 5, 2))).reduced_loss().numpy().item()
            0.0
        """
        return reduced(self.loss, reduction)


@keras.saving.register_keras_serializable("fourfold")
class RecursiveAutoencoder(Layer):
    """Vectors to the `Tree` over them: at most (n−1)² pairs are scored, in n batches.

    Args:
        dim: the width of a vector.
        activation: f, one of linear, tanh, sigmoid and relu.
        pairs: the pairs that may be merged, all or adjacent.
        unit_norm: whether parents are scaled to length 1.
        weight_by_leaves: whether the errors of children are weighted by their numbers of leaves.
        seed: of the initial weights.
    Example:
        >>> RecursiveAutoencoder(2, seed=1)(tf.eye(2)).merges.numpy().tolist()
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
        **kwargs: Any,
    ) -> None:
        super().__init__(autocast=False, **kwargs)
        self.supports_jit = False  # XLA needs sizes that are known beforehand
        self.dim = dim = check_count("dim", dim)
        self.activation, self.pairs = activation, pairs
        check_choice("activation", activation, tuple(ACTIVATIONS))
        check_choice("pairs", pairs, PAIRS)
        self.unit_norm = unit_norm = check_flag("unit_norm", unit_norm)
        self.weight_by_leaves = weight_by_leaves = check_flag("weight_by_leaves", weight_by_leaves)
        self.config = {
            "dim": dim,
            "activation": activation,
            "pairs": pairs,
            "unit_norm": unit_norm,
            "weight_by_leaves": weight_by_leaves,
        }
        start = {"glorot": GlorotUniform(check_seed("seed", seed)), "dtype": self.dtype_policy}
        self.encoder = make_linear(2 * dim, dim, name="encoder", **start)
        self.decoder = make_linear(dim, 2 * dim, name="decoder", **start)

    @in_compute_dtype
    def call(
        self,
        vectors: tf.Tensor,
        brackets: tf.Tensor | None = None,
        lengths: tf.Tensor | None = None,
    ) -> Tree:
        """The greedy tree over vectors, or the tree that brackets describe; of a batch all trees.

        Gradients hold the choice of merges fixed. Scores that differ by rounding alone are tied,
        and the first of tied pairs is merged; NaN is merged last. Under a policy of halves, scores
        are float32 and embeddings are halves.
        The tree of a sequence of a batch is the one that it has alone. Padding is never read, and
        has gradient 0.

        Args:
            vectors: (n, dim), or a batch of sequences, (batch, n, dim); n at least 1.
            brackets: (n−1, 2) integers, the first and the last leaf of every inner node of a binary
                tree, in any order; (batch, n−1, 2) of a batch. Nodes of fewer leaves are merged
                first, then from the left.
            lengths: (batch,) integers in 1..n, the numbers of leaves of a batch; all n when None.
        Raises:
            TypeError: another dtype than the weights', lengths that are no integers.
            ValueError: no vectors, another width than dim, no binary tree, or lengths that do not
                fit.
        """
        vectors = check_vectors(vectors, self.dim, self.compute_dtype)
        if tree_batches.is_batch(vectors, lengths):
            return self._trees(*tree_batches.as_sequences(vectors, lengths), brackets)
        if brackets is None:
            merges = self._search(tf.stop_gradient(widened(vectors)))
        else:
            n = tf.shape(vectors, out_type=tf.int64)[0]
            merges = bracket_merges(check_brackets(brackets, n))
        return Tree(merges, *self._replay(vectors, merges))

    def _trees(self, vectors: tf.Tensor, lengths: tf.Tensor, brackets: tf.Tensor | None) -> Tree:
        if brackets is not None:
            n = tf.shape(vectors, out_type=tf.int64)[1]
            brackets = tree_batches.check_brackets(brackets, lengths, n)
            merges = tree_batches.bracket_merges(brackets, lengths)
        else:
            merges = self._search_batch(tf.stop_gradient(widened(vectors)), lengths)
        return Tree(merges, *self._replay_batch(vectors, lengths, merges))

    # Each is a graph of its own, so that eager callers do not pay for every step of the loop.
    # There is no fast file: PyTorch's saves eager operations, and a graph has none.
    @tf.function(reduce_retracing=True, autograph=False)
    def _search(self, vectors: tf.Tensor) -> tf.Tensor:
        return greedy_merges(vectors, self._merge, adjacent=self.pairs == "adjacent")

    @tf.function(reduce_retracing=True, autograph=False)
    def _replay(self, vectors: tf.Tensor, merges: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        # Each score is the error of `_merge` and the scores of both children.
        return replayed(vectors, merges, self._merge)

    @tf.function(reduce_retracing=True, autograph=False)
    def _search_batch(self, vectors: tf.Tensor, lengths: tf.Tensor) -> tf.Tensor:
        adjacent = self.pairs == "adjacent"
        return tree_batches.greedy_merges(vectors, lengths, self._merge, adjacent=adjacent)

    @tf.function(reduce_retracing=True, autograph=False)
    def _replay_batch(
        self, vectors: tf.Tensor, lengths: tf.Tensor, merges: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        return tree_batches.replayed(vectors, lengths, merges, self._merge)

    def _merge(
        self, left: tf.Tensor, right: tf.Tensor, leaves: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Parents (k, dim) of children (k, dim), and their reconstruction errors (k,).

        leaves: (k, 2), the numbers of leaves of the children.
        """
        children = tf.concat([left, right], axis=1)  # (k, 2·dim)
        parents = ACTIVATIONS[self.activation](project(self.encoder, children))
        if self.unit_norm:
            parents = tf.cast(l2_normalize(parents), parents.dtype)
        errors = widened(children - project(self.decoder, parents))
        if not self.weight_by_leaves:
            return parents, tf.reduce_sum(errors**2, axis=1) / 2
        shares = leaves / tf.reduce_sum(leaves, axis=1, keepdims=True)  # (k, 2)
        squares = tf.reduce_sum(tf.reshape(errors**2, (-1, 2, self.dim)), axis=2)  # (k, 2)
        return parents, tf.reduce_sum(shares * squares, axis=1)
