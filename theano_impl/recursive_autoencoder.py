"""A tree over vectors: merge the two nodes that are best reconstructed from their parent.

    parent          h = f([l; r]·We + be)
    reconstruction  [l'; r'] = h·Wd + bd
    score           ½ ‖[l; r] − [l'; r']‖² + score(l) + score(r), 0 for a leaf

The search is greedy: of all pairs of nodes, or of adjacent nodes only, the pair with the lowest
score becomes one node in the place of its left child, until one node is left.

Source: Socher et al. (2011), semi-supervised recursive autoencoders.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import theano
import theano.tensor as T
from theano.gradient import disconnected_grad
from theano.tensor.var import TensorVariable

from theano_impl.support.checks import check_choice, check_count, check_seed
from theano_impl.support.greedy_tree import check_vectors, greedy_merges
from theano_impl.support.layer import Layer
from theano_impl.support.linear import make_linear

ACTIVATIONS = {
    "linear": lambda x: x,
    "tanh": T.tanh,
    "sigmoid": T.nnet.sigmoid,
    "relu": lambda x: T.switch(x <= 0, T.zeros_like(x), x),  # T.nnet.relu: gradient ½ at zero
}
PAIRS = ("all", "adjacent")


class Tree(NamedTuple):
    """A binary tree: nodes 0..n−1 are the leaves, the t-th merge makes node n+t, the last the root.

    merges: (n−1, 2) int64, the left and the right child of each inner node.
    embeddings: (2n−1, dim) and scores: (2n−1,), of all nodes.
    """

    merges: TensorVariable
    embeddings: TensorVariable
    scores: TensorVariable

    @property
    def loss(self) -> TensorVariable:
        """The score of the root."""
        return self.scores[-1]


class RecursiveAutoencoder(Layer):
    """Vectors to the `Tree` over them, `.output`: at most (n−1)² pairs are scored, in n batches.

    Gradients hold the choice of merges fixed. Scores that differ by rounding alone are tied, and
    the first of tied pairs is merged; NaN is merged last.

    Args:
        vectors: (n, dim), n at least 1.
        dim: the width of a vector.
        activation: f, one of linear, tanh, sigmoid and relu.
        pairs: the pairs that may be merged, all or adjacent.
        seed: of the initial weights.
    Raises:
        TypeError: another dtype than the weights'.
        AssertionError: when it runs, no vectors, or another width than dim.
    Example:
        >>> vectors = T.eye(2, dtype=theano.config.floatX)
        >>> RecursiveAutoencoder(vectors, 2, seed=1).output.merges.eval().tolist()
        [[0, 1]]
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
        rng = np.random.default_rng(check_seed("seed", seed))
        super().__init__(vectors, config={"dim": dim, "activation": activation, "pairs": pairs})
        self.dim, self.activation, self.pairs = dim, activation, pairs
        self.encoder = make_linear(self, "encoder", 2 * dim, dim, rng=rng)
        self.decoder = make_linear(self, "decoder", dim, 2 * dim, rng=rng)

        vectors = check_vectors(vectors, dim, self.encoder.weight.dtype)
        # Scan refuses to run no step at all: a single vector gets a companion, cut off again.
        n = vectors.shape[0]
        leaves = T.zeros((T.maximum(n, 2), dim), vectors.dtype)
        leaves = T.set_subtensor(leaves[:n], vectors)
        # There is no fast file: PyTorch's saves eager operations, and a compiled function has none.
        merges = greedy_merges(disconnected_grad(leaves), self._merge, adjacent=pairs == "adjacent")
        embeddings, scores = self._replay(leaves, merges)
        self.output = Tree(merges[: n - 1], embeddings[: 2 * n - 1], scores[: 2 * n - 1])

    def _replay(
        self, vectors: TensorVariable, merges: TensorVariable
    ) -> tuple[TensorVariable, TensorVariable]:
        n = vectors.shape[0]
        embeddings = T.zeros((2 * n - 1, self.dim), vectors.dtype)
        embeddings = T.set_subtensor(embeddings[:n], vectors)
        scores = T.zeros_like(embeddings[:, 0])

        def step(pair, node, embeddings, scores):
            left, right = pair[0], pair[1]
            parent, error = self._merge(embeddings[left], embeddings[right])
            embeddings = T.set_subtensor(embeddings[node], parent)
            return embeddings, T.set_subtensor(scores[node], error + scores[left] + scores[right])

        (embeddings, scores), _ = theano.scan(
            step,
            sequences=[merges, T.arange(n, 2 * n - 1)],
            outputs_info=[embeddings, scores],
            n_steps=n - 1,
        )
        return embeddings[-1], scores[-1]

    def _merge(
        self, left: TensorVariable, right: TensorVariable
    ) -> tuple[TensorVariable, TensorVariable]:
        """Parents (..., dim) of children (..., dim), and their reconstruction errors (...)."""
        children = T.concatenate([left, right], axis=left.ndim - 1)  # (..., 2·dim)
        parents = ACTIVATIONS[self.activation](self.encoder(children))
        errors = children - self.decoder(parents)
        return parents, T.sum(errors**2, axis=-1) / np.asarray(2, errors.dtype)

    @staticmethod
    def symbolic_inputs(dtype: str) -> list[TensorVariable]:
        return [T.TensorType(dtype, (False, False))("vectors")]
