"""Argument checks: every message names the argument, what it wanted and what it got.

What a symbolic variable tells, its dtype and number of axes, is checked while the graph is
built. What only the values tell is checked by an Assert when the function runs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import theano.tensor as T
from theano.graph.basic import Variable
from theano.tensor.opt import Assert
from theano.tensor.var import TensorVariable

LARGEST = 2**31 - 1  # of sizes: no array reaches it, and every framework can count to it
FLOATS = ("float32", "float64")


def check_floating(name: str, x: TensorVariable, *, ndim: int | None = None) -> None:
    """TypeError unless `x` is float32 or float64; ValueError unless it has `ndim` axes."""
    if x.dtype not in FLOATS:
        raise TypeError(f"{name}: expected float32 or float64, got {x.dtype}")
    check_rank(name, x, ndim=ndim)


def check_integers(name: str, x: TensorVariable, *, ndim: int | None = None) -> None:
    """TypeError unless `x` is of integers; ValueError unless it has `ndim` axes."""
    if x.dtype not in T.integer_dtypes:
        raise TypeError(f"{name}: expected integers, got {x.dtype}")
    check_rank(name, x, ndim=ndim)


def check_rank(name: str, x: TensorVariable, *, ndim: int | None) -> None:
    if x.ndim == 0 or (ndim is not None and x.ndim != ndim):
        wanted = "at least one axis" if ndim is None else f"{ndim} axes"
        raise ValueError(f"{name}: expected {wanted}, got {x.ndim}")


def check_not_empty(name: str, x: TensorVariable) -> TensorVariable:
    return check_values(x, x.shape[0] > 0, name, "at least one row")


def check_finite(name: str, x: TensorVariable) -> TensorVariable:
    """An AssertionError for NaN or infinity, where the result has no room for them."""
    return check_values(x, T.eq(T.sum(T.isnan(x) | T.isinf(x)), 0), name, "finite numbers")


def check_dtype(name: str, x: TensorVariable, dtype: str) -> None:
    """TypeError unless `x` has the dtype it will be combined with: nothing is cast silently."""
    if x.dtype != dtype:
        raise TypeError(f"{name}: expected {dtype}, got {x.dtype}")


def check_size(
    name: str, x: TensorVariable, axis: int, wanted: int | TensorVariable, what: str
) -> TensorVariable:
    """`x`, whose axis must have this size when it runs; `what` says of what, such as "rows"."""
    known = isinstance(wanted, int)
    expected = f"{wanted} {what}" if known else f"as many {what} as its partner"
    return check_values(x, T.eq(x.shape[axis], wanted), name, expected)


def check_width(name: str, x: TensorVariable, width: int | TensorVariable) -> TensorVariable:
    return check_size(name, x, x.ndim - 1, width, "features")


def check_like(
    name: str, x: TensorVariable, other_name: str, other: TensorVariable
) -> TensorVariable:
    """A floating tensor with the dtype and the shape of `other`."""
    check_floating(name, x, ndim=other.ndim)
    check_dtype(name, x, other.dtype)
    return check_values(x, T.all(T.eq(x.shape, other.shape)), name, f"the shape of {other_name}")


def check_labels(name: str, labels: TensorVariable, n_rows: TensorVariable) -> TensorVariable:
    """Integer labels, one for each of `n_rows` rows."""
    check_integers(name, labels, ndim=1)
    return check_values(labels, T.eq(labels.shape[0], n_rows), name, "a label for each row")


def check_values(x: TensorVariable, ok: TensorVariable, name: str, wanted: str) -> TensorVariable:
    """`x` itself, with an AssertionError when the function runs and `ok` does not hold."""
    return Assert(f"{name}: expected {wanted}")(x, ok)


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


def check_rate(name: str, value: float) -> float:
    """`value` as a share of what is dropped, from 0 up to, but not including, 1."""
    rate = check_number(name, value, least=0)
    if rate >= 1:
        raise ValueError(f"{name}: expected a number below 1, got {rate}")
    return rate


def check_positive(
    name: str, value: float | TensorVariable, like: TensorVariable
) -> TensorVariable:
    """`value`, a number or a scalar above 0, as a scalar variable with the dtype of `like`."""
    if not isinstance(value, Variable):
        number = check_number(name, value, above=0)
        return T.constant(number, dtype=like.dtype)
    check_dtype(name, value, like.dtype)
    if value.ndim:
        raise ValueError(f"{name}: expected a scalar, got {value.ndim} axes")
    positive = T.eq(T.le(value, 0), 0)  # NaN passes
    return check_values(value, positive, name, "a number above 0")


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


def check_seed(name: str, value: int | None) -> int | None:
    """`value` as an int that every generator takes, or None."""
    return None if value is None else check_count(name, value, least=0, most=2**32 - 1)


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


def check_ids(
    name: str, ids: TensorVariable, vocabulary_size: int, *, ndim: int | None = 2
) -> TensorVariable:
    """Integer ids, (batch, longest), inside the table: Theano would wrap a negative one round."""
    check_integers(name, ids, ndim=ndim)
    inside = T.all((ids >= 0) & (ids < vocabulary_size))
    return check_values(ids, inside, name, f"ids in 0..{vocabulary_size - 1}")


def check_right_padded(name: str, x: TensorVariable, real: TensorVariable) -> TensorVariable:
    """`x`, when what is real of it, (batch, longest) bool, comes first in every row."""
    early = T.any(real[:, 1:] & T.eq(real[:, :-1], 0))
    return check_values(x, T.eq(early, 0), name, "padding at the end of a row")


def check_space(name: str, x: TensorVariable, *, rank: int, least: int = 1) -> TensorVariable:
    """Floating, (batch, channels, *space) of `rank` spatial axes, `least` places along each."""
    check_floating(name, x, ndim=2 + rank)
    enough = T.all(T.ge(x.shape[2:], least))
    return check_values(x, enough, name, f"at least {least} places along each axis")


def check_channels(name: str, x: TensorVariable, channels: int) -> TensorVariable:
    return check_size(name, x, 1, channels, "channels")


def minimum_length(n_convolutions: int, kernel_size: int, pool_size: int) -> int:
    """The shortest axis from which n convolutions with a pool between each two leave length 1.

    A convolution without padding shortens an axis by kernel_size − 1, a pool divides its length.
    """
    length = kernel_size
    for _ in range(n_convolutions - 1):
        length = length * pool_size + kernel_size - 1
    return length
