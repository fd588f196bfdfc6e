"""How an index compares what it holds: points, or series, as rows, and the distances of rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from numpy_infer.search.points import check_magnitudes, check_points
from numpy_infer.search.row_distances import row_distances
from numpy_infer.search.series import Series, as_series, longer
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


@dataclass(frozen=True)
class Metric:
    """Euclidean distances of points, (n, dim), or time warping of series, (n, dim, channels).

    Both are held as rows, (n, dim · channels), which are 0 behind the end of a series.
    """

    name: str
    band: int
    dim: int  # the width of the points, or the largest number of steps of a series
    channels: int
    dtype: str

    @classmethod
    def checked(cls, name: str, band: int | None, dim: int, channels: int, dtype: str) -> Metric:
        """The metric of these arguments of an index; ValueError for those that do not fit."""
        dim = check_count("dim", dim)
        check_choice("metric", name, METRICS)
        if band is None:
            if name == "dtw":
                raise ValueError("band: expected a whole number for the metric dtw, got None")
            band = 0
        band = check_count("band", band, least=0)
        check_choice("dtype", dtype, DTYPES)
        channels = check_count("channels", channels)
        if channels != 1 and name != "dtw":
            raise ValueError(f"channels: expected 1 for the metric {name}, got {channels}")
        return cls(name, band, dim, channels, dtype)

    @property
    def empty(self) -> Series:
        """No rows."""
        values = np.zeros((0, self.dim * self.channels), self.dtype)
        return Series(values, np.zeros(0, np.int64))

    @property
    def work(self) -> int:
        """How many steps one distance takes."""
        warping = self.name == "dtw"
        steps = self.dim * min(2 * self.band + 1, self.dim) if warping else self.dim
        return steps * self.channels

    def rows(
        self, name: str, x: np.ndarray | Sequence[np.ndarray], lengths: np.ndarray | None
    ) -> Series:
        """Points or queries, or series with their lengths, as rows, checked.

        Queries may have more steps than the points.
        """
        if self.name != "dtw":
            if lengths is not None:
                raise ValueError("lengths: expected None for the metric euclidean, got lengths")
            check_floating(name, x, ndim=2)  # type: ignore[arg-type]
            series = Series(np.asarray(x), np.full(len(x), self.dim))
            check_points(name, series.values, self.empty.values)
        else:
            series = as_series(name, x, lengths)
            _, time, channels = series.values.shape
            if channels != self.channels:
                raise ValueError(f"{name}: expected {self.channels} channels, got {channels}")
            if isinstance(x, np.ndarray) and lengths is None:
                check_width(name, series.values[:, :, 0], self.dim)
            elif time > self.dim and name == "points":
                raise ValueError(f"{name}: expected up to {self.dim} steps, got {time}")
            check_dtype(name, series.values, np.dtype(self.dtype))
            check_not_empty(name, series.values)
            series = self._padded(series)
        check_magnitudes(name, series.values)
        return series

    def stored(self, points: np.ndarray, lengths: np.ndarray | None) -> Series:
        """The rows of a file, with their lengths, or all of them whole; ValueError for others."""
        check_magnitudes("points", points)
        if lengths is None:
            return Series(points, np.full(len(points), self.dim, np.int64))
        cut = self._padded(as_series("points", self.shaped(points), lengths, "steps"))
        if self.name != "dtw" or not np.array_equal(cut.values, points):
            raise ValueError("points: expected 0 behind the ends of series, got others")
        return Series(points, cut.lengths)

    def shaped(self, rows: np.ndarray) -> np.ndarray:
        """Rows, (n, dim · channels), as (n, dim), or of several channels (n, dim, channels)."""
        if self.channels == 1:
            return rows
        return rows.reshape(len(rows), rows.shape[1] // self.channels, self.channels)

    def paired(self, x: Series, y: Series) -> np.ndarray:
        """The distance of row i of x and row i of y."""
        if self.name != "dtw":
            return row_distances(x.values, y.values)
        whole = x.values.shape == y.values.shape and all(
            (one.lengths == self.dim).all() for one in (x, y)
        )
        lengths = {} if whole else {"x_lengths": x.lengths, "y_lengths": y.lengths}
        rows = self.shaped(x.values), self.shaped(y.values)
        return time_warping_distances(*rows, **lengths, band=self.band)

    def _padded(self, series: Series) -> Series:
        """Series of (time, channels) as rows of dim · channels, or more."""
        values = longer(series.values, max(self.dim, series.values.shape[1]))
        return Series(values.reshape(len(values), -1), series.lengths)
