"""A memory of unit vectors that finds the nearest ones, exactly.

    cosines     query · vector, both of length 1; the k largest are the nearest neighbors
    score       mean of the largest cosines of a query, as many as there are votes
    match       score > threshold
    label       what most of the voting neighbors have, when the score is above the threshold

So a speaker encoder, a memory of a speaker's voice and a threshold are a classifier; with labels it
tells several speakers apart.
"""

from __future__ import annotations

import os
from typing import NamedTuple

import numpy as np

from numpy_infer.distances import l2_normalize
from numpy_infer.evaluation import Threshold
from numpy_infer.search.addition_lock import AdditionLock
from numpy_infer.search.growing_rows import appended
from numpy_infer.search.index_file import damaged
from numpy_infer.search.neighbor_file import DTYPES, read_neighbors, write_neighbors
from numpy_infer.search.neighbor_votes import (
    Neighbors,
    cosine_threshold,
    elected_labels,
    mean_cosines,
    nearest_vectors,
    voting_vectors,
)
from numpy_infer.search.points import (
    check_indices,
    check_labels_alike,
    check_point_labels,
    check_points,
)
from numpy_infer.support.checks import check_choice, check_count, check_number

__all__ = ["Classified", "NeighborMemory", "Neighbors"]
KIND = "neighbor_memory"
VOTES = 5
THRESHOLD = 0.7
DEFAULTS = {"votes": VOTES, "threshold": THRESHOLD}
NONE = -1  # the label of a query whose score is not above the threshold


class Classified(NamedTuple):
    """The label of each query, and how sure it is."""

    labels: np.ndarray  # (batch,) int64, −1 where the score is not above the threshold
    scores: np.ndarray  # (batch,), mean cosines of the voting neighbors


