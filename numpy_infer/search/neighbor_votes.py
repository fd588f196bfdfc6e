"""The nearest of unit vectors, the mean of their cosines, its threshold, and their label."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from numpy_infer.distances import l2_normalize
from numpy_infer.evaluation import Threshold, threshold_by_f1, threshold_by_false_alarms
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


def voting_vectors(vectors: np.ndarray, queries: np.ndarray, votes: int) -> Neighbors:
    """So many nearest vectors of each query, or all when there are fewer; ValueError for none."""
    if len(vectors) == 0:
        raise ValueError("queries: expected a memory that is not empty, got 0 vectors in it")
    return nearest_vectors(vectors, queries, min(votes, len(vectors)))


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


def cosine_threshold(
    scores: np.ndarray, positives: np.ndarray, false_alarm_rate: float | None
) -> Threshold:
    """The threshold with the largest F1, or the lowest of this rate of false alarms; at least −1.

    Args:
        scores: (batch,), mean cosines. positives: (batch,) bool, which of them are to match.
        false_alarm_rate: 0..1, or None.
    """
    if false_alarm_rate is None:
        found = threshold_by_f1(scores, positives)
    else:
        found = threshold_by_false_alarms(scores, positives, false_alarm_rate)
    return found._replace(threshold=max(-1.0, found.threshold))
