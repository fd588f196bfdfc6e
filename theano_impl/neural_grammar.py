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
from typing import NamedTuple

import numpy as np
import theano
import theano.tensor as T
from theano.gradient import disconnected_grad
from theano.tensor.var import TensorVariable

from theano_impl.support.checks import (
    check_count,
    check_dtype,
    check_floating,
    check_integers,
    check_not_empty,
    check_seed,
    check_values,
    check_width,
)
from theano_impl.support.layer import Layer
from theano_impl.support.linear import make_linear
from theano_impl.support.ties import first_minimum, machine_epsilon

TIED = 64  # so many roundings apart, two scores are equal


class Tree(NamedTuple):
    """The leaves are the nodes 0..n−1; the t-th merge makes node n+t, the last one the root.

    merges: (n−1, 2) int64, each node's children, the left one first. brackets: (n−1, 2) int64,
    the first and the last leaf of each merge. embeddings: (2n−1, dim) and scores: (2n−1,), of
    all nodes.
    """

    merges: TensorVariable
    brackets: TensorVariable
    embeddings: TensorVariable
    scores: TensorVariable


class LabelledTree(NamedTuple):
    """The tree of a labelled bracketing, as in `Tree`; hinges: (n−1,), of its merges.

    A merge has no hinge, 0, where every other adjacent pair is in the bracketing too.
    """

    merges: TensorVariable
    embeddings: TensorVariable
    scores: TensorVariable
    hinges: TensorVariable

    @property
    def loss(self) -> TensorVariable:
        """The mean of the hinges; 0 for a single leaf."""
        count = T.cast(T.maximum(self.hinges.size, 1), self.hinges.dtype)
        return T.sum(self.hinges) / count


