"""A memory of unit vectors that answers with the nearest ones, exactly.

    score of a query = mean of the cosines of its 5 nearest; it matches above a threshold

Sources: seed topics, a speaker encoder whose memory and a threshold make a classifier; k-NN as
one matrix product. Here the product comes in tiles, and only what beats the k-th best so far is
looked at again.
"""

from __future__ import annotations

import os
from typing import NamedTuple

import numpy as np

from numpy_infer.distances import l2_normalize
from numpy_infer.search.index_file import damaged, read_index, write_index
from numpy_infer.search.turn import Turn
from numpy_infer.support.checks import (
    check_choice,
    check_count,
    check_dtype,
    check_finite,
    check_floating,
    check_not_empty,
    check_number,
    check_width,
)

DTYPES = ("float32", "float64")
KIND = "neighbor_memory"
VOTES = 5
ROWS = 512  # queries at once
TILE = 1024  # vectors at once: the tile of products stays in the cache
LEAST = 1e-2  # bounds below are not divided by
ROUNDINGS = 8  # of a product, besides one for each dimension
CROWDED = 8  # times k candidates for a query are too many to carry along
UNIT = 1e-3  # how far above 1 the length of a stored vector may be


class Neighbors(NamedTuple):
    """indices: (batch, k) int64, the nearest first; similarities: (batch, k), their cosines."""

    indices: np.ndarray
    similarities: np.ndarray


