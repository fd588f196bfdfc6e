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
from typing import NamedTuple

import numpy as np
import theano
import theano.tensor as T
from theano.gradient import disconnected_grad
from theano.tensor.var import TensorVariable

from theano_impl.support.checks import (
    check_choice,
    check_count,
    check_dtype,
    check_floating,
    check_not_empty,
    check_seed,
    check_width,
)
from theano_impl.support.layer import Layer
from theano_impl.support.linear import make_linear
from theano_impl.support.ties import first_minimum, machine_epsilon

ACTIVATIONS = {
    "linear": lambda x: x,
    "tanh": T.tanh,
    "sigmoid": T.nnet.sigmoid,
    "relu": lambda x: T.switch(x <= 0, T.zeros_like(x), x),  # T.nnet.relu: gradient ½ at zero
}
PAIRS = ("all", "adjacent")
TIED = 64  # so many roundings apart, two scores are equal


class Tree(NamedTuple):
    """The leaves are the nodes 0..n−1; the t-th merge makes node n+t, the last one the root.

    merges: (n−1, 2) int64, each node's children, the left one first. embeddings: (2n−1, dim)
    and scores: (2n−1,), of all nodes.
    """

    merges: TensorVariable
    embeddings: TensorVariable
    scores: TensorVariable

    @property
    def loss(self) -> TensorVariable:
        """The root's score."""
        return self.scores[-1]


