"""Argument checks: every message names the argument, what it wanted and what it got."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor


def check_floating(name: str, x: Tensor, *, ndim: int | None = None) -> None:
    """TypeError unless `x` is a floating tensor; ValueError unless it has `ndim` axes."""
    if not isinstance(x, Tensor):
        raise TypeError(f"{name}: expected a torch.Tensor, got {type(x).__name__}")
    if not x.is_floating_point():
        raise TypeError(f"{name}: expected floating point numbers, got {x.dtype}")
    check_rank(name, x, ndim=ndim)


def check_integers(name: str, x: Tensor, *, ndim: int | None = None) -> None:
    """TypeError unless `x` is an integer tensor; ValueError unless it has `ndim` axes."""
    if not isinstance(x, Tensor):
        raise TypeError(f"{name}: expected a torch.Tensor, got {type(x).__name__}")
    if x.is_floating_point() or x.is_complex() or x.dtype is torch.bool:
        raise TypeError(f"{name}: expected integers, got {x.dtype}")
    check_rank(name, x, ndim=ndim)


def check_rank(name: str, x: Tensor, *, ndim: int | None) -> None:
    if x.ndim == 0 or (ndim is not None and x.ndim != ndim):
        wanted = "at least one axis" if ndim is None else f"{ndim} axes"
        raise ValueError(f"{name}: expected {wanted}, got shape {tuple(x.shape)}")


def check_not_empty(name: str, x: Tensor) -> None:
    if x.shape[0] == 0:
        raise ValueError(f"{name}: expected at least one row, got shape {tuple(x.shape)}")


def check_finite(name: str, x: Tensor) -> None:
    """ValueError for NaN or infinity, where the result has no room for them."""
    bad = x[~x.isfinite()]
    if bad.numel():
        raise ValueError(f"{name}: expected finite numbers, got {bad[0].item()}")


def check_dtype(name: str, x: Tensor, dtype: torch.dtype) -> None:
    """TypeError unless `x` has the dtype it will be combined with: nothing is cast silently."""
    if x.dtype != dtype:
        raise TypeError(f"{name}: expected {dtype}, got {x.dtype}")


def check_width(name: str, x: Tensor, width: int) -> None:
    if x.shape[-1] != width:
        raise ValueError(f"{name}: expected {width} features, got shape {tuple(x.shape)}")


def check_like(name: str, x: Tensor, other_name: str, other: Tensor) -> None:
    """A floating tensor with the dtype and the shape of `other`."""
    check_floating(name, x)
    check_dtype(name, x, other.dtype)
    if x.shape != other.shape:
        raise ValueError(
            f"{name}: expected the shape of {other_name}, {tuple(other.shape)}, "
            f"got {tuple(x.shape)}"
        )


def check_labels(name: str, labels: Tensor, n_rows: int) -> None:
    """Integer labels, one for each of `n_rows` rows."""
    check_integers(name, labels, ndim=1)
    if labels.shape[0] != n_rows:
        raise ValueError(f"{name}: expected {n_rows} labels, got {labels.shape[0]}")


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


def check_ids(name: str, ids: Tensor, vocabulary_size: int) -> None:
    """Integer ids, (batch, longest), inside the table."""
    check_integers(name, ids, ndim=2)
    if ids.numel() and not (ids.min() >= 0 and ids.max() < vocabulary_size):
        got = f"{int(ids.min())}..{int(ids.max())}"
        raise ValueError(f"{name}: expected ids in 0..{vocabulary_size - 1}, got {got}")


def check_right_padded(name: str, real: Tensor) -> None:
    """ValueError unless what is real, (batch, longest) bool, comes first in every row."""
    early = (real[:, 1:] & ~real[:, :-1]).any(1).nonzero()
    if early.numel():
        raise ValueError(
            f"{name}: expected padding at the end of a row, got it earlier in row {int(early[0])}"
        )


def check_counts(name: str, values: Sequence[int]) -> None:
    """A list of whole numbers, each at least 1, and at least one of them."""
    if not isinstance(values, list | tuple):
        raise TypeError(f"{name}: expected a list, got {type(values).__name__}")
    if not values:
        raise ValueError(f"{name}: expected at least one whole number, got none")
    for value in values:
        check_count(name, value)


def check_space(name: str, x: Tensor, *, rank: int, least: int = 1) -> None:
    """Floating, (batch, channels, *space) of `rank` spatial axes, `least` places along each."""
    check_floating(name, x, ndim=2 + rank)
    if min(x.shape[2:]) < least:
        shape = tuple(x.shape)
        raise ValueError(f"{name}: expected at least {least} places along each axis, got {shape}")


def check_channels(name: str, x: Tensor, channels: int) -> None:
    if x.shape[1] != channels:
        raise ValueError(f"{name}: expected {channels} channels, got shape {tuple(x.shape)}")
