"""The exact nearest points by all distances, for any distance of pairs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from numpy_infer.search.time_warping import PAIRS


def nearest_by_all_distances(
    points: Any,
    queries: Any,
    k: int,
    distances_of: Callable[[Any, Any], np.ndarray],
) -> tuple[np.ndarray, np.ndarray]:
    """The k nearest points of each query, and their distances; ties go to the lower index.

    Args:
        points: (n, dim), or series. queries: (batch, dim), or series.
        k: 1..n.
        distances_of: of row i of some queries and row i of as many points, (pairs,).
    Returns:
        (batch, k) indices, the nearest first, and (batch, k) distances.
    """
    step = max(1, PAIRS // len(points))  # queries at once
    blocks = []
    for start in range(0, len(queries), step):
        part = np.arange(start, min(start + step, len(queries)))
        rows, every = part.repeat(len(points)), np.tile(np.arange(len(points)), len(part))
        distances = distances_of(queries[rows], points[every]).reshape(len(part), -1)
        indices = distances.argsort(axis=1, kind="stable")[:, :k]
        blocks.append((indices, np.take_along_axis(distances, indices, axis=1)))
    indices, distances = map(np.concatenate, zip(*blocks, strict=True))
    return indices, distances
