"""Time series of different lengths and several channels in one padded array."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from numpy_infer.support.checks import check_dtype, check_floating, check_integers, check_rank


@dataclass(frozen=True)
class Series:
    """Series in the rows of values, (n, ...), and their lengths, (n,) int64."""

    values: np.ndarray
    lengths: np.ndarray

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, index: np.ndarray | slice) -> Series:
        return Series(self.values[index], self.lengths[index])

    def followed_by(self, others: Series) -> Series:
        """These series and then the others."""
        values = np.concatenate([self.values, others.values])
        return Series(values, np.concatenate([self.lengths, others.lengths]))


def as_series(
    name: str,
    x: np.ndarray | Sequence[np.ndarray],
    lengths: np.ndarray | None,
    lengths_name: str = "lengths",
) -> Series:
    """Series as (n, time, channels), 0 behind their ends.

    Args:
        name: of x in errors.
        x: (n, time) or (n, time, channels), or a list of (time,) or (time, channels) arrays.
        lengths: (n,), how many steps of each row of an array are the series; all when None.
        lengths_name: of lengths in errors.
    Raises:
        TypeError: other than floating arrays, or of different dtypes; lengths of no integers.
        ValueError: other axes, channels that differ, an empty series of a list, or lengths outside
            of 1..time.
    """
    if isinstance(x, np.ndarray):
        check_floating(name, x)
        values = _with_channels(name, x, axes=2)
        whole = np.full(len(x), values.shape[1], np.int64)
        return Series(values, whole) if lengths is None else _cut(values, lengths, lengths_name)
    if lengths is not None:
        raise ValueError(f"{lengths_name}: expected None beside a list of series, got lengths")
    if not isinstance(x, list | tuple):
        raise TypeError(f"{name}: expected an array or a list of arrays, got {type(x).__name__}")
    if not x:
        raise ValueError(f"{name}: expected at least one series, got an empty list")
    for one in x:
        check_floating(name, one)
        check_dtype(name, one, x[0].dtype)
    rows = [_with_channels(name, one, axes=1) for one in x]
    counts = np.array([len(row) for row in rows], np.int64)
    if not counts.all():
        raise ValueError(f"{name}: expected at least one step, got an empty series")
    values = np.zeros((len(rows), counts.max(), rows[0].shape[1]), rows[0].dtype)
    for place, row in zip(values, rows, strict=True):
        if row.shape[1] != values.shape[2]:
            wanted = f"{values.shape[2]} channels"
            raise ValueError(f"{name}: expected {wanted}, got shape {row.shape}")
        place[: len(row)] = row
    return Series(values, counts)


def longer(values: np.ndarray, time: int) -> np.ndarray:
    """Values, (n, time, channels), with zeros behind them up to this time."""
    more = time - values.shape[1]
    return np.pad(values, ((0, 0), (0, more), (0, 0))) if more else values


def _with_channels(name: str, x: np.ndarray, *, axes: int) -> np.ndarray:
    """An array of so many axes with one more for its single channel; of one more as it is."""
    if x.ndim != axes + 1:
        check_rank(name, x, ndim=axes)
        return x[..., None]
    return x


def _cut(values: np.ndarray, lengths: np.ndarray, name: str) -> Series:
    check_integers(name, lengths, ndim=1)
    n, time = values.shape[:2]
    if len(lengths) != n:
        raise ValueError(f"{name}: expected {n} of them, got {len(lengths)}")
    if n and not (lengths.min() >= 1 and lengths.max() <= time):
        got = f"{lengths.min()}..{lengths.max()}"
        raise ValueError(f"{name}: expected lengths in 1..{time}, got {got}")
    lengths = lengths.astype(np.int64)
    real = np.arange(time) < lengths[:, None]
    return Series(np.where(real[..., None], values, values.dtype.type(0)), lengths)
