"""Argument checks: every message names the argument, what it wanted and what it got."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from numpy_infer.support import plain_checks

# The checks of plain values are the same in every package.
check_choice = plain_checks.check_choice
check_count = plain_checks.check_count
check_counts = plain_checks.check_counts
check_ends = plain_checks.check_ends
check_flag = plain_checks.check_flag
check_groups = plain_checks.check_groups
check_number = plain_checks.check_number
check_order = plain_checks.check_order
check_padding = plain_checks.check_padding
check_row_shape = plain_checks.check_row_shape
check_sampling = plain_checks.check_sampling
check_sizes = plain_checks.check_sizes
check_space_sizes = plain_checks.check_space_sizes


def check_floating(name: str, x: np.ndarray, *, ndim: int | None = None) -> None:
    """TypeError unless `x` is float32 or float64; ValueError unless it has `ndim` axes."""
    if not isinstance(x, np.ndarray):
        raise TypeError(f"{name}: expected a numpy.ndarray, got {type(x).__name__}")
    # Halves and the other order of bytes are refused by name: results would be of another kind.
    if x.dtype.char not in "fd" or not x.dtype.isnative:
        raise TypeError(f"{name}: expected float32 or float64, got {x.dtype}")
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


def check_not_empty(name: str, x: np.ndarray, axis: int = 0) -> None:
    if x.shape[axis] == 0:
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


def check_weight(name: str, x: np.ndarray, shape: tuple[int, ...], beside: np.ndarray) -> None:
    """A floating array of this shape, and of the dtype of another weight."""
    check_floating(name, x)
    check_dtype(name, x, beside.dtype)
    check_shape(name, x, shape)


def check_arrays(arrays: Mapping[str, np.ndarray], shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Floating arrays of one dtype, of exactly these names, with _ for a dot, and these shapes."""
    wanted = {name.replace(".", "_"): shape for name, shape in shapes.items()}
    if arrays.keys() != wanted.keys():
        raise ValueError(f"arrays: expected {list(wanted)!r:.999}, got {list(arrays)!r:.999}")
    first = arrays[next(iter(wanted))]
    for name, shape in wanted.items():
        check_weight(name, arrays[name], shape, first)
