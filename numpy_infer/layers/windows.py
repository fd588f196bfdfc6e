"""Windows that slide over the spatial axes of (batch, channels, *space)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from numpy_infer.support.checks import check_floating


def check_space(x: np.ndarray, *, rank: int | None = None, least: int = 1) -> None:
    """Floating, with places along `rank` spatial axes, one or two when it is left out.

    least: how many there are along each.
    """
    check_floating("x", x)
    ranks = (1, 2) if rank is None else (rank,)
    if x.ndim - 2 not in ranks or min(x.shape[2:]) < least:
        wanted = " or ".join(str(2 + one) for one in ranks)
        raise ValueError(
            f"x: expected (batch, channels, *space), {wanted} axes, at least {least} places along "
            f"each, "
            f"got shape {x.shape}"
        )


def window_counts(
    x: np.ndarray,
    size: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[Sequence[int]],
    dilation: Sequence[int],
) -> tuple[int, ...]:
    """How many windows fit into padded x along each spatial axis; ValueError when none does."""
    spans = [step * (places - 1) + 1 for places, step in zip(size, dilation, strict=True)]
    sizes = [n + sum(pair) for n, pair in zip(x.shape[2:], padding, strict=True)]
    if any(n < span for n, span in zip(sizes, spans, strict=True)):
        raise ValueError(
            f"x: expected at least {spans} places, padding and all, got {sizes} in shape {x.shape}"
        )
    return tuple((n - span) // jump + 1 for n, span, jump in zip(sizes, spans, stride, strict=True))


def pad(x: np.ndarray, padding: Sequence[Sequence[int]], value: float = 0.0) -> np.ndarray:
    """x with so many entries of `value` before and after each spatial axis."""
    if not any(map(any, padding)):
        return x
    spatial = list(zip(x.shape[2:], padding, strict=True))
    sizes = [n + sum(pair) for n, pair in spatial]
    check_growth(x, sizes, times=64)
    frame = np.full((*x.shape[:2], *sizes), value, x.dtype)
    inside = [slice(before, before + n) for n, (before, _) in spatial]
    frame[(slice(None), slice(None), *inside)] = x
    return frame


def check_growth(x: np.ndarray, sizes: Sequence[int], *, times: int) -> None:
    """ValueError for a space out of all proportion to x's, before memory is taken for it.

    No model that makes sense asks for it, but a file can.
    """
    most = 2**14 + times * math.prod(x.shape[2:])
    if math.prod(sizes) > most:
        raise ValueError(f"x: expected at most {most} places of a layer, got {sizes}")


def shifted(offset: int, count: int, stride: int, *, axis: int) -> tuple[slice, ...]:
    """The index of the same place in each of `count` windows along an axis."""
    return (slice(None),) * axis + (slice(offset, offset + (count - 1) * stride + 1, stride),)
