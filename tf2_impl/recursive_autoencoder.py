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
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from tf2_impl.support.checks import (
    check_choice,
    check_count,
    check_dtype,
    check_floating,
    check_not_empty,
    check_seed,
    check_width,
)
from tf2_impl.support.initializers import GlorotUniform
from tf2_impl.support.layer import Layer
from tf2_impl.support.linear import make_linear
from tf2_impl.support.precision import in_compute_dtype, project, single, widened
from tf2_impl.support.ties import first_minimum, machine_epsilon

ACTIVATIONS = {
    "linear": lambda x: x,
    "tanh": tf.tanh,
    "sigmoid": tf.sigmoid,
    "relu": tf.nn.relu,
}
PAIRS = ("all", "adjacent")
TIED = 64  # so many roundings apart, two scores are equal


class Tree(NamedTuple):
    """The leaves are the nodes 0..n−1; the t-th merge makes node n+t, the last one the root.

    merges: (n−1, 2) int64, each node's children, the left one first. embeddings: (2n−1, dim)
    and scores: (2n−1,), of all nodes.
    """

    merges: tf.Tensor
    embeddings: tf.Tensor
    scores: tf.Tensor

    @property
    def loss(self) -> tf.Tensor:
        """The root's score."""
        return self.scores[-1]


