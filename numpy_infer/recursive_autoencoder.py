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

from typing import NamedTuple

import numpy as np

from numpy_infer.layers.activations import ReLU, Sigmoid, Tanh
from numpy_infer.support.checks import (
    check_choice,
    check_dtype,
    check_floating,
    check_like,
    check_not_empty,
    check_width,
)
from numpy_infer.support.layer import Layer

ACTIVATIONS = {
    "linear": lambda x: x,
    "tanh": Tanh().forward,
    "sigmoid": Sigmoid().forward,
    "relu": ReLU().forward,
}
PAIRS = ("all", "adjacent")
TIED = 64  # so many roundings apart, two scores are equal


class Tree(NamedTuple):
    """The leaves are the nodes 0..n−1; the t-th merge makes node n+t, the last one the root.

    merges: (n−1, 2) int64, each node's children, the left one first. embeddings: (2n−1, dim)
    and scores: (2n−1,), of all nodes.
    """

    merges: np.ndarray
    embeddings: np.ndarray
    scores: np.ndarray

    @property
    def loss(self) -> np.ndarray:
        """The root's score."""
        return self.scores[-1]


class RecursiveAutoencoder(Layer):
    """Vectors to the `Tree` over them: at most (n−1)² pairs are scored, in n batches.

    encoder_weight: (2·dim, dim), encoder_bias: (dim,), decoder_weight: (dim, 2·dim),
    decoder_bias: (2·dim,). activation: linear, tanh, sigmoid or relu. pairs: all or adjacent.
    """

    def __init__(
        self,
        previous: Layer,
        encoder_weight: np.ndarray,
        encoder_bias: np.ndarray,
        decoder_weight: np.ndarray,
        decoder_bias: np.ndarray,
        *,
        activation: str = "linear",
        pairs: str = "all",
    ) -> None:
        super().__init__(previous)
        check_floating("encoder_weight", encoder_weight, ndim=2)
        check_width("encoder_weight", encoder_weight.T, 2 * encoder_weight.shape[1])
        check_like("encoder_bias", encoder_bias, "a row of encoder_weight", encoder_weight[0])
        check_like("decoder_weight", decoder_weight, "encoder_weight.T", encoder_weight.T)
        check_like("decoder_bias", decoder_bias, "a row of decoder_weight", decoder_weight[0])
        check_choice("activation", activation, tuple(ACTIVATIONS))
        check_choice("pairs", pairs, PAIRS)
        self.encoder_weight = encoder_weight
        self.encoder_bias = encoder_bias
        self.decoder_weight = decoder_weight
        self.decoder_bias = decoder_bias
        self.activation = activation
        self.pairs = pairs

    @staticmethod
    def array_shapes(
        dim: int, activation: str = "linear", pairs: str = "all"
    ) -> dict[str, tuple[int, ...]]:
        """The arrays of a model file, for the configuration that the frameworks share."""
        return {
            "encoder.weight": (2 * dim, dim),
            "encoder.bias": (dim,),
            "decoder.weight": (dim, 2 * dim),
            "decoder.bias": (2 * dim,),
        }

    def forward(self, vectors: np.ndarray) -> Tree:
        """vectors: (n, dim), n at least 1. Scores that differ by rounding alone are tied.

        Of tied pairs the first is merged; NaN is merged last. TypeError for another dtype than
        the weights', ValueError for no vectors or a wrong width.
        """
        check_floating("vectors", vectors, ndim=2)
        check_dtype("vectors", vectors, self.encoder_weight.dtype)
        check_not_empty("vectors", vectors)
        check_width("vectors", vectors, self.encoder_weight.shape[1])
        merges, embeddings = self._search(vectors)
        children = embeddings[merges].reshape(len(merges), 2 * vectors.shape[1])
        errors = self._errors(children, embeddings[len(vectors) :])
        scores = np.zeros(len(embeddings), vectors.dtype)
        for node, ((left, right), error) in enumerate(
            zip(merges, errors, strict=True), len(vectors)
        ):
            scores[node] = error + scores[left] + scores[right]
        return Tree(merges, embeddings, scores)

    def _search(self, vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The merges, and all embeddings: node i's parent takes its place, that of j is left."""
        n, dim = vectors.shape
        reach = 1 if self.pairs == "adjacent" else n
        nodes, scores = self._nodes(vectors), np.zeros(n, vectors.dtype)
        ids, places = list(range(n)), np.arange(n)
        size = _size(vectors)
        costs = np.full((n, n), np.inf, vectors.dtype)  # of the pairs i < j that may be merged
        gap = places - places[:, None]
        lower, upper = np.nonzero((gap > 0) & (gap <= reach))
        costs[lower, upper] = self._pair_scores(nodes, scores, lower, upper)
        merges = np.empty((n - 1, 2), np.int64)
        embeddings = np.concatenate([vectors, np.empty((n - 1, dim), vectors.dtype)])
        for node in range(n, 2 * n - 1):
            best = costs.min()
            tied = costs <= best + _rounding_error(best, size)
            i, j = divmod(int(tied.argmax()), n)
            merges[node - n] = ids[i], ids[j]
            embeddings[node] = parent = self._parents(nodes[i], nodes[j])
            nodes[i], scores[i], ids[i] = self._nodes(parent), costs[i, j], node
            costs[j], costs[:, j] = np.inf, np.inf
            places = places[places != j]
            partners = _partners(places, i, reach)
            lower, upper = np.minimum(partners, i), np.maximum(partners, i)
            costs[lower, upper] = self._pair_scores(nodes, scores, lower, upper)
        return merges, embeddings

    def _nodes(self, embeddings: np.ndarray) -> np.ndarray:
        """(..., 3·dim): their products with the encoder as left and as right child, and they.

        What a pair brings to its parent is then a sum, and no product for each pair.
        """
        left, right = np.split(self.encoder_weight, 2)
        shares = embeddings @ left + self.encoder_bias, embeddings @ right
        return np.concatenate([*shares, embeddings], axis=-1)

    def _pair_scores(
        self, nodes: np.ndarray, scores: np.ndarray, i: np.ndarray, j: np.ndarray
    ) -> np.ndarray:
        """The scores that the parents of nodes i and j would have, for arrays of places."""
        left, right = nodes[i], nodes[j]
        start = 2 * len(self.encoder_bias)
        children = np.concatenate([left[:, start:], right[:, start:]], axis=1)
        found = self._errors(children, self._parents(left, right)) + scores[i] + scores[j]
        largest = np.finfo(found.dtype).max / 2  # NaN and infinity come last, but they come
        return np.where(found < largest, found, largest)

    def _parents(self, left: np.ndarray, right: np.ndarray) -> np.ndarray:
        """Of rows of `_nodes`."""
        dim = len(self.encoder_bias)
        return ACTIVATIONS[self.activation](left[..., :dim] + right[..., dim : 2 * dim])

    def _errors(self, children: np.ndarray, parents: np.ndarray) -> np.ndarray:
        difference = children - (parents @ self.decoder_weight + self.decoder_bias)
        return (difference * difference).sum(axis=-1) / 2


def _size(vectors: np.ndarray) -> np.ndarray:
    """The length of the longest vector, those without a finite one left out."""
    squares = (vectors * vectors).sum(axis=1)
    return np.sqrt(squares[np.isfinite(squares)].max(initial=0))


def _rounding_error(best: np.ndarray, size: np.ndarray) -> np.ndarray:
    """How far above the best score an equal one may lie.

    A score is half the square of a difference whose entries are rounded by the vectors' size:
    near a perfect reconstruction that is far more than a rounding of the score itself.
    """
    unit = TIED * np.finfo(best.dtype).eps
    return unit * (best + np.sqrt(best) * size + unit * size * size)


def _partners(places: np.ndarray, place: int, reach: int) -> np.ndarray:
    """The other living places, in order, that are at most so many living places away."""
    rank = int(places.searchsorted(place))
    return np.concatenate(
        [places[max(0, rank - reach) : rank], places[rank + 1 : rank + 1 + reach]]
    )
