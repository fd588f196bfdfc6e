"""Argument checks: every message names the argument, what it wanted and what it got."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pytorch_impl.support.transforms import check_range, check_values

LARGEST = 2**31 - 1  # of sizes: no array reaches it, and every framework can count to it
NUMPY = (np.ndarray, np.generic)  # a tuple: torch.compile does not know a union of them
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


def check_not_empty(name: str, x: Tensor) -> None:
    if x.shape[0] == 0:
        raise ValueError(f"{name}: expected at least one row, got shape {tuple(x.shape)}")


def check_finite(name: str, x: Tensor) -> None:
    """ValueError for NaN or infinity, where the result has no room for them."""

    def check(x: Tensor) -> None:
        bad = x[~x.isfinite()]
        if bad.numel():
            raise ValueError(f"{name}: expected finite numbers, got {bad[0].item()}")

    check_values(check, x)


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


def check_positive(name: str, value: float | Tensor, like: Tensor) -> Tensor:
    """`value`, a number or a scalar tensor above 0, as a scalar tensor with the dtype of `like`."""
    if not isinstance(value, Tensor):
        number = check_number(name, value, above=0)
        return torch.tensor(number, dtype=like.dtype, device=like.device)
    check_dtype(name, value, like.dtype)
    if value.ndim:
        raise ValueError(f"{name}: expected a scalar, got shape {tuple(value.shape)}")

    def check(value: Tensor) -> None:
        if (value <= 0).any():  # NaN passes
            raise ValueError(f"{name}: expected a number above 0, got {value.min().item()}")

    check_values(check, value.detach())
    return value.to(like.device)


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
    if isinstance(value, Tensor):
        return value if value.requires_grad else value.tolist()  # a number has no gradient
    return value.tolist() if isinstance(value, NUMPY) else value


def _shown(number: float) -> str:
    """A number for a message: Python prints no integer of more than 4,300 digits."""
    if isinstance(number, int) and number.bit_length() > 128:
        return f"a number of {number.bit_length()} bits"
    return str(number)


def check_ids(name: str, ids: Tensor, vocabulary_size: int) -> None:
    """Integer ids, (batch, longest), inside the table."""
    check_integers(name, ids, ndim=2)
    check_range(name, ids, "ids", vocabulary_size - 1)


def check_right_padded(name: str, real: Tensor) -> None:
    """ValueError unless what is real, (batch, longest) bool, comes first in every row."""

    def check(real: Tensor) -> None:
        early = (real[..., 1:] & ~real[..., :-1]).any(-1).nonzero()
        if early.numel():
            row = int(early[0, -1])
            raise ValueError(
                f"{name}: expected padding at the end of a row, got it earlier in row {row}"
            )

    check_values(check, real)


def check_space(name: str, x: Tensor, *, rank: int, least: int = 1) -> None:
    """Floating, (batch, channels, *space) of `rank` spatial axes, `least` places along each."""
    check_floating(name, x, ndim=2 + rank)
    if min(x.shape[2:]) < least:
        shape = tuple(x.shape)
        raise ValueError(f"{name}: expected at least {least} places along each axis, got {shape}")


def check_channels(name: str, x: Tensor, channels: int) -> None:
    check_size(name, x, 1, channels, "channels")


def minimum_length(n_convolutions: int, kernel_size: int, pool_size: int) -> int:
    """The shortest axis from which n convolutions with a pool between each two leave length 1.

    A convolution without padding shortens an axis by kernel_size − 1, a pool divides its length.
    """
    length = kernel_size
    for _ in range(n_convolutions - 1):
        length = length * pool_size + kernel_size - 1
    return length
