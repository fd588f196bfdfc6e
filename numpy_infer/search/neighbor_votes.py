"""The nearest of unit vectors, the mean of their cosines, and the label that they elect."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from numpy_infer.distances import l2_normalize
from numpy_infer.search.points import check_points
from numpy_infer.search.tiled_neighbors import ROWS, nearest_in_tiles
from numpy_infer.support.checks import check_count

ENTRIES = 1 << 20  # compared at once when votes are counted: queries times votes squared


class Neighbors(NamedTuple):
    """The k nearest vectors of each query, the nearest first."""

    indices: np.ndarray  # (batch, k) int64
    similarities: np.ndarray  # (batch, k), cosines


def nearest_vectors(vectors: np.ndarray, queries: np.ndarray, k: int) -> Neighbors:
    """The k nearest vectors, of (n, dim), of each query, (batch, dim), as they are checked."""
    check_points("queries", queries, vectors)
    k = check_count("k", k, most=len(vectors))
    unit = l2_normalize(queries)
    starts = range(0, len(unit), ROWS)
    blocks = [nearest_in_tiles(vectors, unit[i : i + ROWS], k) for i in starts]
    return Neighbors(*map(np.concatenate, zip(*blocks, strict=True)))


def elected_labels(labels: np.ndarray, cosines: np.ndarray) -> np.ndarray:
    """The label with most votes in each row, (batch, votes) → (batch,), then by cosines."""
    elected = np.empty(len(labels), np.int64)
    rows = max(1, ENTRIES // labels.shape[1] ** 2)
    for start in range(0, len(labels), rows):
        part = labels[start : start + rows]
        same = part[:, :, None] == part[:, None]  # (rows, votes, votes)
        count = same.sum(axis=2)
        total = (same * cosines[start : start + rows, None]).sum(axis=2)
        best = np.lexsort((part, -total, -count), axis=1)[:, :1]
        elected[start : start + rows] = np.take_along_axis(part, best, axis=1)[:, 0]
    return elected


def mean_cosines(neighbors: Neighbors) -> np.ndarray:
    """The mean cosine of each query's neighbors, (batch,)."""
    mean: np.ndarray = neighbors.similarities.mean(axis=1)
    return mean
