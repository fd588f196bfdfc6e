"""Two arrays side by side: how large the error is, why they differ, and where."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from fourfold.agreement import error


@dataclass(frozen=True)
class Entry:
    """One entry of two arrays: its index, and both numbers."""

    index: tuple[int, ...]
    a: float
    b: float

    def __str__(self) -> str:
        place = ", ".join(map(str, self.index))
        return f"[{place}]: {self.a!r} and {self.b!r}"


@dataclass(frozen=True)
class Difference:
    """What the comparison of two arrays found.

    Args:
        error: max|a − b| / max(unit, max|b|), infinite when anything but the values differs.
        reason: why they differ, empty where they agree.
        first: the first entry, in the order of the indices, that is out of tolerance.
        worst: the entry that differs most.
    """

    error: float
    reason: str = ""
    first: Entry | None = None
    worst: Entry | None = None


def difference(a: np.ndarray, b: np.ndarray, bound: float, unit: float = 1.0) -> Difference:
    """Compare strictly: shape, kind of number, where NaN and infinity stand, then values.

    Args:
        a: what is wanted.
        b: what was got.
        bound: how large the error may be.
        unit: what errors are relative to where the largest entry is smaller.

    Returns:
        The error, and where out of tolerance the reason and the entries.

    Example:
        >>> found = difference(np.array([1.0, 2.0]), np.array([1.0, 2.5]), 1e-6)
        >>> found.first.index, found.first.b
        ((1,), 2.5)
    """
    if a.shape != b.shape:
        return Difference(math.inf, f"shapes {a.shape} and {b.shape}")
    if kind(a) != kind(b):
        return Difference(math.inf, f"kinds of number {a.dtype} and {b.dtype}")
    x, y = (one.astype(np.float64 if kind(a) == "f" else np.int64) for one in (a, b))
    found = error(y, x, unit)
    if found <= bound:
        return Difference(found, worst=_worst(x, y))
    special = ~(np.isfinite(x) & np.isfinite(y))
    apart = special & ~((x == y) | (np.isnan(x) & np.isnan(y)))
    if apart.any():
        return Difference(found, "NaN or infinity", _entry(x, y, apart), _entry(x, y, apart))
    distances = _distances(x, y)
    if kind(a) != "f":
        beyond = distances > 0
    else:
        size = max(unit, float(np.abs(x[np.isfinite(x)]).max(initial=0)))
        beyond = distances > bound * size
    return Difference(found, "values", _entry(x, y, beyond), _worst(x, y))


def kind(array: np.ndarray) -> str:
    """f for floating, i for whole numbers of any width, b for truth values."""
    return "i" if array.dtype.kind == "u" else array.dtype.kind


def _distances(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    with np.errstate(invalid="ignore"):  # infinity less itself
        distances = np.abs(x - y)
    return np.where(np.isfinite(distances), distances, 0)


def _worst(x: np.ndarray, y: np.ndarray) -> Entry | None:
    if not x.size:
        return None
    distances = _distances(x, y)
    return _entry(x, y, distances == distances.max())


def _entry(x: np.ndarray, y: np.ndarray, chosen: np.ndarray) -> Entry:
    index = tuple(int(one) for one in np.argwhere(chosen)[0])
    return Entry(index, x[index].item(), y[index].item())