class NeighborMemory:
    """Unit vectors in the order in which they were added; ties go to the older one.

    dtype: float32 or float64, that of all vectors and queries. `vectors` is (n, dim). Threads may
    search while others add: a search sees the memory before an addition or after it, and additions
    wait for one another. An addition that fails changes nothing.
    """

    def __init__(self, dim: int, *, dtype: str = "float32") -> None:
        dim = check_count("dim", dim)
        check_choice("dtype", str(dtype), DTYPES)
        self.vectors = np.zeros((0, dim), dtype)
        self._room = self.vectors
        self._turn = Turn()

    def __len__(self) -> int:
        return len(self.vectors)

    def add(self, vectors: np.ndarray) -> None:
        """vectors: (n, dim), finite; each is scaled to length 1, as by `l2_normalize`.

        So a zero vector stays zero, and one that is shorter than 1e-12 is shorter than 1.
        """
        self._check("vectors", vectors)
        unit = l2_normalize(vectors)
        with self._turn:
            old, n = len(self), len(self) + len(unit)
            room = self._room
            if n > len(room):  # twice the room, so that many small additions cost no more
                room = np.empty((max(n, 2 * old), unit.shape[1]), unit.dtype)
                room[:old] = self.vectors
            room[old:n] = unit  # behind what is searched
            self._room, self.vectors = room, room[:n]

    def search(self, queries: np.ndarray, k: int) -> Neighbors:
        """The k nearest vectors of each query, (batch, dim), by their cosines.

        Equal vectors tie, and the lower index comes first. ValueError for k outside 1..n or
        queries that are not finite, TypeError for another dtype than the memory's.
        """
        self._check("queries", queries)
        vectors = self.vectors  # as they are now
        k = check_count("k", k, most=len(vectors))
        unit = l2_normalize(queries)
        found = [_nearest(vectors, unit[i : i + ROWS], k) for i in range(0, len(unit), ROWS)]
        return Neighbors(*map(np.concatenate, zip(*found, strict=True)))

    def score(self, queries: np.ndarray) -> np.ndarray:
        """Mean cosine of the 5 nearest vectors, or of all when there are fewer: (batch,)."""
        if len(self) == 0:
            raise ValueError("queries: expected a memory that is not empty, got 0 vectors in it")
        return self.search(queries, min(VOTES, len(self))).similarities.mean(axis=1)

    def matches(self, queries: np.ndarray, threshold: float = 0.7) -> np.ndarray:
        """Whether the score of each query is above the threshold: (batch,) of bools."""
        threshold = check_number("threshold", threshold, least=-1)
        return self.score(queries) > threshold

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the memory to a safetensors file; OSError when it cannot be written.

        ValueError when `load` would refuse it, because it was changed; then the old file stays.
        """
        write_index(path, KIND, {}, {"vectors": self.vectors}, type(self).load)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> NeighborMemory:
        """The memory in a file, whose vectors stay there and are read when they are used.

        ModelFileError for anything but a whole file of vectors that are no longer than 1.
        """
        try:
            config, arrays = read_index(path, KIND, ("vectors",))
            vectors = arrays["vectors"]
            if config or vectors.ndim != 2 or str(vectors.dtype) not in DTYPES:
                raise ValueError(f"vectors: expected a table, got {vectors.dtype}{vectors.shape}")
            memory = cls(vectors.shape[1], dtype=str(vectors.dtype))
            squares = np.einsum("ij,ij->i", vectors, vectors, dtype=np.float64)
            if not np.all(squares < (1 + UNIT) ** 2):
                raise ValueError("vectors: expected rows of length 1 at most, got others")
        except (TypeError, ValueError) as error:
            raise damaged(path, error) from error
        memory.vectors = memory._room = vectors
        return memory

    def _check(self, name: str, x: np.ndarray) -> None:
        check_floating(name, x, ndim=2)
        check_dtype(name, x, self.vectors.dtype)
        check_width(name, x, self.vectors.shape[1])
        check_not_empty(name, x)
        check_finite(name, x)


def _nearest(vectors: np.ndarray, unit: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """A pair is looked at again when its product may be among the k best of its query.

    The place of a pair is vector · queries + query.
    """
    queries = len(unit)
    # A product's place decides how it is rounded: that far may two ways to it lie apart.
    slack = 2 * (unit.shape[1] + ROUNDINGS) * np.finfo(unit.dtype).eps
    width = max(TILE, 8 * k)
    # Fresh memory costs more than the products that go there: one tile serves for all. Its
    # rows are vectors, so that the bounds of the queries lie along them.
    tile, mask = np.empty((width, queries), unit.dtype), np.empty((width, queries), bool)
    best = np.full((queries, k), -np.inf, unit.dtype)
    scaled, scale, limit = unit, np.ones(queries, unit.dtype), best[:, 0]
    kept: list[np.ndarray] = [np.zeros(0, np.int64), np.zeros(0, unit.dtype)]
    waiting: list[list[np.ndarray]] = [kept]  # what has not raised the bound yet
    count = 0
    for start in range(0, len(vectors), width):
        part = vectors[start : start + width]
        products, above = tile[: len(part)], mask[: len(part)]
        np.matmul(part, scaled.T, out=products)
        if start == 0:
            limit = _low_bound(products, k) - slack
        np.greater_equal(products, limit, out=above)
        places = np.flatnonzero(above)
        waiting.append([places + start * queries, products.ravel()[places]])
        count += len(places)
        last = start + width >= len(vectors)
        if last or count > best.size:
            places, values = map(np.concatenate, zip(*waiting, strict=True))
            waiting, count = [], 0
            rows = places % queries
            values *= scale[rows]
            best = _merged(best, rows, values)
            level = best[:, 0] - slack
            kept = [np.concatenate(pair) for pair in zip(kept, (places, values), strict=True)]
            close = kept[1] >= level[kept[0] % queries]
            kept = [one[close] for one in kept]
            if last or len(kept[0]) > CROWDED * best.size:
                kept = _ranked(vectors, unit, kept[0], k)
            # Products in units of their query's bound need no bound of their own.
            scaled, scale, limit = unit, np.ones_like(level), level
            if level.min() > LEAST:
                scaled, scale, limit = unit / level[:, None], level, unit.dtype.type(1)
    columns, cosines = kept[0] // queries, kept[1]
    return columns.reshape(-1, k), cosines.reshape(-1, k)


def _ranked(vectors: np.ndarray, unit: np.ndarray, places: np.ndarray, k: int) -> list[np.ndarray]:
    """The k best of each query among these pairs, with their cosines, in order.

    The cosines are rounded alike wherever they stand, so that equal vectors tie.
    """
    columns, rows = np.divmod(places, len(unit))
    rows = rows.astype(np.uint16)  # at most ROWS, and sorted faster
    cosines = (unit.take(rows, axis=0) * vectors.take(columns, axis=0)).sum(axis=1)
    order = np.lexsort((columns, -cosines, rows))
    rows = rows[order]
    kept = order[np.arange(len(rows)) - np.searchsorted(rows, rows) < k]
    return [places[kept], cosines[kept]]


def _merged(best: np.ndarray, rows: np.ndarray, values: np.ndarray) -> np.ndarray:
    """The largest values of each row, the least first, once these are among them."""
    order = rows.astype(np.uint16).argsort(kind="stable")  # at most ROWS
    rows, values = rows[order], values[order]
    counts = np.bincount(rows, minlength=len(best))
    place = np.arange(len(rows)) - (np.cumsum(counts) - counts)[rows]
    most = counts.max()
    both = np.full((len(best), best.shape[1] + most), -np.inf, best.dtype)
    both[:, : best.shape[1]] = best
    both[rows, best.shape[1] + place] = values
    both.partition(most, axis=1)
    return both[:, most:]


def _low_bound(tile: np.ndarray, k: int) -> np.ndarray:
    """Something below the k-th largest of each column, but not far: the k-th of group maxima."""
    groups = min(8 * k, len(tile))
    depth = len(tile) // groups
    largest = tile[: depth * groups].reshape(depth, groups, -1).max(axis=0).T.copy()
    return np.partition(largest, groups - k, axis=1)[:, groups - k]
