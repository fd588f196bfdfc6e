"""Ids to the rows of a table."""

from __future__ import annotations

import numpy as np

from numpy_infer.support.checks import check_floating, check_ids
from numpy_infer.support.layer import Layer


class Embedding(Layer):
    """table[ids]. table: (vocabulary, dim)."""

    def __init__(self, previous: Layer, table: np.ndarray) -> None:
        super().__init__(previous)
        check_floating("table", table, ndim=2)
        self.table = table

    def forward(self, ids: np.ndarray) -> np.ndarray:
        """ids: (batch, ...) integers in 0..vocabulary−1. Returns (batch, ..., dim).

        ValueError for an id outside the table, TypeError for ids that are not integers.
        """
        check_ids("ids", ids, len(self.table), ndim=None)
        vectors: np.ndarray = self.table[ids]
        return vectors
