"""Ragged lists of token ids, padded with id 0, to one vector each.

    sum     Σ_t table[id_t]
    mean    the sum, divided by the number of tokens that are not padding

Sources: seed topics, faster embedding lookups with padding; padded word indexes for embeddings.
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
    """Ragged lists of ids as one (batch, longest) int64 array, filled up on the right.

    ValueError for an empty batch or a negative id, TypeError for ids that are not integers.
    """
    return text.pad_token_lists(token_lists, padding_id=padding_id)


class PaddedEmbedding(Layer):
    """Sum or mean of the embeddings of each row's tokens; padding does not count.

    table: (vocabulary_size, dim), its row 0 the padding's. unit_norm scales each result to
    length 1.
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
        # The real tokens alone are looked up, and summed where they lie: row after row.
        real = ids != 0
        count = real.sum(axis=1)
        starts = np.cumsum(count) - count
        vectors = np.zeros((len(ids), self.table.shape[1]), self.table.dtype)
        if count.any():
            vectors[count > 0] = np.add.reduceat(self.table[ids[real]], starts[count > 0])
        if self.reduce == "mean":
            vectors /= np.maximum(count, 1)[:, None].astype(vectors.dtype)
        return l2_normalize(vectors) if self.unit_norm else vectors
