"""The exact nearest neighbors of unit vectors by their cosines, from products in tiles.

The products of 1024 vectors with all queries fit the cache. Each query has a lower bound of its
k-th largest cosine so far, and only products above that bound become candidates, which are computed
again in one way, so that equal vectors tie. This is at least 2 times as fast as one whole product
and a selection at 10,000 vectors, and at least 4 times at 100,000 (benchmarks/neighbor_memory.py).
"""

from __future__ import annotations

import numpy as np

ROWS = 512  # queries at once
TILE = 1024  # vectors at once: the products of a tile stay in the cache
LEAST = 1e-2  # queries are not divided by smaller bounds
ROUNDINGS = 8  # of a product, besides one for each dimension
CROWDED = 8  # more than this many times k candidates of a query are reduced to k


def nearest_in_tiles(
    vectors: np.ndarray, unit: np.ndarray, k: int
) -> tuple[np.ndarray, np.ndarray]:
    """The k vectors with the largest cosines for each of at most ROWS queries, in order.

    Args:
        vectors: (n, dim), of length 1. unit: (queries, dim), of length 1.
        k: 1..n.
    Returns:
        Indices and cosines, each (queries, k). Ties go to the lower index.

    A pair of a vector and a query has the number vector · queries + query. A pair stays a candidate
    while its product may be among the k largest of its query.
    """
    queries = len(unit)
    # A product is rounded differently at another position of a tile: two results differ by at most
    # this much.
    slack = 2 * (unit.shape[1] + ROUNDINGS) * np.finfo(unit.dtype).eps
    width = max(TILE, 8 * k)
    # To allocate a tile takes longer than its products: all products share one tile. Its rows are
    # the vectors, so that the bounds of the queries broadcast over the rows.
    tile, mask = np.empty((width, queries), unit.dtype), np.empty((width, queries), bool)
    best = np.full((queries, k), -np.inf, unit.dtype)
    scaled, scale, limit = unit, np.ones(queries, unit.dtype), best[:, 0]
    kept: list[np.ndarray] = [np.zeros(0, np.int64), np.zeros(0, unit.dtype)]
    waiting: list[list[np.ndarray]] = [kept]  # candidates that were not merged into best yet
    count = 0
    for start in range(0, len(vectors), width):
        part = vectors[start : start + width]
        products, above = tile[: len(part)], mask[: len(part)]
        np.matmul(part, scaled.T, out=products)
        if start == 0:
            limit = _low_bound(products, k) - slack
        np.greater_equal(products, limit, out=above)
        pairs = np.flatnonzero(above)
        waiting.append([pairs + start * queries, products.ravel()[pairs]])
        count += len(pairs)
        last = start + width >= len(vectors)
        if last or count > best.size:
            pairs, values = map(np.concatenate, zip(*waiting, strict=True))
            waiting, count = [], 0
            rows = pairs % queries
            values *= scale[rows]
            best = _merged(best, rows, values)
            level = best[:, 0] - slack
            kept = [np.concatenate(parts) for parts in zip(kept, (pairs, values), strict=True)]
            close = kept[1] >= level[kept[0] % queries]
            kept = [part[close] for part in kept]
            if last or len(kept[0]) > CROWDED * best.size:
                kept = _ranked(vectors, unit, kept[0], k)
            # Divide the queries by their bounds: all products are then compared with 1.
            scaled, scale, limit = unit, np.ones_like(level), level
            if level.min() > LEAST:
                scaled, scale, limit = unit / level[:, None], level, unit.dtype.type(1)
    columns, cosines = kept[0] // queries, kept[1]
    return columns.reshape(-1, k), cosines.reshape(-1, k)


def _ranked(vectors: np.ndarray, unit: np.ndarray, pairs: np.ndarray, k: int) -> list[np.ndarray]:
    """The numbers of the k best pairs of each query among these, in order, and their cosines.

    The cosines are computed in the same way for every pair, so that equal vectors tie.
    """
    columns, rows = np.divmod(pairs, len(unit))
    rows = rows.astype(np.uint16)  # at most ROWS, and sorted faster
    cosines = (unit.take(rows, axis=0) * vectors.take(columns, axis=0)).sum(axis=1)
    order = np.lexsort((columns, -cosines, rows))
    rows = rows[order]
    kept = order[np.arange(len(rows)) - np.searchsorted(rows, rows) < k]
    return [pairs[kept], cosines[kept]]


def _merged(best: np.ndarray, rows: np.ndarray, values: np.ndarray) -> np.ndarray:
    """The k largest of each row of best and the new values of that row; the least stands first."""
    order = rows.astype(np.uint16).argsort(kind="stable")  # at most ROWS
    rows, values = rows[order], values[order]
    counts = np.bincount(rows, minlength=len(best))
    rank = np.arange(len(rows)) - (np.cumsum(counts) - counts)[rows]
    most = counts.max()
    both = np.full((len(best), best.shape[1] + most), -np.inf, best.dtype)
    both[:, : best.shape[1]] = best
    both[rows, best.shape[1] + rank] = values
    both.partition(most, axis=1)
    return both[:, most:]


def _low_bound(tile: np.ndarray, k: int) -> np.ndarray:
    """A number a little below the k-th largest of each column: the k-th largest of group maxima."""
    groups = min(8 * k, len(tile))
    depth = len(tile) // groups
    largest = tile[: depth * groups].reshape(depth, groups, -1).max(axis=0).T.copy()
    return np.partition(largest, groups - k, axis=1)[:, groups - k]
