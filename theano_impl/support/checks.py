"""Argument checks: every message names the argument, what it wanted and what it got.

The dtype and the number of axes of a symbolic variable are checked while the graph is built. Its
shape and its values are checked by an Assert when the function runs.
"""

from __future__ import annotations

import theano.tensor as T
from theano.graph.basic import Variable
from theano.tensor.opt import Assert
from theano.tensor.var import TensorVariable

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
check_rate = plain_checks.check_rate
check_row_shape = plain_checks.check_row_shape
check_sampling = plain_checks.check_sampling
check_seed = plain_checks.check_seed
check_sizes = plain_checks.check_sizes
check_space_sizes = plain_checks.check_space_sizes
minimum_length = plain_checks.minimum_length

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


def check_not_empty(name: str, x: TensorVariable, axis: int = 0) -> TensorVariable:
    return check_values(x, x.shape[axis] > 0, name, "at least one row")


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
