"""A memory of unit vectors that finds the nearest ones, exactly.

    cosines     query · vector, both of length 1; the k largest are the nearest neighbors
    score       mean of the 5 largest cosines of a query
    match       score > threshold

So a speaker encoder, a memory of a speaker's voice and a threshold are a classifier.
"""

from __future__ import annotations

import os
from typing import NamedTuple

import numpy as np

from numpy_infer.distances import l2_normalize
from numpy_infer.search.addition_lock import AdditionLock
from numpy_infer.search.index_file import damaged, read_index, write_index
from numpy_infer.search.points import check_points
from numpy_infer.search.tiled_neighbors import ROWS, nearest_in_tiles
from numpy_infer.support.checks import (
    check_choice,
    check_count,
    check_number,
)

DTYPES = ("float32", "float64")
KIND = "neighbor_memory"
VOTES = 5
UNIT = 1e-3  # the length of a stored vector is at most 1 + UNIT


class Neighbors(NamedTuple):
    """The k nearest vectors of each query, the nearest first."""

    indices: np.ndarray  # (batch, k) int64
    similarities: np.ndarray  # (batch, k), cosines


class NeighborMemory:
    """Unit vectors, `vectors`, (n, dim), in the order in which they were added.

    Args:
        dim: width of the vectors.
        dtype: "float32" or "float64", of all vectors and queries.
    Threads may search while others add: a search sees the memory before or after an addition, and
    additions run one after the other. An addition that fails changes nothing.
    Example:
        >>> memory = NeighborMemory(2, dtype="float64")
        >>> memory.add(np.array([[2.0, 0.0], [0.0, 3.0]]))
        >>> memory.search(np.array([[0.0, 1.0]]), k=1).indices
        array([[1]])
    """

    def __init__(self, dim: int, *, dtype: str = "float32") -> None:
        dim = check_count("dim", dim)
        check_choice("dtype", str(dtype), DTYPES)
        self.vectors = np.zeros((0, dim), dtype)
        self._room = self.vectors
        self._lock = AdditionLock()

    def __len__(self) -> int:
        return len(self.vectors)

    def add(self, vectors: np.ndarray) -> None:
        """Add vectors, (n, dim), finite; each is scaled to length 1 by `l2_normalize`.

        A zero vector stays zero.
        """
        check_points("vectors", vectors, self.vectors)
        unit = l2_normalize(vectors)
        with self._lock:
            old, n = len(self), len(self) + len(unit)
            room = self._room
            if n > len(room):  # double the buffer, so that n additions copy O(n) vectors
                room = np.empty((max(n, 2 * old), unit.shape[1]), unit.dtype)
                room[:old] = self.vectors
            room[old:n] = unit  # searches read only the rows before these
            self._room, self.vectors = room, room[:n]

    def search(self, queries: np.ndarray, k: int) -> Neighbors:
        """The k vectors with the largest cosines for each query, (batch, dim).

        Ties go to the lower index. ValueError for k outside 1..n or queries that are not finite,
        TypeError for another dtype than the memory's.
        """
        check_points("queries", queries, self.vectors)
        vectors = self.vectors  # another thread may replace it
        k = check_count("k", k, most=len(vectors))
        unit = l2_normalize(queries)
        starts = range(0, len(unit), ROWS)
        blocks = [nearest_in_tiles(vectors, unit[i : i + ROWS], k) for i in starts]
        return Neighbors(*map(np.concatenate, zip(*blocks, strict=True)))

    def score(self, queries: np.ndarray) -> np.ndarray:
        """Mean cosine of the 5 nearest vectors, or of all when there are fewer: (batch,)."""
        if len(self) == 0:
            raise ValueError("queries: expected a memory that is not empty, got 0 vectors in it")
        nearest = self.search(queries, min(VOTES, len(self))).similarities  # (batch, votes)
        score: np.ndarray = nearest.mean(axis=1)
        return score

    def matches(self, queries: np.ndarray, threshold: float = 0.7) -> np.ndarray:
        """Whether the score of each query is above the threshold: (batch,) of bools."""
        threshold = check_number("threshold", threshold, least=-1)
        return self.score(queries) > threshold

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the memory to a safetensors file; OSError when it cannot be written.

        ValueError when `load` would refuse the file, because `vectors` was changed to a wrong
        value; then the old file stays.
        """
        write_index(path, KIND, {}, {"vectors": self.vectors}, type(self).load)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> NeighborMemory:
        """The memory in a file; its vectors are memory-mapped.

        ModelFileError unless the file is whole and its vectors have length 1 at most.
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
