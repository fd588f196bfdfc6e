"""Approximate nearest neighbors by a walk through a navigable small world graph.

Each point is linked to near points in different directions, and these are linked back to it. A
search starts at about 2.5 · √n hubs, points that are spread over all others, and follows the links.

Source: Malkov, Ponomarenko, Logvinov, Krylov (2014), Approximate nearest neighbor algorithm based
on navigable small world graphs.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from numpy_infer.search.addition_lock import AdditionLock
from numpy_infer.search.index_file import damaged, write_index
from numpy_infer.search.metric import Metric
from numpy_infer.search.series import as_series
from numpy_infer.search.small_world_file import read_small_world
from numpy_infer.search.small_world_graph import SmallWorldGraph
from numpy_infer.search.small_world_snapshot import Snapshot
from numpy_infer.support.checks import check_count, check_floating

KIND = "small_world_index"
NARROW = 256  # up to this width of the beam a search always walks


class Found(NamedTuple):
    """The k nearest points of each query, the nearest first, and what the search cost."""

    indices: np.ndarray  # (batch, k) int64
    distances: np.ndarray  # (batch, k)
    evaluations: np.ndarray  # (batch,) int64, how many distances were computed


class SmallWorldIndex:
    """Points, (n, dim), in the order in which they were added, and a graph on them.

    Args:
        dim: width of the points.
        metric: "euclidean", or "dtw": dynamic time warping of series of length dim.
        band: how many steps the clocks of two series may differ; only for "dtw", where it has no
            default (0 would be the Euclidean distance).
        degree: the largest number of links of a point, at least 2.
        width: of the beam of a search; a wider one takes longer and finds more.
        seed: of the order in which points that are added together enter the graph.
        dtype: "float32" or "float64", of all points and queries.
        channels: of a series, for "dtw"; dim is then the largest number of steps.
    For "dtw" points and queries may be series of different lengths: a list of (time,) or
    (time, channels) arrays, or an array, (n, time) or (n, time, channels), with lengths. Those of
    points are up to dim.
    Threads may search while others add: a search sees the index before or after an addition, and
    additions run one after the other. An addition that fails changes nothing.
    Example:
        >>> index = SmallWorldIndex.build(np.array([[0.0, 0.0], [3.0, 0.0], [0.0, 4.0]]))
        >>> index.search(np.array([[0.0, 3.0]]), k=2).indices
        array([[2, 0]])
    """

    def __init__(
        self,
        dim: int,
        *,
        metric: str = "euclidean",
        band: int | None = None,
        degree: int = 24,
        width: int = 48,
        seed: int = 0,
        dtype: str = "float32",
        channels: int = 1,
    ) -> None:
        self._metric = Metric.checked(metric, band, dim, channels, dtype)
        self.metric, self.band, self.channels = metric, self._metric.band, self._metric.channels
        self.width = check_count("width", width)
        self.seed = check_count("seed", seed, least=0)
        degree = check_count("degree", degree, least=2)
        self.config = {
            "metric": metric,
            "band": self.band,
            "degree": degree,
            "width": self.width,
            "seed": self.seed,
        }
        if self.channels != 1:  # the files of one channel stay what they were
            self.config["channels"] = self.channels
        self._now = Snapshot(self._metric.empty, SmallWorldGraph.empty(degree, dtype))
        self._lock = AdditionLock()

    @property
    def points(self) -> np.ndarray:
        """(n, dim), or of several channels (n, dim, channels); 0 behind the end of a series."""
        return self._metric.shaped(self._now.points)

    @property
    def lengths(self) -> np.ndarray:
        """(n,) int64, the number of steps of each series; dim for points."""
        return self._now.series.lengths

    @property
    def graph(self) -> SmallWorldGraph:
        """The links between the points."""
        return self._now.graph

    @classmethod
    def build(
        cls,
        points: np.ndarray | Sequence[np.ndarray],
        *,
        lengths: np.ndarray | None = None,
        **options: Any,
    ) -> SmallWorldIndex:
        """The index of these points, (n, dim), or series; options as for the constructor."""
        if isinstance(points, np.ndarray):
            check_floating("points", points, ndim=3 if points.ndim == 3 else 2)
        given = as_series("points", points, lengths).values
        if given.shape[2] != 1:
            options = {"channels": given.shape[2], **options}
        index = cls(given.shape[1], dtype=str(given.dtype), **options)
        index.add(points, lengths=lengths)
        return index

    def __len__(self) -> int:
        return len(self._now.points)

    def add(
        self, points: np.ndarray | Sequence[np.ndarray], *, lengths: np.ndarray | None = None
    ) -> None:
        """points: (n, dim), finite, of the index's dtype; their indices go on from the last one.

        Or series, if need be with their lengths, (n,).
        """
        series = self._metric.rows("points", points, lengths)
        with self._lock:
            n = len(self)
            order = np.random.default_rng([self.seed, n]).permutation(len(series)) + n
            every = self._now.series.followed_by(series)

            def pairs(i: np.ndarray, j: np.ndarray) -> np.ndarray:
                return self._metric.paired(every[i], every[j])

            width = min(self.width, max(NARROW, math.isqrt(len(every) * self._metric.work)))
            self._now = Snapshot(every, self.graph.grown(order, pairs, width))

    def search(
        self,
        queries: np.ndarray | Sequence[np.ndarray],
        k: int,
        *,
        width: int | None = None,
        lengths: np.ndarray | None = None,
    ) -> Found:
        """Approximately the k nearest points of each query, (batch, dim). Ties: the lower index.

        lengths: of queries that are series, (batch,). width: of the beam, instead of the index's;
        at least k. With a beam so wide that a walk would take longer than all distances, all
        distances are computed. ValueError for k outside 1..n or queries that are not finite,
        TypeError for another dtype than the index's.
        """
        series = self._metric.rows("queries", queries, lengths)
        now = self._now
        n = len(now.points)
        k = check_count("k", k, most=n)
        width = max(check_count("width", self.width if width is None else width), k)
        if width > NARROW and width**2 > n * self._metric.work:
            return Found(*now.all_distances(series, k, self._metric.paired))
        return Found(*now.walk(series, k, min(width, n), self._metric.paired))

    def exact_search(
        self,
        queries: np.ndarray | Sequence[np.ndarray],
        k: int,
        *,
        lengths: np.ndarray | None = None,
    ) -> Found:
        """The k nearest points, from all distances; arguments and errors as for `search`."""
        series = self._metric.rows("queries", queries, lengths)
        now = self._now
        k = check_count("k", k, most=len(now.points))
        return Found(*now.all_distances(series, k, self._metric.paired))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the index to a safetensors file; OSError when it cannot be written.

        ValueError when `load` would refuse the file, because an array was changed to a wrong
        value; then the old file stays.
        """
        now = self._now
        arrays = {"points": now.points, **now.graph.arrays()}
        if (now.series.lengths != self._metric.dim).any():
            arrays["steps"] = now.series.lengths
        write_index(path, KIND, self.config, arrays, type(self).load)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> SmallWorldIndex:
        """The index in a file; its arrays are memory-mapped.

        ModelFileError unless the file is whole and the links lead to every point.
        """
        try:
            dim, config, points, lengths, graph = read_small_world(path, KIND)
            index = cls(dim, dtype=str(points.dtype), **config)
            series = index._metric.stored(points, lengths)
            if config != index.config:
                raise ValueError(f"config: expected {', '.join(index.config)}, got {config!r:.99}")
            graph.check(len(points), config["degree"], points.dtype)
        except (TypeError, ValueError) as error:
            raise damaged(path, error) from error
        index._now = Snapshot(series, graph)
        return index
