"""Approximate nearest neighbours by walking through a navigable small world graph.

Each point is linked to near ones in different directions, and these are linked back to it. A
search starts at about 2.5 · √n hubs, points that cover the others well, and follows the links.

Sources: Malkov, Ponomarenko, Logvinov, Krylov 2014; seed topic, small world graphs for UCR time
series.
"""

from __future__ import annotations

import math
import os
from typing import Any, NamedTuple

import numpy as np

from numpy_infer.search.beam_search import Beam, beam_search
from numpy_infer.search.index_file import damaged, read_index, write_index
from numpy_infer.search.row_distances import row_distances
from numpy_infer.search.small_world_graph import SmallWorldGraph
from numpy_infer.search.small_world_moment import Moment
from numpy_infer.search.time_warping import PAIRS, time_warping_distances
from numpy_infer.search.turn import Turn
from numpy_infer.support.checks import (
    check_choice,
    check_count,
    check_dtype,
    check_finite,
    check_floating,
    check_not_empty,
    check_width,
)

METRICS = ("euclidean", "dtw")
DTYPES = ("float32", "float64")
KIND = "small_world_index"
ROWS = 256  # queries in step
NARROW = 256  # a beam of so many points is walked, whatever it takes


class Found(NamedTuple):
    """indices: (batch, k) int64, the nearest first, and distances: (batch, k).

    evaluations: (batch,) int64, how many distances were computed for each query.
    """

    indices: np.ndarray
    distances: np.ndarray
    evaluations: np.ndarray


class SmallWorldIndex:
    """Points, (n, dim), in the order in which they were added, and a graph on them.

    metric: euclidean, or dtw: time warping within a band, for series of length dim, which has no
    default: 0 would be the Euclidean distance. degree: the most links of a point. width: of the
    beam; wider takes longer and finds more. seed: of the order in which points that are added
    together enter the graph. All are whole numbers.

    Threads may search while others add: a search sees the index before an addition or after it,
    and additions wait for one another. An addition that fails changes nothing.
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
        self._now = Moment(np.zeros((0, dim), dtype), SmallWorldGraph.empty(degree, dtype))
        self._turn = Turn()

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
        with self._turn:
            n = len(self)
            order = np.random.default_rng([self.seed, n]).permutation(len(points)) + n
            every = np.concatenate([self.points, points])

            def pairs(i: np.ndarray, j: np.ndarray) -> np.ndarray:
                return self._paired(every[i], every[j])

            width = min(self.width, max(NARROW, math.isqrt(len(every) * self._work)))
            self._now = Moment(every, self.graph.grown(order, pairs, width))

    def search(self, queries: np.ndarray, k: int, *, width: int | None = None) -> Found:
        """About the k nearest points of each query, (batch, dim); of tied ones the lower index.

        width: of the beam, instead of the index's; at least k. Where it is so wide that a walk
        would take longer than to look at all points, that is done. ValueError for k outside 1..n
        or queries that are not finite, TypeError for another dtype than the index's.
        """
        self._check("queries", queries)
        now = self._now
        n = len(now.points)
        k = check_count("k", k, most=n)
        width = max(check_count("width", self.width if width is None else width), k)
        if width > NARROW and width**2 > n * self._work:
            return self._nearest(now, queries, k)
        found = []
        for start in range(0, len(queries), ROWS):
            beam = self._beam(now, queries[start : start + ROWS], min(width, n))
            found.append((*now.nearest(beam, k), beam.evaluations))
        return Found(*map(np.concatenate, zip(*found, strict=True)))

    def exact_search(self, queries: np.ndarray, k: int) -> Found:
        """The k nearest points, from all distances; arguments and errors as for `search`."""
        self._check("queries", queries)
        now = self._now
        k = check_count("k", k, most=len(now.points))
        return self._nearest(now, queries, k)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the index to a safetensors file; OSError when it cannot be written.

        ValueError when `load` would refuse it, because it was changed; then the old file stays.
        """
        now = self._now
        arrays = {"points": now.points, **now.graph.arrays()}
        write_index(path, KIND, self.config, arrays, type(self).load)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> SmallWorldIndex:
        """The index in a file, whose arrays stay there and are read when they are used.

        ModelFileError for anything but a whole file of an index, whose links lead to its points.
        """
        try:
            config, arrays = read_index(path, KIND, ("points", *SmallWorldGraph.NAMES))
            points = arrays.pop("points")
            check_floating("points", points, ndim=2)
            index = cls(points.shape[1], dtype=str(points.dtype), **config)
            index._check_numbers("points", points)
            if config != index.config:
                raise ValueError(f"config: expected {', '.join(index.config)}, got {config!r:.99}")
            graph = SmallWorldGraph(**arrays)
            graph.check(len(points), config["degree"], points.dtype)
        except (TypeError, ValueError) as error:
            raise damaged(path, error) from error
        index._now = Moment(points, graph)
        return index

    def _check(self, name: str, x: np.ndarray) -> None:
        check_floating(name, x, ndim=2)
        check_dtype(name, x, self.points.dtype)
        check_width(name, x, self.points.shape[1])
        check_not_empty(name, x)
        self._check_numbers(name, x)

    def _check_numbers(self, name: str, x: np.ndarray) -> None:
        """Finite, and so far from the largest numbers that all distances are finite too."""
        check_finite(name, x)
        most = np.finfo(x.dtype).max / (4 * math.sqrt(x.shape[1]))
        if x.size and np.abs(x).max() > most:
            raise ValueError(
                f"{name}: expected numbers up to {most:.3g}, got {np.abs(x).max():.3g}"
            )

    @property
    def _work(self) -> int:
        """Steps of one distance."""
        dim = self.points.shape[1]
        return dim * min(2 * self.band + 1, dim) if self.metric == "dtw" else dim

    def _beam(self, now: Moment, queries: np.ndarray, width: int) -> Beam:
        def measure(rows: np.ndarray, points: np.ndarray) -> np.ndarray:
            return self._paired(queries[rows], now.points[points])

        near = now.graph.near_hubs(len(queries), measure)
        return beam_search(now.graph.links, measure, now.graph.hubs, near, width)

    def _nearest(self, now: Moment, queries: np.ndarray, k: int) -> Found:
        """From all distances, of some queries at a time where there are few points."""
        n = len(now.points)
        step = max(1, PAIRS // n)
        found = []
        for start in range(0, len(queries), step):
            part = queries[start : start + step]
            shape = (len(part), *now.points.shape)
            pairs = (np.broadcast_to(one, shape) for one in (part[:, None], now.points))
            to_all = self._paired(*(one.reshape(-1, shape[2]) for one in pairs)).reshape(shape[:2])
            indices = to_all.argsort(axis=1, kind="stable")[:, :k]
            found.append((indices, np.take_along_axis(to_all, indices, axis=1)))
        indices, distances = map(np.concatenate, zip(*found, strict=True))
        return Found(indices, distances, np.full(len(queries), n))

    def _paired(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """The distance of row i of x and row i of y."""
        if self.metric == "dtw":
            return time_warping_distances(x, y, band=self.band)
        return row_distances(x, y)
