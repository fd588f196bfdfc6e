"""Approximate nearest neighbors by a walk through a navigable small world graph.

Each point is linked to near points in different directions, and these are linked back to it. A
search starts at about 2.5 · √n hubs, points that are spread over all others, and follows the links.

Source: Malkov, Ponomarenko, Logvinov, Krylov (2014), Approximate nearest neighbor algorithm based
on navigable small world graphs.
"""

from __future__ import annotations

import math
import os
from typing import Any, NamedTuple

import numpy as np

from numpy_infer.search.addition_lock import AdditionLock
from numpy_infer.search.beam_search import Beam, beam_search
from numpy_infer.search.exact_search import nearest_by_all_distances
from numpy_infer.search.index_file import damaged, read_index, write_index
from numpy_infer.search.points import check_magnitudes, check_points
from numpy_infer.search.row_distances import row_distances
from numpy_infer.search.small_world_graph import SmallWorldGraph
from numpy_infer.search.small_world_snapshot import Snapshot
from numpy_infer.search.time_warping import time_warping_distances
from numpy_infer.support.checks import (
    check_choice,
    check_count,
    check_floating,
)

METRICS = ("euclidean", "dtw")
DTYPES = ("float32", "float64")
KIND = "small_world_index"
ROWS = 256  # queries that are searched together
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
    ) -> None:
        dim = check_count("dim", dim)
        check_choice("metric", metric, METRICS)
        if band is None:
            if metric == "dtw":
                raise ValueError("band: expected a whole number for the metric dtw, got None")
            band = 0
        band = check_count("band", band, least=0)
        degree = check_count("degree", degree, least=2)
        width = check_count("width", width)
        seed = check_count("seed", seed, least=0)
        check_choice("dtype", dtype, DTYPES)
        self.config = {
            "metric": metric,
            "band": band,
            "degree": degree,
            "width": width,
            "seed": seed,
        }
        self.metric = metric
        self.band = band
        self.width = width
        self.seed = seed
        self._now = Snapshot(np.zeros((0, dim), dtype), SmallWorldGraph.empty(degree, dtype))
        self._lock = AdditionLock()

    @property
    def points(self) -> np.ndarray:
        """(n, dim)."""
        return self._now.points

    @property
    def graph(self) -> SmallWorldGraph:
        """The links between the points."""
        return self._now.graph

    @classmethod
    def build(cls, points: np.ndarray, **options: Any) -> SmallWorldIndex:
        """The index of these points, (n, dim); options as for the constructor."""
        check_floating("points", points, ndim=2)
        index = cls(points.shape[1], dtype=str(points.dtype), **options)
        index.add(points)
        return index

    def __len__(self) -> int:
        return len(self.points)

    def add(self, points: np.ndarray) -> None:
        """points: (n, dim), finite, of the index's dtype; their indices go on from the last one."""
        self._check("points", points)
        with self._lock:
            n = len(self)
            order = np.random.default_rng([self.seed, n]).permutation(len(points)) + n
            every = np.concatenate([self.points, points])

            def pairs(i: np.ndarray, j: np.ndarray) -> np.ndarray:
                return self._paired(every[i], every[j])

            width = min(self.width, max(NARROW, math.isqrt(len(every) * self._work)))
            self._now = Snapshot(every, self.graph.grown(order, pairs, width))

    def search(self, queries: np.ndarray, k: int, *, width: int | None = None) -> Found:
        """Approximately the k nearest points of each query, (batch, dim). Ties: the lower index.

        width: of the beam, instead of the index's; at least k. With a beam so wide that a walk
        would take longer than all distances, all distances are computed. ValueError for k outside
        1..n or queries that are not finite, TypeError for another dtype than the index's.
        """
        self._check("queries", queries)
        now = self._now
        n = len(now.points)
        k = check_count("k", k, most=n)
        width = max(check_count("width", self.width if width is None else width), k)
        if width > NARROW and width**2 > n * self._work:
            return self._nearest(now, queries, k)
        blocks = []
        for start in range(0, len(queries), ROWS):
            beam = self._beam(now, queries[start : start + ROWS], min(width, n))
            blocks.append((*now.nearest(beam, k), beam.evaluations))
        return Found(*map(np.concatenate, zip(*blocks, strict=True)))

    def exact_search(self, queries: np.ndarray, k: int) -> Found:
        """The k nearest points, from all distances; arguments and errors as for `search`."""
        self._check("queries", queries)
        now = self._now
        k = check_count("k", k, most=len(now.points))
        return self._nearest(now, queries, k)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the index to a safetensors file; OSError when it cannot be written.

        ValueError when `load` would refuse the file, because an array was changed to a wrong
        value; then the old file stays.
        """
        now = self._now
        arrays = {"points": now.points, **now.graph.arrays()}
        write_index(path, KIND, self.config, arrays, type(self).load)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> SmallWorldIndex:
        """The index in a file; its arrays are memory-mapped.

        ModelFileError unless the file is whole and the links lead to every point.
        """
        try:
            config, arrays = read_index(path, KIND, ("points", *SmallWorldGraph.NAMES))
            points = arrays.pop("points")
            check_floating("points", points, ndim=2)
            index = cls(points.shape[1], dtype=str(points.dtype), **config)
            check_magnitudes("points", points)
            if config != index.config:
                raise ValueError(f"config: expected {', '.join(index.config)}, got {config!r:.99}")
            graph = SmallWorldGraph(**arrays)
            graph.check(len(points), config["degree"], points.dtype)
        except (TypeError, ValueError) as error:
            raise damaged(path, error) from error
        index._now = Snapshot(points, graph)
        return index

    def _check(self, name: str, x: np.ndarray) -> None:
        check_points(name, x, self.points)
        check_magnitudes(name, x)

    @property
    def _work(self) -> int:
        """How many steps one distance takes."""
        dim: int = self.points.shape[1]
        return dim * min(2 * self.band + 1, dim) if self.metric == "dtw" else dim

    def _beam(self, now: Snapshot, queries: np.ndarray, width: int) -> Beam:
        def measure(rows: np.ndarray, points: np.ndarray) -> np.ndarray:
            return self._paired(queries[rows], now.points[points])

        near = now.graph.near_hubs(len(queries), measure)
        return beam_search(now.graph.links, measure, now.graph.hubs, near, width)

    def _nearest(self, now: Snapshot, queries: np.ndarray, k: int) -> Found:
        nearest = nearest_by_all_distances(now.points, queries, k, self._paired)
        return Found(*nearest, np.full(len(queries), len(now.points)))

    def _paired(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """The distance of row i of x and row i of y."""
        if self.metric == "dtw":
            return time_warping_distances(x, y, band=self.band)
        return row_distances(x, y)
