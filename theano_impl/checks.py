"""Argument checks: every message names the argument, what it wanted and what it got.

What a symbolic variable tells, its dtype and number of axes, is checked while the graph is
built. What only the values tell is checked by an Assert when the function runs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import theano.tensor as T
from theano.tensor.opt import Assert
from theano.tensor.var import TensorVariable


def check_floating(name: str, x: TensorVariable, *, ndim: int | None = None) -> None:
    """TypeError unless `x` is floating; ValueError unless it has `ndim` axes."""
    if x.dtype not in T.float_dtypes:
        raise TypeError(f"{name}: expected floating point numbers, got {x.dtype}")
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


def check_width(name: str, x: TensorVariable, width: int | TensorVariable) -> TensorVariable:
    return check_values(
        x, T.eq(x.shape[x.ndim - 1], width), name, "as many features as its partner"
    )


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
    if value not in choices:
        raise ValueError(f"{name}: expected one of {', '.join(choices)}, got {value!r}")


def check_number(
    name: str, value: float, *, above: float = -math.inf, least: float = -math.inf
) -> None:
    """ValueError unless `value` is finite, greater than `above` and at least `least`."""
    if not (math.isfinite(value) and value > above and value >= least):
        limit = f" of at least {least}" if least > -math.inf else ""
        wanted = f"a number above {above}" if above > -math.inf else f"a finite number{limit}"
        raise ValueError(f"{name}: expected {wanted}, got {value}")


def check_count(name: str, value: int, *, least: int = 1, most: float = math.inf) -> None:
    """ValueError unless `value` is a whole number in least..most."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name}: expected a whole number, got {type(value).__name__}")
    if not least <= value <= most:
        limit = f"in {least}..{most}" if most < math.inf else f"of at least {least}"
        raise ValueError(f"{name}: expected a whole number {limit}, got {value}")


def check_sizes(name: str, values: Sequence[int], rank: int) -> list[int]:
    """One size, stride or dilation for each spatial axis, each at least 1."""
    if isinstance(values, str) or not isinstance(values, Sequence):
        raise TypeError(f"{name}: expected a list of whole numbers, got {type(values).__name__}")
    if len(values) != rank:
        raise ValueError(f"{name}: expected {rank} numbers, got {len(values)}")
    for value in values:
        check_count(name, value)
    return list(values)


def check_padding(
    name: str, pairs: Sequence[Sequence[int]], rank: int, *, extends: bool = False
) -> list[list[int]]:
    """[before, after] for each spatial axis, from 0 up; with `extends`, "after" may be negative."""
    if isinstance(pairs, str) or not isinstance(pairs, Sequence):
        raise TypeError(f"{name}: expected a list of pairs, got {type(pairs).__name__}")
    if len(pairs) != rank:
        raise ValueError(f"{name}: expected {rank} pairs, got {len(pairs)}")
    for pair in pairs:
        if isinstance(pair, str) or not isinstance(pair, Sequence) or len(pair) != 2:
            raise ValueError(f"{name}: expected pairs [before, after], got {pair!r}")
        check_count(name, pair[0], least=0)
        check_count(name, abs(pair[1]) if extends and type(pair[1]) is int else pair[1], least=0)
    return [list(pair) for pair in pairs]


def check_channels(name: str, x: TensorVariable, channels: int) -> TensorVariable:
    return check_values(x, T.eq(x.shape[1], channels), name, f"{channels} channels")


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


def check_counts(name: str, values: Sequence[int]) -> None:
    """A list of whole numbers, each at least 1, and at least one of them."""
    if not isinstance(values, list | tuple):
        raise TypeError(f"{name}: expected a list, got {type(values).__name__}")
    if not values:
        raise ValueError(f"{name}: expected at least one whole number, got none")
    for value in values:
        check_count(name, value)


def check_space(name: str, x: TensorVariable, *, rank: int, least: int = 1) -> TensorVariable:
    """Floating, (batch, channels, *space) of `rank` spatial axes, `least` places along each."""
    check_floating(name, x, ndim=2 + rank)
    enough = T.all(T.ge(x.shape[2:], least))
    return check_values(x, enough, name, f"at least {least} places along each axis")
