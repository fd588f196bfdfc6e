"""A tree over a sequence of vectors, grown by merging the neighbours that score best.

    parent    p = tanh([relu(l·Wl + bl); relu(r·Wr + br)]·Wp + bp)
    score     p·ws + bs; a leaf's is 0

Greedy: of all adjacent pairs that with the highest score becomes one node, until one is left.
Trained on a labelled bracketing: it is followed, its own pair with the highest score first, and
at each merge that pair must outscore the best of those that are not in the bracketing:

    hinge = max(0, 1 + score of the best wrong pair − score of the merge)

Where no hinge is left, the greedy search finds the bracketing by itself. A margin other than 1
would only scale ws.

Sources: Socher et al. 2011 (parsing natural scenes and natural language with recursive neural
networks); seed topic, recursive neural networks.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from tf2_impl.support.checks import (
    check_count,
    check_dtype,
    check_floating,
    check_integers,
    check_not_empty,
    check_seed,
    check_values,
    check_width,
)
from tf2_impl.support.initializers import GlorotUniform
from tf2_impl.support.layer import Layer
from tf2_impl.support.linear import make_linear
from tf2_impl.support.precision import in_compute_dtype, project, widened
from tf2_impl.support.ties import first_minimum, machine_epsilon

TIED = 64  # so many roundings apart, two scores are equal


class Tree(NamedTuple):
    """The leaves are the nodes 0..n−1; the t-th merge makes node n+t, the last one the root.

    merges: (n−1, 2) int64, each node's children, the left one first. brackets: (n−1, 2) int64,
    the first and the last leaf of each merge. embeddings: (2n−1, dim) and scores: (2n−1,), of
    all nodes.
    """

    merges: tf.Tensor
    brackets: tf.Tensor
    embeddings: tf.Tensor
    scores: tf.Tensor


class LabelledTree(NamedTuple):
    """The tree of a labelled bracketing, as in `Tree`; hinges: (n−1,), of its merges.

    A merge has no hinge, 0, where every other adjacent pair is in the bracketing too.
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
    """Vectors to the `Tree` over them: at most 3n adjacent pairs are scored, in n batches."""

    def __init__(self, dim: int, hidden: int, *, seed: int | None = None, **kwargs: Any) -> None:
        super().__init__(autocast=False, **kwargs)
        self.supports_jit = False  # XLA wants sizes that are known beforehand
        dim = check_count("dim", dim)
        hidden = check_count("hidden", hidden)
        seed = check_seed("seed", seed)
        self.config = {"dim": dim, "hidden": hidden}
        self.dim = dim
        start = {"glorot": GlorotUniform(seed), "dtype": self.dtype_policy}
        self.left = make_linear(dim, hidden, name="left", **start)
        self.right = make_linear(dim, hidden, name="right", **start)
        self.parent = make_linear(2 * hidden, dim, name="parent", **start)
        self.score = make_linear(dim, 1, name="score", **start)

    @in_compute_dtype
    def call(self, vectors: tf.Tensor, brackets: tf.Tensor | None = None) -> Tree | LabelledTree:
        """vectors: (n, dim), n at least 1. Scores that differ by rounding alone are tied.

        brackets: (n−1, 2) integers, the first and the last leaf of every node of a binary tree,
        in any order: that tree is followed, and its `loss` trains the scores. Of tied pairs the
        first is merged, and of tied wrong pairs the first is the best; NaN is merged last, and
        makes a hinge NaN. All is differentiable, with the tree as it is. TypeError for another
        dtype than the weights', ValueError for no vectors, a wrong width or no binary tree.
        """
        check_floating("vectors", vectors, ndim=2)
        check_dtype("vectors", vectors, self.compute_dtype)
        check_not_empty("vectors", vectors)
        check_width("vectors", vectors, self.dim)
        vectors = tf.ensure_shape(vectors, (None, self.dim))
        n = tf.shape(vectors, out_type=tf.int64)[0]
        allowed = tf.ones((n, n), tf.bool)
        if brackets is not None:
            brackets = _check_brackets(brackets, n)
            allowed = tf.scatter_nd(brackets, tf.ones_like(brackets[:, 0]), (n, n)) > 0
        # The search scores what it will not merge and needs no gradient: the merges are done anew.
        # It compares, so it is never in half precision.
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

    # A graph of its own, so that eager callers do not pay for every step of the loop.
    @tf.function(reduce_retracing=True, autograph=False)
    def _search(
        self, vectors: tf.Tensor, allowed: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """The merges, their first and last leaves, and the best wrong pair at each, (n−1, 2) all.

        allowed: (n, n), whether a merge from this leaf to that one is right. Where no pair is
        wrong, the merge stands in the place of its rival.
        """
        n = tf.shape(vectors, out_type=tf.int64)[0]
        infinity = tf.constant(math.inf, vectors.dtype)
        largest = tf.constant(vectors.dtype.max / 2, vectors.dtype)
        tolerance = self._rounding_error()
        nodes = tf.concat([vectors, tf.zeros_like(vectors[1:])], axis=0)
        # One pair for each place between two leaves, which closes when they are merged.
        places = tf.range(n - 1)
        left, right = places, places + 1
        costs = self._costs(tf.gather(nodes, left), tf.gather(nodes, right))
        rows = {"size": tf.cast(n - 1, tf.int32), "element_shape": (2,)}
        merges, spans, rivals = (tf.TensorArray(tf.int64, **rows) for _ in range(3))

        def merge(t, nodes, left, right, first, last, costs, merges, spans, rivals):
            node, step = n + t, tf.cast(t, tf.int32)
            wrong = ~tf.gather_nd(allowed, tf.stack([first, last], axis=1))
            nan = tf.math.is_nan(costs)
            ranked = tf.where(wrong, infinity, tf.where(nan, largest, costs))
            place = first_minimum(ranked, tolerance)
            ranked = tf.where(wrong, tf.where(nan, -infinity, costs), infinity)
            rival = first_minimum(ranked, tolerance)
            rival = tf.where(tf.reduce_min(ranked) < infinity, rival, place)
            pair = tf.stack([left[place], right[place]])
            span = tf.stack([first[place], last[place]])
            merges, spans = merges.write(step, pair), spans.write(step, span)
            rivals = rivals.write(step, tf.stack([left[rival], right[rival]]))
            parent = self._parents(nodes[None, pair[0]], nodes[None, pair[1]])
            nodes = tf.tensor_scatter_nd_update(nodes, [[node]], parent)
            before, behind = right == pair[0], left == pair[1]
            right, last = tf.where(before, node, right), tf.where(before, span[1], last)
            left, first = tf.where(behind, node, left), tf.where(behind, span[0], first)
            costs = tf.where(places == place, infinity, costs)
            new = tf.where(before | behind)
            pairs = tf.gather_nd(left, new), tf.gather_nd(right, new)
            found = self._costs(*(tf.gather(nodes, ends) for ends in pairs))
            costs = tf.tensor_scatter_nd_update(costs, new, found)
            return t + 1, nodes, left, right, first, last, costs, merges, spans, rivals

        start = (tf.constant(0, tf.int64), nodes, left, right, left, right, costs)
        *_, merges, spans, rivals = tf.while_loop(
            lambda t, *_: t < n - 1, merge, (*start, merges, spans, rivals)
        )
        return merges.stack(), spans.stack(), rivals.stack()

    @tf.function(reduce_retracing=True, autograph=False)
    def _replay(self, vectors: tf.Tensor, merges: tf.Tensor) -> tf.Tensor:
        n = tf.shape(vectors)[0]
        merges = tf.cast(merges, tf.int32)
        embeddings = tf.TensorArray(
            vectors.dtype, size=2 * n - 1, clear_after_read=False, element_shape=(self.dim,)
        ).scatter(tf.range(n), vectors)

        def merge(t, embeddings):
            left, right = embeddings.read(merges[t, 0]), embeddings.read(merges[t, 1])
            return t + 1, embeddings.write(n + t, self._parents(left[None], right[None])[0])

        _, embeddings = tf.while_loop(lambda t, _: t < n - 1, merge, (0, embeddings))
        return embeddings.stack()

    def _parents(self, left: tf.Tensor, right: tf.Tensor) -> tf.Tensor:
        children = [_relu(project(self.left, left)), _relu(project(self.right, right))]
        return tf.tanh(project(self.parent, tf.concat(children, axis=-1)))

    def _scores(self, parents: tf.Tensor) -> tf.Tensor:
        return widened(project(self.score, parents)[:, 0])

    def _costs(self, left: tf.Tensor, right: tf.Tensor) -> tf.Tensor:
        """The negative scores of pairs; below infinity, which stands for a place that is closed."""
        costs = -self._scores(self._parents(left, right))
        return tf.where(costs > costs.dtype.max / 2, costs.dtype.max / 2, costs)

    def _rounding_error(self) -> tf.Tensor:
        """The difference below which two scores count as equal: parents are within ±1."""
        weights = self.score.kernel, self.score.bias
        size = sum(tf.reduce_sum(tf.abs(widened(tf.convert_to_tensor(one)))) for one in weights)
        finite = tf.where(tf.math.is_finite(size), size, tf.zeros_like(size))
        return TIED * machine_epsilon(finite.dtype) * finite


def _relu(x: tf.Tensor) -> tf.Tensor:
    """max(x, 0). Graphs fuse tf.nn.relu with a float32 Dense, and so fused it turns NaN to 0."""
    return tf.where(x <= 0, tf.zeros_like(x), x)


def _check_brackets(brackets: tf.Tensor, n: tf.Tensor) -> tf.Tensor:
    """The n − 1 spans of a binary tree: distinct, of two leaves or more, none crossing another."""
    check_integers("brackets", brackets, ndim=2)
    brackets = tf.cast(brackets, tf.int64)
    shape = tf.shape(brackets, out_type=tf.int64)
    fits = tf.reduce_all(shape == tf.stack([n - 1, 2]))
    asserted = check_values(fits, "brackets", "two leaves for each merge, (n−1, 2)", shape)
    # A graph goes on beside its assertion: it must be told to wait.
    with tf.control_dependencies([] if asserted is None else [asserted]):
        brackets = tf.ensure_shape(tf.identity(brackets), (None, 2))
    first, last = brackets[:, 0], brackets[:, 1]
    inside = tf.reduce_all((first >= 0) & (first < last) & (last < n))
    crossing = (first[:, None] < first) & (first <= last[:, None]) & (last[:, None] < last)
    same = (first[:, None] == first) & (last[:, None] == last)
    distinct = tf.math.count_nonzero(same) == n - 1
    ok = inside & distinct & ~tf.reduce_any(crossing)
    asserted = check_values(ok, "brackets", "those of a binary tree", brackets)
    with tf.control_dependencies([] if asserted is None else [asserted]):
        return tf.identity(brackets)
