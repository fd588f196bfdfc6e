"""The exact nearest points by all distances, for any distance of pairs."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from numpy_infer.search.time_warping import PAIRS


def nearest_by_all_distances(
    points: np.ndarray,
    queries: np.ndarray,
    k: int,
    distances_of: Callable[[np.ndarray, np.ndarray], np.ndarray],
) -> tuple[np.ndarray, np.ndarray]:
    """The k nearest points of each query, and their distances; ties go to the lower index.

    Args:
        points: (n, dim). queries: (batch, dim).
        k: 1..n.
        distances_of: of row i of one array and row i of another, (pairs, dim) each.
    Returns:
        (batch, k) indices, the nearest first, and (batch, k) distances.
    """
    step = max(1, PAIRS // len(points))  # queries at once
    blocks = []
    for start in range(0, len(queries), step):
        part = queries[start : start + step]
        shape = (len(part), *points.shape)
        pairs = (np.broadcast_to(x, shape).reshape(-1, shape[2]) for x in (part[:, None], points))
        distances = distances_of(*pairs).reshape(shape[:2])  # (queries, n)
        indices = distances.argsort(axis=1, kind="stable")[:, :k]
        blocks.append((indices, np.take_along_axis(distances, indices, axis=1)))
    indices, distances = map(np.concatenate, zip(*blocks, strict=True))
    return indices, distances
