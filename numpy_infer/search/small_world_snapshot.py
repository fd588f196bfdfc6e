"""The points and the graph of a small world index, which a search reads while other threads add.

An addition makes a new snapshot and replaces the last one by it. So a search keeps the points and
links that it began with, and an addition that fails changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

import numpy as np

from numpy_infer.search.beam_search import Beam, beam_search
from numpy_infer.search.exact_search import nearest_by_all_distances
from numpy_infer.search.series import Series
from numpy_infer.search.small_world_graph import SmallWorldGraph

ROWS = 256  # queries that are searched together

Paired = Callable[[Series, Series], np.ndarray]  # the distance of row i of one and row i of other


class Snapshot:
    """The points and the graph of an index between two additions. Nothing in it changes."""

    def __init__(self, series: Series, graph: SmallWorldGraph) -> None:
        self.series = series  # values (n, dim · channels)
        self.points = series.values
        self.graph = graph

    @cached_property
    def duplicates(self) -> dict[int, np.ndarray]:
        """For each point that occurs more than once, all indices of equal points, ascending."""
        rows = np.ascontiguousarray(self.points + 0)  # −0 is 0
        if (self.series.lengths != self.series.lengths[:1]).any():
            rows = np.column_stack([rows, self.series.lengths.astype(rows.dtype)])
        keys = rows.view(np.dtype((np.void, rows.dtype.itemsize * rows.shape[1]))).ravel()
        _, kinds, counts = np.unique(keys, return_inverse=True, return_counts=True)
        if len(counts) == len(keys):
            return {}
        order, ends = kinds.argsort(kind="stable"), np.cumsum(counts)
        groups = [order[ends[i] - counts[i] : ends[i]] for i in np.flatnonzero(counts > 1)]
        return {i: group for group in groups for i in group.tolist()}

    def walk(
        self, queries: Series, k: int, width: int, paired: Paired
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The k nearest points that a beam of this width finds for each query.

        Indices and distances, (batch, k), and the number of distances that it took, (batch,).
        """
        blocks = []
        for start in range(0, len(queries), ROWS):
            beam = self.beam(queries[start : start + ROWS], width, paired)
            blocks.append((*self.nearest(beam, k), beam.evaluations))
        indices, distances, evaluations = map(np.concatenate, zip(*blocks, strict=True))
        return indices, distances, evaluations

    def all_distances(
        self, queries: Series, k: int, paired: Paired
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The k nearest of all points of each query; the results as those of `walk`."""
        nearest = nearest_by_all_distances(self.series, queries, k, paired)
        return *nearest, np.full(len(queries), len(self.points))

    def beam(self, queries: Series, width: int, paired: Paired) -> Beam:
        """The beam of each query, where a walk from the hubs near it has ended."""

        def measure(rows: np.ndarray, points: np.ndarray) -> np.ndarray:
            return paired(queries[rows], self.series[points])

        near = self.graph.near_hubs(len(queries), measure)
        return beam_search(self.graph.links, measure, self.graph.hubs, near, width)

    def nearest(self, beam: Beam, k: int) -> tuple[np.ndarray, np.ndarray]:
        """The k nearest points of each query in its beam, and their distances, (batch, k).

        Of equal points the beam may have reached only some: the rest is looked up, so that the
        lower index wins.
        """
        rows = np.arange(len(beam.points))[:, None]
        order = np.lexsort((beam.points, beam.distances), axis=1)
        points, distances = beam.points[rows, order], beam.distances[rows, order]
        if self.duplicates:
            for row in range(len(points)):
                self._replace_by_lower(points[row], distances[row], k)
        return points[:, :k], distances[:, :k]

    def _replace_by_lower(self, points: np.ndarray, distances: np.ndarray, k: int) -> None:
        """Overwrite one query's k nearest: of its beam, and of all points equal to those in it."""
        found = dict(zip(points.tolist(), distances.tolist(), strict=True))
        groups = {id(self.duplicates[i]): i for i in found if i in self.duplicates}
        for i in groups.values():
            found |= dict.fromkeys(self.duplicates[i][:k].tolist(), found[i])
        every = np.array(list(found))
        to_each = np.array(list(found.values()), distances.dtype)
        order = np.lexsort((every, to_each))[:k]
        points[:k], distances[:k] = every[order], to_each[order]
