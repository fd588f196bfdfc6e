"""Titles as vectors: related ones close, by the company that they keep.

    title   t = Σ_w table[w] / ‖Σ_w table[w]‖
    bag     mean of its titles' vectors

Sources: Wu et al. 2017 (StarSpace, arXiv 1709.03856); seed topic, challenges with real-world
embeddings. Titles become ids with `numpy_infer.text`.
"""

from __future__ import annotations

import numpy as np

from numpy_infer.padded_embedding import PaddedEmbedding
from numpy_infer.support.checks import check_floating, check_integers
from numpy_infer.support.layer import Layer


def bag_of_titles(vectors: np.ndarray) -> np.ndarray:
    """Mean of each group's titles; vectors of zeros are padding and do not count.

    vectors: (groups, titles, dim), floating. Returns (groups, dim), zeros for a group without
    titles.
    """
    check_floating("vectors", vectors, ndim=3)
    count = (vectors != 0).any(axis=-1).sum(axis=1, keepdims=True)
    return vectors.sum(axis=1) / np.maximum(count, 1).astype(vectors.dtype)


class TitleEncoder(Layer):
    """Padded titles to vectors of unit norm: a `PaddedEmbedding` that sums.

    table: (vocabulary_size, dim), its row 0 the padding's.
    """

    def __init__(self, previous: Layer, table: np.ndarray) -> None:
        super().__init__(previous)
        self.table = table
        self.embedding = PaddedEmbedding(previous, table, reduce="sum", unit_norm=True)

    @staticmethod
    def array_shapes(vocabulary_size: int, dim: int) -> dict[str, tuple[int, ...]]:
        """The arrays of a model file, for the configuration that the frameworks share."""
        return {"table": (vocabulary_size, dim)}

    def forward(self, ids: np.ndarray) -> np.ndarray:
        """ids: (batch, longest) integers in 0..vocabulary_size−1. Returns (batch, dim).

        A title of padding only gives zeros. ValueError for an id outside the table.
        """
        return self.embedding.forward(ids)

    def bags(self, ids: np.ndarray) -> np.ndarray:
        """ids: (groups, titles, longest) integers, padded with 0. Returns (groups, dim).

        Titles of padding only do not count. ValueError for an id outside the table.
        """
        check_integers("ids", ids, ndim=3)
        groups, titles, longest = ids.shape
        vectors = self.forward(ids.reshape(groups * titles, longest))
        return bag_of_titles(vectors.reshape(groups, titles, self.table.shape[1]))