class RecursiveAutoencoder(Layer):
    """Vectors to the `Tree` over them, `.output`: at most (n−1)² pairs are scored, in n batches.

    vectors: (n, dim), n at least 1. activation: linear, tanh, sigmoid or relu. pairs: all or
    adjacent. Scores that differ by rounding alone are tied: of tied pairs the first is merged;
    NaN is merged last. Embeddings and scores are differentiable, with the tree as it is.
    TypeError for another dtype than the weights'; AssertionError, when it runs, for no vectors
    or a wrong width.
    """

    def __init__(
        self,
        vectors: TensorVariable,
        dim: int,
        *,
        activation: str = "linear",
        pairs: str = "all",
        seed: int | None = None,
    ) -> None:
        dim = check_count("dim", dim)
        check_choice("activation", activation, tuple(ACTIVATIONS))
        check_choice("pairs", pairs, PAIRS)
        seed = check_seed("seed", seed)
        super().__init__(vectors, config={"dim": dim, "activation": activation, "pairs": pairs})
        self.dim = dim
        self.activation = activation
        self.pairs = pairs
        rng = np.random.default_rng(seed)
        self.encoder = make_linear(self, "encoder", 2 * dim, dim, rng=rng)
        self.decoder = make_linear(self, "decoder", dim, 2 * dim, rng=rng)

        check_floating("vectors", vectors, ndim=2)
        check_dtype("vectors", vectors, self.encoder.weight.dtype)
        vectors = check_not_empty("vectors", vectors)
        vectors = check_width("vectors", vectors, dim)
        # Scan refuses to run no step at all: a single vector gets a companion, cut off again.
        n = vectors.shape[0]
        leaves = T.zeros((T.maximum(n, 2), dim), vectors.dtype)
        leaves = T.set_subtensor(leaves[:n], vectors)
        # The search tries n² pairs and needs no gradient: the n − 1 merges are done once more.
        merges = self._search(disconnected_grad(leaves))
        embeddings, scores = self._replay(leaves, merges)
        self.output = Tree(merges[: n - 1], embeddings[: 2 * n - 1], scores[: 2 * n - 1])

    def _search(self, vectors: TensorVariable) -> TensorVariable:
        """The merges: node i's parent takes its place, the place of node j is left empty."""
        n = vectors.shape[0]
        reach = T.constant(1, dtype="int64") if self.pairs == "adjacent" else n
        infinity = np.asarray(math.inf, vectors.dtype)
        ids = T.arange(n)
        alive = T.ones_like(ids, dtype="bool")
        scores = T.zeros_like(vectors[:, 0])
        size = _size(vectors)
        costs = T.alloc(infinity, n, n)  # of the pairs i < j that may be merged
        gap = ids - ids[:, None]
        lower, upper = T.nonzero((gap > 0) & (gap <= reach))
        found = self._pair_scores(vectors, scores, lower, upper)
        costs = T.set_subtensor(costs[lower, upper], found)

        def merge(node, nodes, scores, ids, alive, costs):
            flat = costs.flatten()
            best = first_minimum(flat, _rounding_error(T.min(flat), size))
            i, j = best // n, best % n
            pair = T.stack([ids[i], ids[j]])
            parent = self._parents(T.concatenate([nodes[i], nodes[j]]))
            nodes = T.set_subtensor(nodes[i], parent)
            scores = T.set_subtensor(scores[i], costs[i, j])
            ids = T.set_subtensor(ids[i], node)
            alive = T.set_subtensor(alive[j], np.False_)
            costs = T.switch(alive[:, None] & alive, costs, infinity)
            partners = _partners(alive, i, reach)
            lower, upper = T.minimum(partners, i), T.maximum(partners, i)
            found = self._pair_scores(nodes, scores, lower, upper)
            costs = T.set_subtensor(costs[lower, upper], found)
            return pair, nodes, scores, ids, alive, costs

        (merges, *_), _ = theano.scan(
            merge,
            sequences=T.arange(n, 2 * n - 1),
            outputs_info=[None, vectors, scores, ids, alive, costs],
        )
        return merges

    def _replay(
        self, vectors: TensorVariable, merges: TensorVariable
    ) -> tuple[TensorVariable, TensorVariable]:
        n = vectors.shape[0]
        embeddings = T.zeros((2 * n - 1, self.dim), vectors.dtype)
        embeddings = T.set_subtensor(embeddings[:n], vectors)
        scores = T.zeros_like(embeddings[:, 0])

        def merge(pair, node, embeddings, scores):
            left, right = pair[0], pair[1]
            children = T.concatenate([embeddings[left], embeddings[right]])
            parent = self._parents(children)
            score = self._errors(children, parent) + scores[left] + scores[right]
            embeddings = T.set_subtensor(embeddings[node], parent)
            return embeddings, T.set_subtensor(scores[node], score)

        (embeddings, scores), _ = theano.scan(
            merge,
            sequences=[merges, T.arange(n, 2 * n - 1)],
            outputs_info=[embeddings, scores],
            n_steps=n - 1,
        )
        return embeddings[-1], scores[-1]

    def _pair_scores(
        self, nodes: TensorVariable, scores: TensorVariable, i: TensorVariable, j: TensorVariable
    ) -> TensorVariable:
        """The scores that the parents of nodes i and j would have, for vectors of places."""
        children = T.concatenate([nodes[i], nodes[j]], axis=1)
        found = self._errors(children, self._parents(children)) + scores[i] + scores[j]
        # NaN and infinity come last, but they come.
        largest = np.asarray(np.finfo(found.dtype).max / 2, found.dtype)
        return T.switch(found < largest, found, largest)

    def _parents(self, children: TensorVariable) -> TensorVariable:
        return ACTIVATIONS[self.activation](self.encoder(children))

    def _errors(self, children: TensorVariable, parents: TensorVariable) -> TensorVariable:
        difference = children - self.decoder(parents)
        return T.sum(difference**2, axis=-1) / np.asarray(2, difference.dtype)

    @staticmethod
    def symbolic_inputs(dtype: str) -> list[TensorVariable]:
        return [T.TensorType(dtype, (False, False))("vectors")]


def _size(vectors: TensorVariable) -> TensorVariable:
    """The length of the longest vector, those without a finite one left out."""
    squares = T.sum(vectors**2, axis=1)
    unusable = T.isnan(squares) | T.isinf(squares)
    return T.sqrt(T.max(T.switch(unusable, T.zeros_like(squares), squares)))


def _rounding_error(best: TensorVariable, size: TensorVariable) -> TensorVariable:
    """How far above the best score an equal one may lie.

    A score is half the square of a difference whose entries are rounded by the vectors' size:
    near a perfect reconstruction that is far more than a rounding of the score itself.
    """
    unit = machine_epsilon(best.dtype, times=TIED)
    return unit * (best + T.sqrt(best) * size + unit * size**2)


def _partners(
    alive: TensorVariable, place: TensorVariable, reach: TensorVariable
) -> TensorVariable:
    """The other living places that are at most so many living places away."""
    rank = T.cumsum(T.cast(alive, "int64"))
    away = abs(rank - rank[place])
    # Theano's C code refuses a product of no rows: the last node is a partner of its own.
    other = (away > 0) | T.eq(rank[-1], 1)
    return T.nonzero(alive & other & (away <= reach))[0]
