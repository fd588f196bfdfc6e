"""Argument checks: every message names the argument, what it wanted and what it got.

The dtype and the static shape are checked while a function is traced. Values, and sizes that are
unknown while tracing, raise an error at once in eager mode, and through an assertion in a graph.
XLA drops assertions: in what it compiles, only the checks while tracing remain.
"""

from __future__ import annotations

import tensorflow as tf

from numpy_infer.support import plain_checks

# The checks of plain values are the same in every package.
check_choice = plain_checks.check_choice
check_count = plain_checks.check_count
check_counts = plain_checks.check_counts
check_ends = plain_checks.check_ends
check_flag = plain_checks.check_flag
check_groups = plain_checks.check_groups
check_number = plain_checks.check_number
check_rate = plain_checks.check_rate
check_sampling = plain_checks.check_sampling
check_seed = plain_checks.check_seed
check_space_sizes = plain_checks.check_space_sizes
minimum_length = plain_checks.minimum_length


def check_floating(name: str, x: tf.Tensor, *, ndim: int | None = None) -> None:
    """TypeError unless `x` is floating; ValueError unless it has `ndim` axes."""
    if not x.dtype.is_floating:
        raise TypeError(f"{name}: expected floating point numbers, got {x.dtype.name}")
    check_rank(name, x, ndim=ndim)


def check_integers(name: str, x: tf.Tensor, *, ndim: int | None = None) -> None:
    """TypeError unless `x` is of integers; ValueError unless it has `ndim` axes."""
    if not x.dtype.is_integer:
        raise TypeError(f"{name}: expected integers, got {x.dtype.name}")
    check_rank(name, x, ndim=ndim)


def check_rank(name: str, x: tf.Tensor, *, ndim: int | None) -> None:
    rank = x.shape.rank
    if rank is not None and (rank == 0 or (ndim is not None and rank != ndim)):
        wanted = "at least one axis" if ndim is None else f"{ndim} axes"
        raise ValueError(f"{name}: expected {wanted}, got shape {x.shape}")


def size(x: tf.Tensor, axis: int) -> int | tf.Tensor:
    """The length of an axis: a number where it is known while tracing, else a scalar tensor."""
    static = x.shape[axis]
    if static is not None:
        return static
    return (x.dense_shape if isinstance(x, tf.SparseTensor) else tf.shape(x))[axis]


def check_not_empty(name: str, x: tf.Tensor, axis: int = 0) -> None:
    rows = size(x, axis)
    if not isinstance(rows, int):
        check_values(rows > 0, name, "at least one row", rows)
    elif rows == 0:
        raise ValueError(f"{name}: expected at least one row, got shape {x.shape}")


def check_finite(name: str, x: tf.Tensor) -> None:
    """ValueError for NaN or infinity, where the result has no room for them."""
    bad = tf.boolean_mask(x, ~tf.math.is_finite(x))
    check_values(tf.size(bad) == 0, name, "finite numbers", bad)


def check_dtype(name: str, x: tf.Tensor, dtype: tf.DType | str) -> None:
    """TypeError unless `x` has the dtype it will be combined with: nothing is cast silently."""
    if x.dtype != dtype:
        raise TypeError(f"{name}: expected {tf.as_dtype(dtype).name}, got {x.dtype.name}")


def check_size(name: str, x: tf.Tensor, axis: int, wanted: int | tf.Tensor, what: str) -> None:
    """ValueError unless an axis has this size; `what` says of what, such as "rows"."""
    got = size(x, axis)
    if not (isinstance(got, int) and isinstance(wanted, int)):
        same = tf.cast(got, tf.int64) == tf.cast(wanted, tf.int64)
        check_values(same, name, f"as many {what} as its partner", got)
    elif got != wanted:
        raise ValueError(f"{name}: expected {wanted} {what}, got {got}")


def check_width(name: str, x: tf.Tensor, width: int | tf.Tensor) -> None:
    check_size(name, x, -1, width, "features")


def check_like(name: str, x: tf.Tensor, other_name: str, other: tf.Tensor) -> None:
    """A floating tensor with the dtype and the shape of `other`."""
    check_floating(name, x)
    check_dtype(name, x, other.dtype)
    if not x.shape.is_compatible_with(other.shape):
        raise ValueError(
            f"{name}: expected the shape of {other_name}, {other.shape}, got {x.shape}"
        )
    if not (x.shape.is_fully_defined() and other.shape.is_fully_defined()):
        same = tf.reduce_all(tf.shape(x) == tf.shape(other))
        check_values(same, name, f"the shape of {other_name}", tf.shape(x))


def check_labels(name: str, labels: tf.Tensor, n_rows: int | tf.Tensor) -> None:
    """Integer labels, one for each of `n_rows` rows."""
    check_integers(name, labels, ndim=1)
    check_size(name, labels, 0, n_rows, "labels")


def check_values(ok: tf.Tensor, name: str, wanted: str, got: tf.Tensor) -> tf.Operation | None:
    """ValueError unless `ok` holds; in a graph, an assertion that says the same."""
    if tf.executing_eagerly():
        if not ok:
            raise ValueError(f"{name}: expected {wanted}, got {got.numpy()}")
        return None
    return tf.debugging.Assert(ok, [f"{name}: expected {wanted}, got", got])


def check_positive(name: str, value: float | tf.Tensor, like: tf.Tensor) -> tf.Tensor:
    """`value`, a number or a scalar tensor above 0, as a scalar tensor with the dtype of `like`."""
    if not tf.is_tensor(value):
        number = check_number(name, value, above=0)
        return tf.constant(number, like.dtype)
    value = tf.convert_to_tensor(value)  # of a variable too
    check_dtype(name, value, like.dtype)
    if value.shape.rank:
        raise ValueError(f"{name}: expected a scalar, got shape {value.shape}")
    checked = check_values(~(value <= 0), name, "a number above 0", value)  # NaN passes
    with tf.control_dependencies([] if checked is None else [checked]):
        return tf.identity(value)


def check_ids(name: str, ids: tf.Tensor, vocabulary_size: int) -> None:
    """Integer ids, (batch, longest), inside the table: a GPU would look up zeros instead."""
    check_integers(name, ids, ndim=2)
    ids = tf.cast(ids, tf.int64)  # a narrow dtype may not hold the vocabulary's size
    outside = tf.boolean_mask(ids, (ids < 0) | (ids >= vocabulary_size))
    check_values(tf.size(outside) == 0, name, f"ids in 0..{vocabulary_size - 1}", outside)


def check_right_padded(name: str, real: tf.Tensor) -> None:
    """ValueError unless what is real, (batch, longest) bool, comes first in every row."""
    early = tf.where(tf.reduce_any(real[:, 1:] & ~real[:, :-1], axis=1))[:, 0]
    check_values(tf.size(early) == 0, name, "padding at the end of a row", early)


def check_space(name: str, x: tf.Tensor, *, rank: int, least: int = 1) -> None:
    """Floating, (batch, *space, channels) of `rank` spatial axes, `least` places along each."""
    check_floating(name, x, ndim=2 + rank)
    wanted = f"at least {least} places along each axis"
    if not x.shape[1:-1].is_fully_defined():
        space = tf.shape(x)[1:-1]
        check_values(tf.reduce_all(space >= least), name, wanted, space)
    elif min(x.shape[1:-1]) < least:
        raise ValueError(f"{name}: expected {wanted}, got shape {x.shape}")


def check_channels(name: str, x: tf.Tensor, channels: int) -> None:
    check_size(name, x, -1, channels, "channels")
