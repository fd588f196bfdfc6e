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
from numpy_infer.search.beam_search import Beam, beam_search
from numpy_infer.search.exact_search import nearest_by_all_distances
from numpy_infer.search.index_file import damaged, read_index, write_index
from numpy_infer.search.points import check_magnitudes, check_points
from numpy_infer.search.row_distances import row_distances
from numpy_infer.search.series import Series, as_series, longer
from numpy_infer.search.small_world_graph import SmallWorldGraph
from numpy_infer.search.small_world_snapshot import Snapshot
from numpy_infer.search.time_warping import time_warping_distances
from numpy_infer.support.checks import (
    check_choice,
    check_count,
    check_dtype,
    check_floating,
    check_not_empty,
    check_width,
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
        self.channels = check_count("channels", channels)
        if channels != 1:  # the files of one channel stay what they were
            if metric != "dtw":
                raise ValueError(f"channels: expected 1 for the metric {metric}, got {channels}")
            self.config["channels"] = channels
        self.metric = metric
        self.band = band
        self.width = width
        self.seed = seed
        none = Series(np.zeros((0, dim * channels), dtype), np.zeros(0, np.int64))
        self._now = Snapshot(none, SmallWorldGraph.empty(degree, dtype))
        self._lock = AdditionLock()

    @property
    def points(self) -> np.ndarray:
        """(n, dim), or of several channels (n, dim, channels); 0 behind the end of a series."""
        return self._shaped(self._now.points)

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
        series = self._series("points", points, lengths)
        with self._lock:
            n = len(self)
            order = np.random.default_rng([self.seed, n]).permutation(len(series)) + n
            every = self._now.series.followed_by(series)

            def pairs(i: np.ndarray, j: np.ndarray) -> np.ndarray:
                return self._paired(every[i], every[j])

            width = min(self.width, max(NARROW, math.isqrt(len(every) * self._work)))
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
        series = self._series("queries", queries, lengths)
        now = self._now
        n = len(now.points)
        k = check_count("k", k, most=n)
        width = max(check_count("width", self.width if width is None else width), k)
        if width > NARROW and width**2 > n * self._work:
            return self._nearest(now, series, k)
        blocks = []
        for start in range(0, len(series), ROWS):
            beam = self._beam(now, series[start : start + ROWS], min(width, n))
            blocks.append((*now.nearest(beam, k), beam.evaluations))
        return Found(*map(np.concatenate, zip(*blocks, strict=True)))

    def exact_search(
        self,
        queries: np.ndarray | Sequence[np.ndarray],
        k: int,
        *,
        lengths: np.ndarray | None = None,
    ) -> Found:
        """The k nearest points, from all distances; arguments and errors as for `search`."""
        series = self._series("queries", queries, lengths)
        now = self._now
        k = check_count("k", k, most=len(now.points))
        return self._nearest(now, series, k)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the index to a safetensors file; OSError when it cannot be written.

        ValueError when `load` would refuse the file, because an array was changed to a wrong
        value; then the old file stays.
        """
        now = self._now
        arrays = {"points": now.points, **now.graph.arrays()}
        if (now.series.lengths != self._dim).any():
            arrays["steps"] = now.series.lengths
        write_index(path, KIND, self.config, arrays, type(self).load)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> SmallWorldIndex:
        """The index in a file; its arrays are memory-mapped.

        ModelFileError unless the file is whole and the links lead to every point.
        """
        try:
            names = ("points", *SmallWorldGraph.NAMES)
            config, arrays = read_index(path, KIND, names, ("steps",))
            points, lengths = arrays.pop("points"), arrays.pop("steps", None)
            check_floating("points", points, ndim=2)
            channels = check_count("channels", config.get("channels", 1))
            if points.shape[1] % channels:
                raise ValueError(f"points: expected {channels} channels, got shape {points.shape}")
            dim = points.shape[1] // channels
            index = cls(dim, dtype=str(points.dtype), **config)
            check_magnitudes("points", points)
            series = Series(points, np.full(len(points), dim, np.int64))
            if lengths is not None:
                cut = index._padded(as_series("points", index._shaped(points), lengths, "steps"))
                if index.metric != "dtw" or not np.array_equal(cut.values, points):
                    raise ValueError("points: expected 0 behind the ends of series, got others")
                series = Series(points, cut.lengths)
            if config != index.config:
                raise ValueError(f"config: expected {', '.join(index.config)}, got {config!r:.99}")
            graph = SmallWorldGraph(**arrays)
            graph.check(len(points), config["degree"], points.dtype)
        except (TypeError, ValueError) as error:
            raise damaged(path, error) from error
        index._now = Snapshot(series, graph)
        return index

    @property
    def _dim(self) -> int:
        """The largest number of steps of a series, or the width of the points."""
        return int(self._now.points.shape[1] // self.channels)

    def _series(
        self, name: str, x: np.ndarray | Sequence[np.ndarray], lengths: np.ndarray | None
    ) -> Series:
        """Points or queries as rows, (n, dim · channels), with their lengths, checked."""
        if self.metric != "dtw":
            if lengths is not None:
                raise ValueError("lengths: expected None for the metric euclidean, got lengths")
            check_floating(name, x, ndim=2)  # type: ignore[arg-type]
            series = Series(np.asarray(x), np.full(len(x), self._dim))
            check_points(name, series.values, self._now.points)
        else:
            series = as_series(name, x, lengths)
            _, time, channels = series.values.shape
            if channels != self.channels:
                raise ValueError(f"{name}: expected {self.channels} channels, got {channels}")
            if isinstance(x, np.ndarray) and lengths is None:
                check_width(name, series.values[:, :, 0], self._dim)
            elif time > self._dim and name == "points":
                raise ValueError(f"{name}: expected up to {self._dim} steps, got {time}")
            check_dtype(name, series.values, self._now.points.dtype)
            check_not_empty(name, series.values)
            series = self._padded(series)
        check_magnitudes(name, series.values)
        return series

    def _padded(self, series: Series) -> Series:
        """Series of (time, channels) as rows of dim · channels, or more."""
        values = longer(series.values, max(self._dim, series.values.shape[1]))
        return Series(values.reshape(len(values), -1), series.lengths)

    def _shaped(self, rows: np.ndarray) -> np.ndarray:
        """Rows, (n, dim · channels), as (n, dim), or of several channels (n, dim, channels)."""
        if self.channels == 1:
            return rows
        return rows.reshape(len(rows), rows.shape[1] // self.channels, self.channels)

    @property
    def _work(self) -> int:
        """How many steps one distance takes."""
        dim = self._dim
        steps = dim * min(2 * self.band + 1, dim) if self.metric == "dtw" else dim
        return steps * self.channels

    def _beam(self, now: Snapshot, queries: Series, width: int) -> Beam:
        def measure(rows: np.ndarray, points: np.ndarray) -> np.ndarray:
            return self._paired(queries[rows], now.series[points])

        near = now.graph.near_hubs(len(queries), measure)
        return beam_search(now.graph.links, measure, now.graph.hubs, near, width)

    def _nearest(self, now: Snapshot, queries: Series, k: int) -> Found:
        nearest = nearest_by_all_distances(now.series, queries, k, self._paired)
        return Found(*nearest, np.full(len(queries), len(now.points)))

    def _paired(self, x: Series, y: Series) -> np.ndarray:
        """The distance of row i of x and row i of y."""
        if self.metric != "dtw":
            return row_distances(x.values, y.values)
        whole = x.values.shape == y.values.shape and all(
            (one.lengths == self._dim).all() for one in (x, y)
        )
        lengths = {} if whole else {"x_lengths": x.lengths, "y_lengths": y.lengths}
        rows = self._shaped(x.values), self._shaped(y.values)
        return time_warping_distances(*rows, **lengths, band=self.band)
