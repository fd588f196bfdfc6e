"""A small world index at one moment: what a search reads while other threads add points.

An addition makes a new one and puts it in the place of the last. So a search that has begun goes on
with the points and links that it began with, and an addition that fails leaves no trace.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np

from numpy_infer.search.beam_search import Beam
from numpy_infer.search.small_world_graph import SmallWorldGraph


class Moment:
    """The points and the graph of an index between two additions: nothing in it changes."""

    def __init__(self, points: np.ndarray, graph: SmallWorldGraph) -> None:
        self.points = points
        self.graph = graph

    @cached_property
    def duplicates(self) -> dict[int, np.ndarray]:
        """For each point that equals another one, the indices of all its equals, ascending."""
        rows = np.ascontiguousarray(self.points + 0)  # −0 is 0
        keys = rows.view(np.dtype((np.void, rows.dtype.itemsize * rows.shape[1]))).ravel()
        _, kinds, counts = np.unique(keys, return_inverse=True, return_counts=True)
        if len(counts) == len(keys):
            return {}
        order, ends = kinds.argsort(kind="stable"), np.cumsum(counts)
        groups = [order[ends[one] - counts[one] : ends[one]] for one in np.flatnonzero(counts > 1)]
        return {one: group for group in groups for one in group.tolist()}

    def nearest(self, beam: Beam, k: int) -> tuple[np.ndarray, np.ndarray]:
        """The k nearest points of each query in its beam, and their distances, (batch, k).

        Not all equals of a point need be in the beam: they are looked up.
        """
        rows = np.arange(len(beam.points))[:, None]
        order = np.lexsort((beam.points, beam.distances), axis=1)
        points, distances = beam.points[rows, order], beam.distances[rows, order]
        if self.duplicates:
            for row in range(len(points)):
                self._replace_by_lower(points[row], distances[row], k)
        return points[:, :k], distances[:, :k]

    def _replace_by_lower(self, points: np.ndarray, distances: np.ndarray, k: int) -> None:
        """One query's k nearest, in place, among its beam and the equals of what is in that."""
        found = dict(zip(points.tolist(), distances.tolist(), strict=True))
        groups = {id(self.duplicates[one]): one for one in found if one in self.duplicates}
        for one in groups.values():
            found |= dict.fromkeys(self.duplicates[one][:k].tolist(), found[one])
        every = np.array(list(found))
        to_each = np.array(list(found.values()), distances.dtype)
        order = np.lexsort((every, to_each))[:k]
        points[:k], distances[:k] = every[order], to_each[order]
