"""A tree over a sequence of vectors: merge the two neighbors whose parent scores best.

    parent  p = tanh([relu(l·Wl + bl); relu(r·Wr + br)]·Wp + bp)
    score   p·ws + bs, 0 for a leaf

The search is greedy: of all adjacent pairs the pair with the highest score becomes one node, until
one node is left.

Source: Socher et al. (2011), parsing natural scenes and natural language with recursive neural
networks.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from numpy_infer.support.bracketing import adjacent_merges
from numpy_infer.support.checks import check_arrays, check_floating
from numpy_infer.support.greedy_tree import check_vectors
from numpy_infer.support.layer import Layer
from numpy_infer.support.tree_batches import adjacent_trees, as_sequences, is_batch, repeated_root


class Tree(NamedTuple):
    """A binary tree: nodes 0..n−1 are the leaves, the t-th merge makes node n+t, the last the root.

    merges: (n−1, 2) int64, the left and the right child of each inner node.
    brackets: (n−1, 2) int64, the first and the last leaf of each inner node.
    embeddings: (2n−1, dim) and scores: (2n−1,), of all nodes.
    """

    merges: np.ndarray
    brackets: np.ndarray
    embeddings: np.ndarray
    scores: np.ndarray


class NeuralGrammar(Layer):
    """Vectors to the `Tree` over them: at most 3n adjacent pairs are scored, in n batches.

    Args:
        previous: the layer whose output are the vectors.
        left_weight, left_bias: Wl (dim, hidden) and bl (hidden,).
        right_weight, right_bias: Wr (dim, hidden) and br (hidden,).
        parent_weight, parent_bias: Wp (2·hidden, dim) and bp (dim,).
        score_weight, score_bias: ws (dim, 1) and bs (1,).
    Example:
        >>> from numpy_infer.support.layer import Input
        >>> weights = [np.ones(shape) for shape in NeuralGrammar.array_shapes(2, 3).values()]
        >>> NeuralGrammar(Input(), *weights)(np.eye(2)).brackets.tolist()
        [[0, 1]]
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
        arrays = {
            "left_weight": left_weight,
            "left_bias": left_bias,
            "right_weight": right_weight,
            "right_bias": right_bias,
            "parent_weight": parent_weight,
            "parent_bias": parent_bias,
            "score_weight": score_weight,
            "score_bias": score_bias,
        }
        check_arrays(arrays, self.array_shapes(*left_weight.shape))
        self.left_weight, self.left_bias = left_weight, left_bias
        self.right_weight, self.right_bias = right_weight, right_bias
        self.parent_weight, self.parent_bias = parent_weight, parent_bias
        self.score_weight, self.score_bias = score_weight, score_bias

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

    def __call__(self, value: np.ndarray, lengths: np.ndarray | None = None) -> Tree:
        """The tree over what the layer before gives for this value, or the trees: see `forward`."""
        return self.forward(self.previous[0](value), lengths)

    def forward(self, vectors: np.ndarray, lengths: np.ndarray | None = None) -> Tree:
        """The tree over vectors, or over each sequence of a batch.

        Scores that differ by rounding alone are tied, and the first of tied pairs is merged; NaN is
        merged last. The tree of a sequence of a batch is the one that it has alone; behind its root
        nodes repeat the root, and merges are −1. Padding is never read.

        Args:
            vectors: (n, dim), or a batch of sequences, (batch, n, dim); n at least 1.
            lengths: (batch,) integers in 1..n, the numbers of leaves of a batch; all n when None.
        Raises:
            TypeError: another dtype than the weights', lengths that are no integers.
            ValueError: no vectors, another width than dim, or lengths that do not fit.
        """
        check_vectors(vectors, len(self.left_weight), self.left_weight.dtype)
        score = self.score_weight, self.score_bias
        if is_batch(vectors, lengths):
            leaves, counts = as_sequences(vectors, lengths)
            merges, brackets, embeddings = adjacent_trees(
                leaves, counts, self._parents, self._scores, *score
            )
            is_leaf = np.arange(embeddings.shape[1]) < counts[:, None]
            scores = np.where(is_leaf, vectors.dtype.type(0), self._scores(embeddings))
            return Tree(merges, brackets, embeddings, repeated_root(scores, counts))
        found = adjacent_merges(vectors, self._parents, self._scores, *score)
        merges, brackets, embeddings = found
        leaves = np.zeros(len(vectors), vectors.dtype)
        scores = np.concatenate([leaves, self._scores(embeddings[len(vectors) :])])
        return Tree(merges, brackets, embeddings, scores)

    def _parents(self, left: np.ndarray, right: np.ndarray) -> np.ndarray:
        left = np.maximum(left @ self.left_weight + self.left_bias, 0)
        right = np.maximum(right @ self.right_weight + self.right_bias, 0)
        children = np.concatenate([left, right], axis=-1)
        parents: np.ndarray = np.tanh(children @ self.parent_weight + self.parent_bias)
        return parents

    def _scores(self, parents: np.ndarray) -> np.ndarray:
        scores: np.ndarray = (parents @ self.score_weight + self.score_bias)[..., 0]
        return scores
