"""Argument checks: every message names the argument, what it wanted and what it got."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from numpy_infer.support import plain_checks
from pytorch_impl.support.transforms import check_range, check_values

# The checks of plain values are the same in every package.
check_choice = plain_checks.check_choice
check_count = plain_checks.check_count
check_counts = plain_checks.check_counts
check_flag = plain_checks.check_flag
check_groups = plain_checks.check_groups
check_number = plain_checks.check_number
check_order = plain_checks.check_order
check_rate = plain_checks.check_rate
check_row_shape = plain_checks.check_row_shape
check_sampling = plain_checks.check_sampling
check_seed = plain_checks.check_seed
check_space_sizes = plain_checks.check_space_sizes
minimum_length = plain_checks.minimum_length

LIMITED = (torch.uint16, torch.uint32, torch.uint64)  # PyTorch cannot even compare them all


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
    if x.dtype in LIMITED:
        raise TypeError(f"{name}: expected uint8 or signed integers, got {x.dtype}")
    check_rank(name, x, ndim=ndim)


def check_rank(name: str, x: Tensor, *, ndim: int | None) -> None:
    if x.ndim == 0 or (ndim is not None and x.ndim != ndim):
        wanted = "at least one axis" if ndim is None else f"{ndim} axes"
        raise ValueError(f"{name}: expected {wanted}, got shape {tuple(x.shape)}")


def check_not_empty(name: str, x: Tensor, axis: int = 0) -> None:
    if x.shape[axis] == 0:
        raise ValueError(f"{name}: expected at least one row, got shape {tuple(x.shape)}")


def check_finite(name: str, x: Tensor) -> None:
    """ValueError for NaN or infinity, where the result has no room for them."""

    def holds(x: Tensor) -> Tensor:
        if x.is_cuda and x.numel():  # the fewest launches
            return torch.linalg.vector_norm(x, math.inf) < math.inf
        known = x.sum().isfinite()  # then all summands are; a sum that overflows says nothing
        return known if known else x.isfinite().all()

    def got(x: Tensor) -> object:
        return x[~x.isfinite()][0].item()

    check_values(holds, f"{name}: expected finite numbers", got, x)


def check_dtype(name: str, x: Tensor, dtype: torch.dtype) -> None:
    """TypeError unless `x` has the dtype it will be combined with: nothing is cast silently."""
    if x.dtype != dtype:
        raise TypeError(f"{name}: expected {dtype}, got {x.dtype}")


def check_size(name: str, x: Tensor, axis: int, wanted: int, what: str) -> None:
    """ValueError unless an axis has this size; `what` says of what, such as "rows"."""
    if x.shape[axis] != wanted:
        raise ValueError(f"{name}: expected {wanted} {what}, got shape {tuple(x.shape)}")


def check_width(name: str, x: Tensor, width: int) -> None:
    check_size(name, x, -1, width, "features")


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


def check_positive(name: str, value: float | Tensor, like: Tensor) -> Tensor:
    """`value`, a number or a scalar tensor above 0, as a scalar tensor with the dtype of `like`."""
    if not isinstance(value, Tensor):
        number = check_number(name, value, above=0)
        return torch.full((), number, dtype=like.dtype, device=like.device)
    check_dtype(name, value, like.dtype)
    if value.ndim:
        raise ValueError(f"{name}: expected a scalar, got shape {tuple(value.shape)}")

    def holds(value: Tensor) -> Tensor:
        return ~(value <= 0).any()  # NaN passes

    def got(value: Tensor) -> object:
        return value.min().item()

    check_values(holds, f"{name}: expected a number above 0", got, value.detach())
    return value.to(like.device)


def check_ids(name: str, ids: Tensor, vocabulary_size: int) -> None:
    """Integer ids, (batch, longest), inside the table."""
    check_integers(name, ids, ndim=2)
    check_range(name, ids, "ids", vocabulary_size - 1)


def check_right_padded(name: str, real: Tensor) -> None:
    """ValueError unless what is real, (batch, longest) bool, comes first in every row."""

    def early(real: Tensor) -> Tensor:
        return real[..., 1:] & ~real[..., :-1]

    def holds(real: Tensor) -> Tensor:
        return ~early(real).any()

    def got(real: Tensor) -> object:
        return f"it earlier in row {int(early(real).any(-1).nonzero()[0, -1])}"

    check_values(holds, f"{name}: expected padding at the end of a row", got, real)


def check_space(name: str, x: Tensor, *, rank: int, least: int = 1) -> None:
    """Floating, (batch, channels, *space) of `rank` spatial axes, `least` places along each."""
    check_floating(name, x, ndim=2 + rank)
    if min(x.shape[2:]) < least:
        shape = tuple(x.shape)
        raise ValueError(f"{name}: expected at least {least} places along each axis, got {shape}")


def check_channels(name: str, x: Tensor, channels: int) -> None:
    check_size(name, x, 1, channels, "channels")
