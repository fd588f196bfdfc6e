"""Argument checks: every message names the argument, what it wanted and what it got.

What the static shape or dtype tells is checked while a function is traced; what only the
values tell raises at once in eager mode, and through an assertion in a graph.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import tensorflow as tf


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


def check_not_empty(name: str, x: tf.Tensor) -> None:
    if x.shape[0] == 0:
        raise ValueError(f"{name}: expected at least one row, got shape {x.shape}")


def check_finite(name: str, x: tf.Tensor) -> None:
    """ValueError for NaN or infinity, where the result has no room for them."""
    bad = tf.boolean_mask(x, ~tf.math.is_finite(x))
    check_values(tf.size(bad) == 0, name, "finite numbers", bad)


def check_dtype(name: str, x: tf.Tensor, dtype: tf.DType | str) -> None:
    """TypeError unless `x` has the dtype it will be combined with: nothing is cast silently."""
    if x.dtype != dtype:
        raise TypeError(f"{name}: expected {tf.as_dtype(dtype).name}, got {x.dtype.name}")


def check_width(name: str, x: tf.Tensor, width: int | None) -> None:
    if width is not None and x.shape[-1] not in (None, width):
        raise ValueError(f"{name}: expected {width} features, got shape {x.shape}")


def check_like(name: str, x: tf.Tensor, other_name: str, other: tf.Tensor) -> None:
    """A floating tensor with the dtype and the shape of `other`."""
    check_floating(name, x)
    check_dtype(name, x, other.dtype)
    if not x.shape.is_compatible_with(other.shape):
        raise ValueError(
            f"{name}: expected the shape of {other_name}, {other.shape}, got {x.shape}"
        )


def check_labels(name: str, labels: tf.Tensor, n_rows: int | None) -> None:
    """Integer labels, one for each of `n_rows` rows."""
    check_integers(name, labels, ndim=1)
    if n_rows is not None and labels.shape[0] not in (None, n_rows):
        raise ValueError(f"{name}: expected {n_rows} labels, got {labels.shape[0]}")


def check_values(ok: tf.Tensor, name: str, wanted: str, got: tf.Tensor) -> tf.Operation | None:
    """ValueError unless `ok` holds; in a graph, an assertion that says the same."""
    if tf.executing_eagerly():
        if not ok:
            raise ValueError(f"{name}: expected {wanted}, got {got.numpy()}")
        return None
    return tf.debugging.Assert(ok, [f"{name}: expected {wanted}, got", got])


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


def check_ids(name: str, ids: tf.Tensor, vocabulary_size: int) -> None:
    """Integer ids, (batch, longest), inside the table: a GPU would look up zeros instead."""
    check_integers(name, ids, ndim=2)
    size = tf.cast(vocabulary_size, ids.dtype)
    outside = tf.boolean_mask(ids, (ids < 0) | (ids >= size))
    check_values(tf.size(outside) == 0, name, f"ids in 0..{vocabulary_size - 1}", outside)
