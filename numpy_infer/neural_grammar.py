"""A tree over a sequence of vectors, grown by merging the neighbours that score best.

    parent    p = tanh([relu(l·Wl + bl); relu(r·Wr + br)]·Wp + bp)
    score     p·ws + bs; a leaf's is 0

Greedy: of all adjacent pairs that with the highest score becomes one node, until one is left.

Sources: Socher et al. 2011 (parsing natural scenes and natural language with recursive neural
networks); seed topic, recursive neural networks.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from numpy_infer.support.checks import (
    check_dtype,
    check_floating,
    check_not_empty,
    check_shape,
    check_width,
)
from numpy_infer.support.layer import Layer
from numpy_infer.support.ties import first_minimum

TIED = 64  # so many roundings apart, two scores are equal


class Tree(NamedTuple):
    """The leaves are the nodes 0..n−1; the t-th merge makes node n+t, the last one the root.

    merges: (n−1, 2) int64, each node's children, the left one first. brackets: (n−1, 2) int64,
    the first and the last leaf of each merge. embeddings: (2n−1, dim) and scores: (2n−1,), of
    all nodes.
    """

    merges: np.ndarray
    brackets: np.ndarray
    embeddings: np.ndarray
    scores: np.ndarray


class NeuralGrammar(Layer):
    """Vectors to the `Tree` over them: at most 3n adjacent pairs are scored, in n batches.

    left_weight, right_weight: (dim, hidden), left_bias, right_bias: (hidden,), parent_weight:
    (2·hidden, dim), parent_bias: (dim,), score_weight: (dim, 1), score_bias: (1,).
    """

    def __init__(
        self,
        previous: Layer,
        left_weight: np.ndarray,
        left_bias: np.ndarray,
        right_weight: np.ndarray,
        right_bias: np.ndarray,
        parent_weight: np.ndarray,
        parent_bias: np.ndarray,
        score_weight: np.ndarray,
        score_bias: np.ndarray,
    ) -> None:
        super().__init__(previous)
        check_floating("left_weight", left_weight, ndim=2)
        dim, hidden = left_weight.shape
        shapes = {
            "left_bias": (left_bias, (hidden,)),
            "right_weight": (right_weight, (dim, hidden)),
            "right_bias": (right_bias, (hidden,)),
            "parent_weight": (parent_weight, (2 * hidden, dim)),
            "parent_bias": (parent_bias, (dim,)),
            "score_weight": (score_weight, (dim, 1)),
            "score_bias": (score_bias, (1,)),
        }
        for name, (array, shape) in shapes.items():
            check_floating(name, array)
            check_dtype(name, array, left_weight.dtype)
            check_shape(name, array, shape)
        self.left_weight = left_weight
        self.left_bias = left_bias
        self.right_weight = right_weight
        self.right_bias = right_bias
        self.parent_weight = parent_weight
        self.parent_bias = parent_bias
        self.score_weight = score_weight
        self.score_bias = score_bias

    @staticmethod
    def array_shapes(dim: int, hidden: int) -> dict[str, tuple[int, ...]]:
        """The arrays of a model file, for the configuration that the frameworks share."""
        return {
            "left.weight": (dim, hidden),
            "left.bias": (hidden,),
            "right.weight": (dim, hidden),
            "right.bias": (hidden,),
            "parent.weight": (2 * hidden, dim),
            "parent.bias": (dim,),
            "score.weight": (dim, 1),
            "score.bias": (1,),
        }

    def forward(self, vectors: np.ndarray) -> Tree:
        """vectors: (n, dim), n at least 1. Scores that differ by rounding alone are tied.

        Of tied pairs the first is merged; NaN is merged last. TypeError for another dtype than
        the weights', ValueError for no vectors or a wrong width.
        """
        check_floating("vectors", vectors, ndim=2)
        check_dtype("vectors", vectors, self.left_weight.dtype)
        check_not_empty("vectors", vectors)
        check_width("vectors", vectors, self.left_weight.shape[0])
        n, dim = vectors.shape
        nodes = np.concatenate([vectors, np.empty((n - 1, dim), vectors.dtype)])
        # One pair for each place between two leaves, which closes when they are merged.
        left = np.arange(n - 1)
        right = left + 1
        first, last = left.copy(), right.copy()
        costs = self._costs(nodes[left], nodes[right])
        tolerance = self._rounding_error()
        merges, brackets = np.empty((2, n - 1, 2), np.int64)
        for t in range(n - 1):
            node = n + t
            place = first_minimum(costs, tolerance)
            merges[t] = left[place], right[place]
            brackets[t] = first[place], last[place]
            nodes[node] = self._parents(nodes[left[place]], nodes[right[place]])
            costs[place] = np.inf
            before, behind = right == merges[t, 0], left == merges[t, 1]
            right[before], last[before] = node, brackets[t, 1]
            left[behind], first[behind] = node, brackets[t, 0]
            new = np.flatnonzero(before | behind)
            costs[new] = self._costs(nodes[left[new]], nodes[right[new]])
        scores = np.zeros(2 * n - 1, vectors.dtype)
        scores[n:] = self._scores(nodes[n:])
        return Tree(merges, brackets, nodes, scores)

    def _parents(self, left: np.ndarray, right: np.ndarray) -> np.ndarray:
        left = np.maximum(left @ self.left_weight + self.left_bias, 0)
        right = np.maximum(right @ self.right_weight + self.right_bias, 0)
        children = np.concatenate([left, right], axis=-1)
        return np.tanh(children @ self.parent_weight + self.parent_bias)

    def _scores(self, parents: np.ndarray) -> np.ndarray:
        return (parents @ self.score_weight + self.score_bias)[..., 0]

    def _costs(self, left: np.ndarray, right: np.ndarray) -> np.ndarray:
        """The negative scores of pairs; below infinity, which stands for a place that is closed."""
        costs = -self._scores(self._parents(left, right))
        largest = np.finfo(costs.dtype).max / 2
        return np.where(costs < largest, costs, largest)

    def _rounding_error(self) -> np.ndarray:
        """The difference below which two scores count as equal: parents are within ±1."""
        size = np.abs(self.score_weight).sum() + np.abs(self.score_bias).sum()
        return TIED * np.finfo(size.dtype).eps * (size if np.isfinite(size) else 0)
