"""Argument checks: every message names the argument, what it wanted and what it got."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

LARGEST = 2**31 - 1  # of sizes: no array reaches it, and every framework can count to it


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
    if not (isinstance(value, str) and value in choices):
        got = f"{value!r:.99}" if isinstance(value, str) else type(value).__name__
        raise ValueError(f"{name}: expected one of {', '.join(choices)}, got {got}")


def check_number(
    name: str,
    value: float,
    *,
    above: float = -math.inf,
    least: float = -math.inf,
    finite: bool = True,
) -> float:
    """`value` as a float. A NumPy number and an array without axes are numbers, text is none.

    ValueError unless it is greater than `above`, at least `least` and, with `finite`, finite; for
    NaN always.
    """
    plain = _plain(value)
    if isinstance(plain, bool) or not isinstance(plain, int | float):
        raise TypeError(f"{name}: expected a number, got {type(value).__name__}")
    try:
        number = float(plain)
    except OverflowError:  # a whole number beyond the largest float
        number = math.nan
    allowed = math.isfinite(number) or (math.isinf(number) and not finite)
    if not (allowed and number >= least and (number > above or above == -math.inf)):
        limit = f" of at least {least}" if least > -math.inf else ""
        kind = "a finite number" if finite else "a number"
        wanted = f"a number above {above}" if above > -math.inf else f"{kind}{limit}"
        raise ValueError(f"{name}: expected {wanted}, got {_shown(plain)}")
    return number


def check_flag(name: str, value: bool) -> bool:
    """`value` as True or False: what is merely true or false, as "no" is true, is neither."""
    plain = _plain(value)
    if not isinstance(plain, bool):
        raise TypeError(f"{name}: expected True or False, got {type(value).__name__}")
    return plain


def check_count(name: str, value: int, *, least: int = 1, most: int = LARGEST) -> int:
    """`value` as an int. A NumPy integer and an integer array without axes are whole numbers.

    ValueError unless it is in least..most.
    """
    plain = _plain(value)
    if isinstance(plain, bool) or not isinstance(plain, int):
        raise TypeError(f"{name}: expected a whole number, got {type(value).__name__}")
    if not least <= plain <= most:
        bounded = most < LARGEST or plain > most
        limit = f"in {least}..{most}" if bounded else f"of at least {least}"
        raise ValueError(f"{name}: expected a whole number {limit}, got {_shown(plain)}")
    return plain


def check_counts(name: str, values: Sequence[int]) -> list[int]:
    """`values` as a list of at least one int, each at least 1."""
    plain = _plain(values)
    if not isinstance(plain, list | tuple):
        raise TypeError(f"{name}: expected a list, got {type(values).__name__}")
    if not plain:
        raise ValueError(f"{name}: expected at least one whole number, got none")
    return [check_count(name, value) for value in plain]


def _plain(value: Any) -> Any:
    """What an array holds, as Python's numbers: itself without axes, else lists of them."""
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else value


def _shown(number: float) -> str:
    """A number for a message: Python prints no integer of more than 4,300 digits."""
    if isinstance(number, int) and number.bit_length() > 128:
        return f"a number of {number.bit_length()} bits"
    return str(number)


def check_sizes(name: str, values: Sequence[int], rank: int) -> list[int]:
    """One size, stride or dilation for each spatial axis, each at least 1."""
    return [check_count(name, value) for value in _list(name, values, rank)]


def check_padding(
    name: str, pairs: Sequence[Sequence[int]], rank: int, *, extends: bool = False
) -> list[list[int]]:
    """[before, after] for each spatial axis, from 0 up; with `extends`, "after" may be negative."""
    least = -LARGEST if extends else 0
    split = [_list(name, pair, 2) for pair in _list(name, pairs, rank)]
    return [
        [check_count(name, before, least=0), check_count(name, after, least=least)]
        for before, after in split
    ]


def _list(name: str, values: Sequence[Any], length: int) -> Sequence[Any]:
    plain = _plain(values)
    if not isinstance(plain, list | tuple):
        raise TypeError(f"{name}: expected a list, got {type(values).__name__}")
    if len(plain) != length:
        raise ValueError(f"{name}: expected {length} entries, got {len(plain)}")
    return plain


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