class NeighborMemory:
    """Unit vectors, `vectors`, (n, dim), in the order in which they were added.

    All of them have a label, an integer from 0 up, or none has: `labels`, (n,) int64 or None.

    Args:
        dim: width of the vectors.
        dtype: "float32" or "float64", of all vectors and queries.
        votes: how many nearest neighbors make a score and a label; all when there are fewer.
        threshold: of a match, at least −1; `calibrate` finds one.
    Threads may search while others add or remove: a search sees the memory before or after such a
    change, and changes run one after the other. A change that fails changes nothing.
    Example:
        >>> memory = NeighborMemory(2, dtype="float64")
        >>> memory.add(np.array([[2.0, 0.0], [0.0, 3.0]]))
        >>> memory.search(np.array([[0.0, 1.0]]), k=1).indices
        array([[1]])
    """

    def __init__(
        self,
        dim: int,
        *,
        dtype: str = "float32",
        votes: int = VOTES,
        threshold: float = THRESHOLD,
    ) -> None:
        dim = check_count("dim", dim)
        check_choice("dtype", str(dtype), DTYPES)
        self.votes = check_count("votes", votes)
        self.threshold = check_number("threshold", threshold, least=-1)
        self.vectors = np.zeros((0, dim), dtype)
        self.labels: np.ndarray | None = None
        self._room, self._label_room = self.vectors, np.zeros(0, np.int64)
        self._lock = AdditionLock()

    def __len__(self) -> int:
        return len(self.vectors)

    def add(self, vectors: np.ndarray, labels: np.ndarray | None = None) -> None:
        """Add vectors, (n, dim), finite; each is scaled to length 1 by `l2_normalize`.

        labels: (n,) integers from 0 up, or None, as for all vectors before. A zero vector stays
        zero.
        """
        check_points("vectors", vectors, self.vectors)
        if labels is not None:
            check_point_labels("labels", labels, len(vectors))
        unit = l2_normalize(vectors)
        with self._lock:
            if len(self):
                check_labels_alike("labels", labels, self.labels)
            rooms = appended(self._room, self.vectors, unit)
            if labels is not None:
                old = self._label_room[:0] if self.labels is None else self.labels
                self._label_room, self.labels = appended(self._label_room, old, labels)
            self._room, self.vectors = rooms

    def remove(self, indices: np.ndarray) -> None:
        """Remove the vectors at these indices, (m,) integers in 0..n−1, and their labels.

        Those that stay keep their order and move up: their indices change.
        """
        with self._lock:
            check_indices("indices", indices, len(self))
            # New arrays: a search that runs now goes on in the old ones.
            vectors = np.delete(self.vectors, indices, axis=0)
            if self.labels is not None:
                labels = np.delete(self.labels, indices)
                self._label_room, self.labels = labels, labels if len(labels) else None
            self._room = self.vectors = vectors

    def search(self, queries: np.ndarray, k: int) -> Neighbors:
        """The k vectors with the largest cosines for each query, (batch, dim).

        Ties go to the lower index. ValueError for k outside 1..n or queries that are not finite,
        TypeError for another dtype than the memory's.
        """
        check_points("queries", queries, self.vectors)
        return nearest_vectors(self.vectors, queries, k)

    def score(self, queries: np.ndarray) -> np.ndarray:
        """Mean cosine of the `votes` nearest vectors, or of all when there are fewer: (batch,)."""
        return mean_cosines(voting_vectors(self.vectors, queries, self.votes))

    def matches(self, queries: np.ndarray, threshold: float | None = None) -> np.ndarray:
        """Whether the score of each query is above the threshold: (batch,) of bools.

        threshold: the memory's when None.
        """
        return self.score(queries) > self._checked(threshold)

    def classify(self, queries: np.ndarray, *, threshold: float | None = None) -> Classified:
        """The label that most of each query's `votes` nearest vectors have.

        Of labels with equally many votes the one with the larger sum of cosines wins, then the
        lower one. threshold: the memory's when None. ValueError for a memory without labels.
        """
        threshold = self._checked(threshold)
        with self._lock:  # both of one moment
            vectors, known = self.vectors, self.labels
        if known is None:
            raise ValueError("queries: expected a memory with labels, got one without")
        voting = voting_vectors(vectors, queries, self.votes)
        scores = mean_cosines(voting)
        labels = elected_labels(known[voting.indices], voting.similarities)
        return Classified(np.where(scores > threshold, labels, NONE), scores)

    def calibrate(
        self, queries: np.ndarray, positives: np.ndarray, *, false_alarm_rate: float | None = None
    ) -> Threshold:
        """Set the memory's threshold by queries that are known to match or not.

        positives: (batch,) bool. The threshold is the one with the largest F1, or with
        false_alarm_rate, 0..1, the lowest that accepts at most this share of the others.
        Returns it with its precision, recall and rate of false alarms on these queries.
        """
        found = cosine_threshold(self.score(queries), positives, false_alarm_rate)
        self.threshold = found.threshold
        return found

    def _checked(self, threshold: float | None) -> float:
        return check_number(
            "threshold", self.threshold if threshold is None else threshold, least=-1
        )

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the memory to a safetensors file; OSError when it cannot be written.

        ValueError when `load` would refuse the file, because `vectors` was changed to a wrong
        value; then the old file stays.
        """
        with self._lock:
            arrays = {"vectors": self.vectors}
            if self.labels is not None:
                arrays["labels"] = self.labels
        config = {"votes": self.votes, "threshold": self.threshold}
        write_neighbors(path, KIND, config, DEFAULTS, arrays, type(self).load)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> NeighborMemory:
        """The memory in a file; its vectors are memory-mapped.

        ModelFileError unless the file is whole and its vectors have length 1 at most.
        """
        try:
            config, vectors, labels = read_neighbors(path, KIND, DEFAULTS)
            memory = cls(vectors.shape[1], dtype=str(vectors.dtype), **config)
        except (TypeError, ValueError) as error:
            raise damaged(path, error) from error
        memory.vectors = memory._room = vectors
        if labels is not None:
            memory.labels = memory._label_room = labels
        return memory
