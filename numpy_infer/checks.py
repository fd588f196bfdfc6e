"""Argument checks: every message names the argument, what it wanted and what it got."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence

import numpy as np

LARGEST = 2**31 - 1  # of sizes: what no array reaches, and what NumPy can count with


def check_floating(name: str, x: np.ndarray, *, ndim: int | None = None) -> None:
    """TypeError unless `x` is a floating array; ValueError unless it has `ndim` axes."""
    if not isinstance(x, np.ndarray):
        raise TypeError(f"{name}: expected a numpy.ndarray, got {type(x).__name__}")
    if x.dtype.kind != "f":
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


def check_finite(name: str, x: np.ndarray) -> None:
    """ValueError for NaN or infinity, where the result has no room for them."""
    finite = np.isfinite(x)
    if not finite.all():
        raise ValueError(f"{name}: expected finite numbers, got {x[~finite][0]}")


def check_dtype(name: str, x: np.ndarray, dtype: np.dtype) -> None:
    """TypeError unless `x` has the dtype it will be combined with: nothing is cast silently."""
    if x.dtype != dtype:
        raise TypeError(f"{name}: expected {dtype}, got {x.dtype}")


def check_width(name: str, x: np.ndarray, width: int) -> None:
    if x.shape[-1] != width:
        raise ValueError(f"{name}: expected {width} features, got shape {x.shape}")


def check_factor(name: str, x: np.ndarray, weight: np.ndarray) -> None:
    """`x` can be multiplied by `weight`: floating, of its dtype, and as wide as it has rows."""
    # In one look when all is well: a small net takes as long as its checks.
    fits = isinstance(x, np.ndarray) and x.ndim and x.dtype == weight.dtype
    if not (fits and x.shape[-1] == weight.shape[0]):
        check_floating(name, x)
        check_dtype(name, x, weight.dtype)
        check_width(name, x, weight.shape[0])


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
    if isinstance(value, bool) or not isinstance(value, int | float | np.number):
        raise TypeError(f"{name}: expected a number, got {type(value).__name__}")
    # Not math.isfinite: whole numbers that no float can hold would be an OverflowError.
    if not (abs(value) <= sys.float_info.max and value > above and value >= least):
        wanted = "a finite number"
        if max(above, least) > -math.inf:
            wanted = f"a number above {above}" if above > least else f"a number of at least {least}"
        raise ValueError(f"{name}: expected {wanted}, got {value}")


def check_flag(name: str, value: bool) -> None:
    if not isinstance(value, bool):
        raise TypeError(f"{name}: expected True or False, got {type(value).__name__}")


def check_count(name: str, value: int, *, least: int = 1, most: float = math.inf) -> None:
    """ValueError unless `value` is a whole number in least..most."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name}: expected a whole number, got {type(value).__name__}")
    if not least <= value <= most:
        limit = f"in {least}..{most}" if most < math.inf else f"of at least {least}"
        raise ValueError(f"{name}: expected a whole number {limit}, got {value}")


def check_ids(name: str, ids: np.ndarray, vocabulary_size: int, *, ndim: int | None = 2) -> None:
    """Integer ids, (batch, longest), inside the table: NumPy would wrap a negative one round."""
    check_integers(name, ids, ndim=ndim)
    if ids.size and not (ids.min() >= 0 and ids.max() < vocabulary_size):
        got = f"{ids.min()}..{ids.max()}"
        raise ValueError(f"{name}: expected ids in 0..{vocabulary_size - 1}, got {got}")


def check_right_padded(name: str, real: np.ndarray) -> None:
    """ValueError unless what is real, (batch, longest) bool, comes first in every row."""
    early = (real[:, 1:] & ~real[:, :-1]).any(axis=1)
    if early.any():
        row = early.argmax()
        raise ValueError(
            f"{name}: expected padding at the end of a row, got it earlier in row {row}"
        )


def check_shape(name: str, x: np.ndarray, shape: tuple[int, ...]) -> None:
    """ValueError unless `x` has exactly this shape."""
    if x.shape != shape:
        raise ValueError(f"{name}: expected shape {shape}, got {x.shape}")


def check_sizes(name: str, values: Sequence[int], rank: int) -> tuple[int, ...]:
    """One size, stride or dilation for each spatial axis, each at least 1."""
    _check_list(name, values, rank)
    for value in values:
        check_count(name, value, most=LARGEST)
    return tuple(values)


def check_padding(
    name: str, pairs: Sequence[Sequence[int]], rank: int, *, extends: bool = False
) -> tuple[tuple[int, int], ...]:
    """(before, after) for each spatial axis, from 0 up; with `extends`, "after" may be negative."""
    _check_list(name, pairs, rank)
    for pair in pairs:
        _check_list(name, pair, 2)
        check_count(name, pair[0], least=0, most=LARGEST)
        check_count(name, pair[1], least=-LARGEST if extends else 0, most=LARGEST)
    return tuple((before, after) for before, after in pairs)


def _check_list(name: str, values: Sequence[object], length: int) -> None:
    if not isinstance(values, list | tuple):
        raise TypeError(f"{name}: expected a list, got {type(values).__name__}")
    if len(values) != length:
        raise ValueError(f"{name}: expected {length} entries, got {len(values)}")


def check_counts(name: str, values: Sequence[int]) -> None:
    """A list of whole numbers, each at least 1, and at least one of them."""
    if not isinstance(values, list | tuple):
        raise TypeError(f"{name}: expected a list, got {type(values).__name__}")
    if not values:
        raise ValueError(f"{name}: expected at least one whole number, got none")
    for value in values:
        check_count(name, value, most=LARGEST)


def check_arrays(arrays: Mapping[str, np.ndarray], shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Floating arrays of one dtype, of exactly these names, with _ for a dot, and these shapes."""
    wanted = {name.replace(".", "_"): shape for name, shape in shapes.items()}
    if arrays.keys() != wanted.keys():
        raise ValueError(f"arrays: expected {list(wanted)!r:.999}, got {list(arrays)!r:.999}")
    first = next(iter(wanted))
    for name, shape in wanted.items():
        check_floating(name, arrays[name])
        check_dtype(name, arrays[name], arrays[first].dtype)
        check_shape(name, arrays[name], shape)