class NeuralGrammar(Layer):
    """Vectors to the `Tree` over them, `.output`: 3n pairs are scored at most, in n batches.

    vectors: (n, dim), n at least 1. Scores that differ by rounding alone are tied.

    brackets: (n−1, 2) integers, the first and the last leaf of every node of a binary tree, in
    any order: that tree is followed, `.output` is a `LabelledTree`, and its `loss` trains the
    scores. Of tied pairs the first is merged, and of tied wrong pairs the first is the best; NaN
    is merged last, and makes a hinge NaN. All is differentiable, with the tree as it is.
    TypeError for another dtype than the weights'; AssertionError, when it runs, for no vectors, a
    wrong width or no binary tree.
    """

    def __init__(
        self,
        vectors: TensorVariable,
        dim: int,
        hidden: int,
        *,
        brackets: TensorVariable | None = None,
        seed: int | None = None,
    ) -> None:
        dim = check_count("dim", dim)
        hidden = check_count("hidden", hidden)
        seed = check_seed("seed", seed)
        super().__init__(vectors, config={"dim": dim, "hidden": hidden})
        self.dim = dim
        rng = np.random.default_rng(seed)
        self.left = make_linear(self, "left", dim, hidden, rng=rng)
        self.right = make_linear(self, "right", dim, hidden, rng=rng)
        self.parent = make_linear(self, "parent", 2 * hidden, dim, rng=rng)
        self.score = make_linear(self, "score", dim, 1, rng=rng)

        check_floating("vectors", vectors, ndim=2)
        check_dtype("vectors", vectors, self.left.weight.dtype)
        vectors = check_not_empty("vectors", vectors)
        vectors = check_width("vectors", vectors, dim)
        # Scan refuses to run no step at all: a single vector gets a companion, cut off again.
        n = vectors.shape[0]
        size = T.maximum(n, 2)
        leaves = T.set_subtensor(T.zeros((size, dim), vectors.dtype)[:n], vectors)
        allowed = T.ones((size, size), "bool")
        if brackets is not None:
            brackets = _check_brackets(T.as_tensor_variable(brackets), n)
            allowed = T.zeros((size, size), "bool")
            allowed = T.set_subtensor(allowed[brackets[:, 0], brackets[:, 1]], np.True_)
        # The search scores what it will not merge and needs no gradient: the merges are done anew.
        merges, spans, rivals = self._search(disconnected_grad(leaves), allowed)
        embeddings = self._replay(leaves, merges)
        inner = self._scores(embeddings[size:])
        scores = T.concatenate([T.zeros_like(leaves[:, 0]), inner])[: 2 * n - 1]
        found = merges[: n - 1], embeddings[: 2 * n - 1]
        self.output: Tree | LabelledTree
        if brackets is None:
            self.output = Tree(found[0], spans[: n - 1], found[1], scores)
            return
        wrong = self._scores(self._parents(embeddings[rivals[:, 0]], embeddings[rivals[:, 1]]))
        violation = np.asarray(1, wrong.dtype) + wrong - inner
        idle = T.all(T.eq(rivals, merges), axis=1) | (violation <= 0)
        hinges = T.switch(idle, T.zeros_like(violation), violation)
        self.output = LabelledTree(*found, scores, hinges[: n - 1])

    def _search(
        self, vectors: TensorVariable, allowed: TensorVariable
    ) -> tuple[TensorVariable, TensorVariable, TensorVariable]:
        """The merges, their first and last leaves, and the best wrong pair at each, (n−1, 2) all.

        allowed: (n, n), whether a merge from this leaf to that one is right. Where no pair is
        wrong, the merge stands in the place of its rival.
        """
        n = vectors.shape[0]
        infinity = np.asarray(math.inf, vectors.dtype)
        tolerance = self._rounding_error()
        nodes = T.set_subtensor(T.zeros((2 * n - 1, self.dim), vectors.dtype)[:n], vectors)
        # One pair for each place between two leaves, which closes when they are merged.
        places = T.arange(n - 1)
        costs = self._costs(vectors[:-1], vectors[1:])

        def merge(node, nodes, left, right, first, last, costs):
            wrong = T.eq(allowed[first, last], 0)
            nan = T.isnan(costs)
            ranked = T.switch(nan, _largest(costs), costs)
            place = first_minimum(T.switch(wrong, infinity, ranked), tolerance)
            ranked = T.switch(nan, -infinity, costs)
            ranked = T.switch(wrong, ranked, infinity)
            rival = T.switch(T.min(ranked) < infinity, first_minimum(ranked, tolerance), place)
            pair = T.stack([left[place], right[place]])
            span = T.stack([first[place], last[place]])
            other = T.stack([left[rival], right[rival]])
            parent = self._parents(nodes[pair[0]], nodes[pair[1]])
            nodes = T.set_subtensor(nodes[node], parent)
            before, behind = T.eq(right, pair[0]), T.eq(left, pair[1])
            right, last = T.switch(before, node, right), T.switch(before, span[1], last)
            left, first = T.switch(behind, node, left), T.switch(behind, span[0], first)
            # Theano's C code refuses a product of no rows: the pair that closes is scored too.
            new = T.nonzero(before | behind | T.eq(places, place))[0]
            found = self._costs(nodes[left[new]], nodes[right[new]])
            costs = T.set_subtensor(costs[new], found)
            costs = T.set_subtensor(costs[place], infinity)
            return pair, span, other, nodes, left, right, first, last, costs

        (merges, spans, rivals, *_), _ = theano.scan(
            merge,
            sequences=T.arange(n, 2 * n - 1),
            outputs_info=[None] * 3 + [nodes, places, places + 1, places, places + 1, costs],
        )
        return merges, spans, rivals

    def _replay(self, vectors: TensorVariable, merges: TensorVariable) -> TensorVariable:
        n = vectors.shape[0]
        nodes = T.set_subtensor(T.zeros((2 * n - 1, self.dim), vectors.dtype)[:n], vectors)

        def merge(pair, node, nodes):
            return T.set_subtensor(nodes[node], self._parents(nodes[pair[0]], nodes[pair[1]]))

        nodes, _ = theano.scan(
            merge,
            sequences=[merges, T.arange(n, 2 * n - 1)],
            outputs_info=nodes,
            n_steps=n - 1,
        )
        return nodes[-1]

    def _parents(self, left: TensorVariable, right: TensorVariable) -> TensorVariable:
        left, right = _relu(self.left(left)), _relu(self.right(right))
        children = T.concatenate([left, right], axis=left.ndim - 1)
        return T.tanh(self.parent(children))

    def _scores(self, parents: TensorVariable) -> TensorVariable:
        return self.score(parents)[:, 0]

    def _costs(self, left: TensorVariable, right: TensorVariable) -> TensorVariable:
        """The negative scores of pairs; below infinity, which stands for a place that is closed."""
        costs = -self._scores(self._parents(left, right))
        return T.switch(costs > _largest(costs), _largest(costs), costs)

    def _rounding_error(self) -> TensorVariable:
        """The difference below which two scores count as equal: parents are within ±1."""
        size = T.sum(abs(self.score.weight)) + T.sum(abs(self.score.bias))
        finite = T.switch(T.isnan(size) | T.isinf(size), T.zeros_like(size), size)
        return machine_epsilon(size.dtype, times=TIED) * finite

    @staticmethod
    def symbolic_inputs(dtype: str) -> list[TensorVariable]:
        return [T.matrix("vectors", dtype=dtype)]


def _relu(x: TensorVariable) -> TensorVariable:
    return T.switch(x <= 0, T.zeros_like(x), x)  # T.nnet.relu: gradient ½ at zero


def _largest(x: TensorVariable) -> np.ndarray:
    return np.asarray(np.finfo(x.dtype).max / 2, x.dtype)


def _check_brackets(brackets: TensorVariable, n: TensorVariable) -> TensorVariable:
    """The n − 1 spans of a binary tree: distinct, of two leaves or more, none crossing another."""
    check_integers("brackets", brackets, ndim=2)
    fits = T.eq(brackets.shape[0], n - 1) & T.eq(brackets.shape[1], 2)
    brackets = check_values(brackets, fits, "brackets", "two leaves for each merge, (n−1, 2)")
    first, last = brackets[:, 0], brackets[:, 1]
    inside = T.all((first >= 0) & (first < last) & (last < n))
    crossing = (first[:, None] < first) & (first <= last[:, None]) & (last[:, None] < last)
    same = T.eq(first[:, None], first) & T.eq(last[:, None], last)
    ok = inside & T.eq(T.sum(same), n - 1) & T.eq(T.sum(crossing), 0)
    return check_values(brackets, ok, "brackets", "those of a binary tree")
