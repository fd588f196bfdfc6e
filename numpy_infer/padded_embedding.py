"""One vector for each list of token ids: the sum or mean of their embeddings.

    sum     Σ_t table[id_t], over the tokens t of a list that are not padding (id 0)
    mean    the sum, divided by the number of those tokens

The lists are padded with id 0 to one rectangular array. Row 0 of the table is zero, gets no
gradient, and never counts.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from numpy_infer import text
from numpy_infer.distances import l2_normalize
from numpy_infer.support.checks import check_choice, check_flag, check_floating, check_ids
from numpy_infer.support.layer import Layer

REDUCTIONS = ("mean", "sum")


def pad_token_lists(token_lists: Sequence[Sequence[int]], *, padding_id: int = 0) -> np.ndarray:
    """Ragged lists of ids as one array, short rows filled up on the right.

    Args:
        token_lists: lists of integers from 0 up.
        padding_id: what the rows are filled up with.
    Returns:
        A (batch, longest) int64 array.
    Raises:
        TypeError: for ids that are no integers. ValueError: for no lists, or a negative id.
    Example:
        >>> pad_token_lists([[3, 1, 2], [7]]).tolist()
        [[3, 1, 2], [7, 0, 0]]
    """
    return text.pad_token_lists(token_lists, padding_id=padding_id)


class PaddedEmbedding(Layer):
    """Sum or mean of the embeddings of each row's tokens.

    Args:
        previous: the layer whose output is the ids.
        table: (vocabulary_size, dim), floating. Row 0 is the padding's.
        reduce: "mean" or "sum".
        unit_norm: whether each result is scaled to length 1.
    Example:
        >>> from numpy_infer import Input
        >>> embedding = PaddedEmbedding(Input(), np.eye(4), reduce="sum")
        >>> embedding(pad_token_lists([[3, 1, 1], [2]])).tolist()
        [[0.0, 2.0, 0.0, 1.0], [0.0, 0.0, 1.0, 0.0]]
    """

    def __init__(
        self, previous: Layer, table: np.ndarray, *, reduce: str = "mean", unit_norm: bool = False
    ) -> None:
        super().__init__(previous)
        check_floating("table", table, ndim=2)
        check_choice("reduce", reduce, REDUCTIONS)
        unit_norm = check_flag("unit_norm", unit_norm)
        self.table = table
        self.reduce = reduce
        self.unit_norm = unit_norm

    @staticmethod
    def array_shapes(
        vocabulary_size: int, dim: int, reduce: str = "mean", unit_norm: bool = False
    ) -> dict[str, tuple[int, ...]]:
        """The arrays of a model file, for the configuration that the frameworks share."""
        return {"table": (vocabulary_size, dim)}

    def forward(self, ids: np.ndarray) -> np.ndarray:
        """ids: (batch, longest) integers in 0..vocabulary_size−1. Returns (batch, dim).

        A row of padding only gives zeros. ValueError for an id outside the table.
        """
        check_ids("ids", ids, self.table.shape[0])
        # Only real tokens are looked up. Those of a row are neighbors, so reduceat sums them.
        real = ids != 0
        count = real.sum(axis=1)
        starts = np.cumsum(count) - count
        vectors = np.zeros((len(ids), self.table.shape[1]), self.table.dtype)
        if count.any():
            vectors[count > 0] = np.add.reduceat(self.table[ids[real]], starts[count > 0])
        if self.reduce == "mean":
            vectors /= np.maximum(count, 1)[:, None].astype(vectors.dtype)
        return l2_normalize(vectors) if self.unit_norm else vectors
