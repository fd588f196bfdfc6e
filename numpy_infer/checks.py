"""Argument checks: every message names the argument, what it wanted and what it got."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np


def check_floating(name: str, x: np.ndarray, *, ndim: int | None = None) -> None:
    """TypeError unless `x` is a floating array; ValueError unless it has `ndim` axes."""
    if not isinstance(x, np.ndarray):
        raise TypeError(f"{name}: expected a numpy.ndarray, got {type(x).__name__}")
    if not np.issubdtype(x.dtype, np.floating):
        raise TypeError(f"{name}: expected floating point numbers, got {x.dtype}")
    check_rank(name, x, ndim=ndim)


def check_integers(name: str, x: np.ndarray, *, ndim: int | None = None) -> None:
    """TypeError unless `x` is an integer array; ValueError unless it has `ndim` axes."""
    if not isinstance(x, np.ndarray):
        raise TypeError(f"{name}: expected a numpy.ndarray, got {type(x).__name__}")
    if not np.issubdtype(x.dtype, np.integer):
        raise TypeError(f"{name}: expected integers, got {x.dtype}")
    check_rank(name, x, ndim=ndim)


def check_rank(name: str, x: np.ndarray, *, ndim: int | None) -> None:
    if x.ndim == 0 or (ndim is not None and x.ndim != ndim):
        wanted = "at least one axis" if ndim is None else f"{ndim} axes"
        raise ValueError(f"{name}: expected {wanted}, got shape {x.shape}")


def check_not_empty(name: str, x: np.ndarray) -> None:
    if x.shape[0] == 0:
        raise ValueError(f"{name}: expected at least one row, got shape {x.shape}")


def check_dtype(name: str, x: np.ndarray, dtype: np.dtype) -> None:
    """TypeError unless `x` has the dtype it will be combined with: nothing is cast silently."""
    if x.dtype != dtype:
        raise TypeError(f"{name}: expected {dtype}, got {x.dtype}")


def check_width(name: str, x: np.ndarray, width: int) -> None:
    if x.shape[-1] != width:
        raise ValueError(f"{name}: expected {width} features, got shape {x.shape}")


def check_like(name: str, x: np.ndarray, other_name: str, other: np.ndarray) -> None:
    """A floating array with the dtype and the shape of `other`."""
    check_floating(name, x)
    check_dtype(name, x, other.dtype)
    if x.shape != other.shape:
        raise ValueError(
            f"{name}: expected the shape of {other_name}, {other.shape}, got {x.shape}"
        )


def check_choice(name: str, value: str, choices: Sequence[str]) -> None:
    if value not in choices:
        raise ValueError(f"{name}: expected one of {', '.join(choices)}, got {value!r}")


def check_number(
    name: str, value: float, *, above: float = -math.inf, least: float = -math.inf
) -> None:
    """ValueError unless `value` is finite, greater than `above` and at least `least`."""
    if not (math.isfinite(value) and value > above and value >= least):
        wanted = f"a number above {above}" if above > -math.inf else f"a number of at least {least}"
        raise ValueError(f"{name}: expected {wanted}, got {value}")


def check_count(name: str, value: int, *, least: int = 1, most: float = math.inf) -> None:
    """ValueError unless `value` is a whole number in least..most."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name}: expected a whole number, got {type(value).__name__}")
    if not least <= value <= most:
        limit = f"in {least}..{most}" if most < math.inf else f"of at least {least}"
        raise ValueError(f"{name}: expected a whole number {limit}, got {value}")


def check_ids(name: str, ids: np.ndarray, vocabulary_size: int) -> None:
    """Integer ids, (batch, longest), inside the table: NumPy would wrap a negative one round."""
    check_integers(name, ids, ndim=2)
    if ids.size and not (ids.min() >= 0 and ids.max() < vocabulary_size):
        got = f"{ids.min()}..{ids.max()}"
        raise ValueError(f"{name}: expected ids in 0..{vocabulary_size - 1}, got {got}")


def check_shape(name: str, x: np.ndarray, shape: tuple[int, ...]) -> None:
    """ValueError unless `x` has exactly this shape."""
    if x.shape != shape:
        raise ValueError(f"{name}: expected shape {shape}, got {x.shape}")