@keras.saving.register_keras_serializable("fourfold")
class RecursiveAutoencoder(Layer):
    """Vectors to the `Tree` over them: at most (n−1)² pairs are scored, in n batches.

    activation: linear, tanh, sigmoid or relu. pairs: all or adjacent.
    """

    def __init__(
        self,
        dim: int,
        *,
        activation: str = "linear",
        pairs: str = "all",
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(autocast=False, **kwargs)
        self.supports_jit = False  # XLA wants sizes that are known beforehand
        dim = check_count("dim", dim)
        check_choice("activation", activation, tuple(ACTIVATIONS))
        check_choice("pairs", pairs, PAIRS)
        seed = check_seed("seed", seed)
        self.config = {"dim": dim, "activation": activation, "pairs": pairs}
        self.dim = dim
        self.activation = activation
        self.pairs = pairs
        start = {"glorot": GlorotUniform(seed), "dtype": self.dtype_policy}
        self.encoder = make_linear(2 * dim, dim, name="encoder", **start)
        self.decoder = make_linear(dim, 2 * dim, name="decoder", **start)

    @in_compute_dtype
    def call(self, vectors: tf.Tensor) -> Tree:
        """vectors: (n, dim), n at least 1. Scores that differ by rounding alone are tied.

        Of tied pairs the first is merged; NaN is merged last. Embeddings and scores are
        differentiable, with the tree as it is. TypeError for another dtype than the weights',
        ValueError for no vectors or a wrong width.
        """
        check_floating("vectors", vectors, ndim=2)
        check_dtype("vectors", vectors, self.compute_dtype)
        check_not_empty("vectors", vectors)
        check_width("vectors", vectors, self.dim)
        vectors = tf.ensure_shape(vectors, (None, self.dim))
        # The search tries n² pairs and needs no gradient: the n − 1 merges are done once more.
        # It compares, so it is never in half precision.
        merges = self._search(tf.stop_gradient(widened(vectors)))
        return Tree(merges, *self._replay(vectors, merges))

    # A graph of its own, so that eager callers do not pay for every step of the loop.
    @tf.function(reduce_retracing=True, autograph=False)
    def _search(self, vectors: tf.Tensor) -> tf.Tensor:
        """The merges: node i's parent takes its place, the place of node j is left empty."""
        n = tf.shape(vectors, out_type=tf.int64)[0]
        reach = tf.constant(1, tf.int64) if self.pairs == "adjacent" else n
        infinity = tf.constant(math.inf, vectors.dtype)
        ids = tf.range(n)
        alive = tf.ones_like(ids, tf.bool)
        scores = tf.zeros_like(vectors[:, 0])
        size = _size(vectors)
        costs = tf.fill((n, n), infinity)  # of the pairs i < j that may be merged
        gap = ids - ids[:, None]
        pairs = tf.where((gap > 0) & (gap <= reach))
        found = self._pair_scores(vectors, scores, pairs[:, 0], pairs[:, 1])
        costs = tf.tensor_scatter_nd_update(costs, pairs, found)
        merges = tf.TensorArray(tf.int64, size=tf.cast(n - 1, tf.int32), element_shape=(2,))

        def merge(t, nodes, scores, ids, alive, costs, merges):
            flat = tf.reshape(costs, (-1,))
            best = first_minimum(flat, _rounding_error(tf.reduce_min(flat), size))
            i, j = best // n, best % n
            merges = merges.write(tf.cast(t, tf.int32), tf.gather(ids, [i, j]))
            parent = self._parents(tf.concat([nodes[i], nodes[j]], axis=0)[None])
            nodes = tf.tensor_scatter_nd_update(nodes, [[i]], parent)
            scores = tf.tensor_scatter_nd_update(scores, [[i]], [costs[i, j]])
            ids = tf.tensor_scatter_nd_update(ids, [[i]], [n + t])
            alive = tf.tensor_scatter_nd_update(alive, [[j]], [False])
            costs = tf.where(alive[:, None] & alive, costs, infinity)
            partners = _partners(alive, i, reach)
            lower, upper = tf.minimum(partners, i), tf.maximum(partners, i)
            found = self._pair_scores(nodes, scores, lower, upper)
            costs = tf.tensor_scatter_nd_update(costs, tf.stack([lower, upper], axis=1), found)
            return t + 1, nodes, scores, ids, alive, costs, merges

        start = (tf.constant(0, tf.int64), vectors, scores, ids, alive, costs, merges)
        *_, merges = tf.while_loop(lambda t, *_: t < n - 1, merge, start)
        return merges.stack()

    @tf.function(reduce_retracing=True, autograph=False)
    def _replay(self, vectors: tf.Tensor, merges: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        n = tf.shape(vectors)[0]
        leaves = tf.range(n)
        merges = tf.cast(merges, tf.int32)
        nodes = {"size": 2 * n - 1, "clear_after_read": False}
        embeddings = tf.TensorArray(vectors.dtype, **nodes, element_shape=(self.dim,))
        embeddings = embeddings.scatter(leaves, vectors)
        scores = tf.TensorArray(single(vectors.dtype), **nodes, element_shape=())
        scores = scores.scatter(leaves, widened(tf.zeros_like(vectors[:, 0])))

        def merge(t, embeddings, scores):
            left, right = merges[t, 0], merges[t, 1]
            children = tf.concat([embeddings.read(left), embeddings.read(right)], axis=0)[None]
            parents = self._parents(children)
            error = self._errors(children, parents)[0]
            scores = scores.write(n + t, error + scores.read(left) + scores.read(right))
            return t + 1, embeddings.write(n + t, parents[0]), scores

        start = (0, embeddings, scores)
        _, embeddings, scores = tf.while_loop(lambda t, *_: t < n - 1, merge, start)
        return embeddings.stack(), scores.stack()

    def _pair_scores(
        self, nodes: tf.Tensor, scores: tf.Tensor, i: tf.Tensor, j: tf.Tensor
    ) -> tf.Tensor:
        """The scores that the parents of nodes i and j would have, for vectors of places."""
        children = tf.concat([tf.gather(nodes, i), tf.gather(nodes, j)], axis=1)
        found = self._errors(children, self._parents(children))
        found += tf.gather(scores, i) + tf.gather(scores, j)
        largest = found.dtype.max / 2  # NaN and infinity come last, but they come
        return tf.where(found < largest, found, largest)

    def _parents(self, children: tf.Tensor) -> tf.Tensor:
        return ACTIVATIONS[self.activation](project(self.encoder, children))

    def _errors(self, children: tf.Tensor, parents: tf.Tensor) -> tf.Tensor:
        errors = widened(children - project(self.decoder, parents))
        return tf.reduce_sum(errors**2, axis=-1) / 2


def _size(vectors: tf.Tensor) -> tf.Tensor:
    """The length of the longest vector, those without a finite one left out."""
    squares = tf.reduce_sum(vectors**2, axis=1)
    finite = tf.where(tf.math.is_finite(squares), squares, tf.zeros_like(squares))
    return tf.sqrt(tf.reduce_max(finite))


def _rounding_error(best: tf.Tensor, size: tf.Tensor) -> tf.Tensor:
    """How far above the best score an equal one may lie.

    A score is half the square of a difference whose entries are rounded by the vectors' size:
    near a perfect reconstruction that is far more than a rounding of the score itself.
    """
    unit = TIED * machine_epsilon(best.dtype)
    return unit * (best + tf.sqrt(best) * size + unit * size**2)


def _partners(alive: tf.Tensor, place: tf.Tensor, reach: tf.Tensor) -> tf.Tensor:
    """The other living places that are at most so many living places away."""
    rank = tf.cumsum(tf.cast(alive, tf.int64))
    away = tf.abs(rank - rank[place])
    return tf.where(alive & (away > 0) & (away <= reach))[:, 0]
