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

from typing import NamedTuple

import numpy as np

from numpy_infer.distances import l2_normalize
from numpy_infer.layers.activations import ReLU, Sigmoid, Tanh
from numpy_infer.support.checks import (
    check_choice,
    check_flag,
    check_floating,
    check_like,
    check_width,
)
from numpy_infer.support.greedy_tree import check_vectors, greedy_merges
from numpy_infer.support.layer import Layer
from numpy_infer.support.tree_batches import as_sequences, greedy_trees, is_batch

ACTIVATIONS = {
    "linear": lambda x: x,
    "tanh": Tanh().forward,
    "sigmoid": Sigmoid().forward,
    "relu": ReLU().forward,
}
PAIRS = ("all", "adjacent")


class Tree(NamedTuple):
    """A binary tree: nodes 0..n−1 are the leaves, the t-th merge makes node n+t, the last the root.

    merges: (n−1, 2) int64, the left and the right child of each inner node.
    embeddings: (2n−1, dim) and scores: (2n−1,), of all nodes.
    """

    merges: np.ndarray
    embeddings: np.ndarray
    scores: np.ndarray

    @property
    def loss(self) -> np.ndarray:
        """The score of the root; of a batch the scores of the roots, (batch,)."""
        root: np.ndarray = self.scores[..., -1]
        return root


class RecursiveAutoencoder(Layer):
    """Vectors to the `Tree` over them: at most (n−1)² pairs are scored, in n batches.

    Args:
        previous: the layer whose output are the vectors.
        encoder_weight, encoder_bias: We (2·dim, dim) and be (dim,).
        decoder_weight, decoder_bias: Wd (dim, 2·dim) and bd (2·dim,).
        activation: f, one of linear, tanh, sigmoid and relu.
        pairs: the pairs that may be merged, all or adjacent.
        unit_norm: whether parents are scaled to length 1.
        weight_by_leaves: whether the errors of children are weighted by their numbers of leaves.
    Example:
        >>> from numpy_infer.support.layer import Input
        >>> weights = np.ones((4, 2)), np.zeros(2), np.ones((2, 4)), np.zeros(4)
        >>> RecursiveAutoencoder(Input(), *weights)(np.eye(2)).merges.tolist()
        [[0, 1]]
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
        unit_norm: bool = False,
        weight_by_leaves: bool = False,
    ) -> None:
        super().__init__(previous)
        check_floating("encoder_weight", encoder_weight, ndim=2)
        check_width("encoder_weight", encoder_weight.T, 2 * encoder_weight.shape[1])
        check_like("encoder_bias", encoder_bias, "a row of encoder_weight", encoder_weight[0])
        check_like("decoder_weight", decoder_weight, "encoder_weight.T", encoder_weight.T)
        check_like("decoder_bias", decoder_bias, "a row of decoder_weight", decoder_weight[0])
        check_choice("activation", activation, tuple(ACTIVATIONS))
        check_choice("pairs", pairs, PAIRS)
        self.encoder_weight, self.encoder_bias = encoder_weight, encoder_bias
        self.decoder_weight, self.decoder_bias = decoder_weight, decoder_bias
        self.activation, self.pairs = activation, pairs
        self.unit_norm = check_flag("unit_norm", unit_norm)
        self.weight_by_leaves = check_flag("weight_by_leaves", weight_by_leaves)

    @staticmethod
    def array_shapes(
        dim: int,
        activation: str = "linear",
        pairs: str = "all",
        unit_norm: bool = False,
        weight_by_leaves: bool = False,
    ) -> dict[str, tuple[int, ...]]:
        """The arrays of a model file, for the configuration that the frameworks share."""
        return {
            "encoder.weight": (2 * dim, dim),
            "encoder.bias": (dim,),
            "decoder.weight": (dim, 2 * dim),
            "decoder.bias": (2 * dim,),
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
        check_vectors(vectors, len(self.encoder_bias), self.encoder_weight.dtype)
        adjacent = self.pairs == "adjacent"
        if is_batch(vectors, lengths):
            sequences = as_sequences(vectors, lengths)
            return Tree(*greedy_trees(*sequences, self._merge, adjacent=adjacent))
        # There is no fast file: a search with the packed weights of PyTorch's was not faster.
        merges = greedy_merges(vectors, self._merge, adjacent=adjacent)
        n, dim = vectors.shape
        embeddings = np.concatenate([vectors, np.empty((n - 1, dim), vectors.dtype)])
        scores = np.zeros_like(embeddings[:, 0])
        leaves = np.ones_like(scores)
        for node, (left, right) in enumerate(merges, n):
            counts = leaves[[left, right]]
            embeddings[node], error = self._merge(embeddings[left], embeddings[right], counts)
            scores[node] = error + scores[left] + scores[right]
            leaves[node] = counts.sum()
        return Tree(merges, embeddings, scores)

    def _merge(
        self, left: np.ndarray, right: np.ndarray, leaves: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Parents (..., dim) of children (..., dim), and their reconstruction errors (...).

        leaves: (..., 2), the numbers of leaves of the children.
        """
        children = np.concatenate([left, right], axis=-1)  # (..., 2·dim)
        encoded = children @ self.encoder_weight + self.encoder_bias
        parents = ACTIVATIONS[self.activation](encoded)
        parents = l2_normalize(parents) if self.unit_norm else parents
        errors = children - (parents @ self.decoder_weight + self.decoder_bias)
        if not self.weight_by_leaves:
            return parents, (errors * errors).sum(axis=-1) / 2
        shares = leaves / leaves.sum(axis=-1, keepdims=True)  # (..., 2)
        squares = (errors * errors).reshape(*shares.shape, left.shape[-1]).sum(axis=-1)  # (..., 2)
        return parents, (shares * squares).sum(axis=-1)
