"""Approximate nearest neighbours by walking through a navigable small world graph.

Each point is linked to near ones in different directions, and these are linked back to it. A
search starts at about 2.5 · √n hubs, points that cover the others well, and follows the links.

Sources: Malkov, Ponomarenko, Logvinov, Krylov 2014; seed topic, small world graphs for UCR time
series.
"""

from __future__ import annotations

import os
from typing import Any, NamedTuple

import numpy as np

from numpy_infer.beam_search import Beam, beam_search
from numpy_infer.checks import (
    check_choice,
    check_count,
    check_dtype,
    check_finite,
    check_floating,
    check_not_empty,
    check_width,
)
from numpy_infer.index_file import damaged, read_index, write_index
from numpy_infer.small_world_graph import SmallWorldGraph
from numpy_infer.time_warping import time_warping_distances

METRICS = ("euclidean", "dtw")
DTYPES = ("float32", "float64")
KIND = "small_world_index"
ROWS = 256  # queries in step


class Found(NamedTuple):
    """indices: (batch, k) int64, the nearest first, and distances: (batch, k).

    evaluations: (batch,) int64, how many distances were computed for each query.
    """

    indices: np.ndarray
    distances: np.ndarray
    evaluations: np.ndarray


class SmallWorldIndex:
    """Points, (n, dim), in the order in which they were added, and a graph on them.

    metric: euclidean, or dtw: time warping within a band, for series of length dim. degree: the
    most links of a point. width: of the beam; wider takes longer and finds more. seed: of the
    order in which points that are added together enter the graph. All are whole numbers.
    """

    def __init__(
        self,
        dim: int,
        *,
        metric: str = "euclidean",
        band: int = 0,
        degree: int = 24,
        width: int = 48,
        seed: int = 0,
        dtype: str = "float32",
    ) -> None:
        dim = check_count("dim", dim)
        check_choice("metric", metric, METRICS)
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
        self.points = np.zeros((0, dim), dtype)
        self.graph = SmallWorldGraph.empty(degree, dtype)

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
        order = np.random.default_rng([self.seed, len(self)]).permutation(len(points)) + len(self)
        self.points = np.concatenate([self.points, points])
        self.graph.enter(order, self._between, self.width)

    def search(self, queries: np.ndarray, k: int, *, width: int | None = None) -> Found:
        """About the k nearest points of each query, (batch, dim); of tied ones the lower index.

        width: of the beam, instead of the index's; at least k. ValueError for k outside 1..n or
        queries that are not finite, TypeError for another dtype than the index's.
        """
        self._check("queries", queries)
        k = check_count("k", k, most=len(self))
        width = max(check_count("width", self.width if width is None else width), k)
        found = []
        for start in range(0, len(queries), ROWS):
            part = queries[start : start + ROWS]
            beam = self._beam(part, width)
            rows = np.arange(len(part))[:, None]
            order = np.lexsort((beam.points, beam.distances), axis=1)[:, :k]
            found.append((beam.points[rows, order], beam.distances[rows, order], beam.evaluations))
        return Found(*map(np.concatenate, zip(*found, strict=True)))

    def exact_search(self, queries: np.ndarray, k: int) -> Found:
        """The k nearest points, from all distances; arguments and errors as for `search`."""
        self._check("queries", queries)
        k = check_count("k", k, most=len(self))
        indices = np.empty((len(queries), k), np.int64)
        distances = np.empty((len(queries), k), queries.dtype)
        for row, query in enumerate(queries):  # one step of n pairs each
            to_all = self._paired(np.broadcast_to(query, self.points.shape), self.points)
            indices[row] = to_all.argsort(kind="stable")[:k]
            distances[row] = to_all[indices[row]]
        return Found(indices, distances, np.full(len(queries), len(self)))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the index to a safetensors file; OSError when it cannot be written."""
        arrays = {"points": self.points, **self.graph.arrays()}
        write_index(path, KIND, self.config, arrays)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> SmallWorldIndex:
        """The index in a file, whose arrays stay there and are read when they are used.

        ModelFileError for anything but a whole file of an index, whose links lead to its points.
        """
        try:
            config, arrays = read_index(path, KIND, ("points", *SmallWorldGraph.NAMES))
            points = arrays.pop("points")
            check_floating("points", points, ndim=2)
            check_finite("points", points)
            index = cls(points.shape[1], dtype=str(points.dtype), **config)
            if config != index.config:
                raise ValueError(f"config: expected {', '.join(index.config)}, got {config!r:.99}")
            index.graph = SmallWorldGraph(**arrays)
            index.graph.check(len(points), config["degree"], points.dtype)
        except (TypeError, ValueError) as error:
            raise damaged(path, error) from error
        index.points = points
        return index

    def _check(self, name: str, x: np.ndarray) -> None:
        check_floating(name, x, ndim=2)
        check_dtype(name, x, self.points.dtype)
        check_width(name, x, self.points.shape[1])
        check_not_empty(name, x)
        check_finite(name, x)

    def _beam(self, queries: np.ndarray, width: int) -> Beam:
        def measure(rows: np.ndarray, points: np.ndarray) -> np.ndarray:
            return self._paired(queries[rows], self.points[points])

        near = self.graph.near_hubs(len(queries), measure)
        return beam_search(self.graph.links, measure, self.graph.hubs, near, width)

    def _between(self, i: np.ndarray, j: np.ndarray) -> np.ndarray:
        return self._paired(self.points[i], self.points[j])

    def _paired(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """The distance of row i of x and row i of y."""
        if self.metric == "dtw":
            return time_warping_distances(x, y, band=self.band)
        difference = x - y
        difference *= difference
        return np.sqrt(difference.sum(axis=1))
