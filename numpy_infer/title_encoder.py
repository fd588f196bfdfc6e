"""Titles as vectors that are close for titles of the same group (a playlist, a user's history).

    title   t = Σ_w table[w] / ‖Σ_w table[w]‖, over the words w of the title
    bag     mean of the vectors of a group's titles

Source: Wu et al. (2017), StarSpace: embed all the things, arXiv 1709.03856. Titles become ids
with `numpy_infer.text`.
"""

from __future__ import annotations

import numpy as np

from numpy_infer.padded_embedding import PaddedEmbedding
from numpy_infer.support.checks import check_floating, check_integers
from numpy_infer.support.layer import Layer


def bag_of_titles(vectors: np.ndarray) -> np.ndarray:
    """The mean of each group's titles. Vectors of zeros are padding and do not count.

    Args:
        vectors: (groups, titles, dim), floating.
    Returns:
        (groups, dim), zeros for a group without titles.
    Raises:
        TypeError: for integers. ValueError: for another number of axes.
    Example:
        >>> bag_of_titles(np.eye(2)[None]).tolist()
        [[0.5, 0.5]]
    """
    check_floating("vectors", vectors, ndim=3)
    count = (vectors != 0).any(axis=-1).sum(axis=1, keepdims=True)
    mean: np.ndarray = vectors.sum(axis=1) / np.maximum(count, 1).astype(vectors.dtype)
    return mean


class TitleEncoder(Layer):
    """Padded titles to vectors of length 1: a `PaddedEmbedding` that sums.

    Args:
        previous: the layer whose output is the ids.
        table: (vocabulary_size, dim), floating. Row 0 is the padding's.
    Example:
        >>> from numpy_infer import Input
        >>> encoder = TitleEncoder(Input(), np.array([[0.0, 0.0], [3.0, 0.0], [0.0, 4.0]]))
        >>> encoder(np.array([[1, 2], [1, 0]])).tolist()
        [[0.6, 0.8], [1.0, 0.0]]
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
