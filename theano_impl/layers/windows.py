"""Windows that slide over the spatial axes: one shifted slice for each place of the window.

Slices run in every mode. Theano's own convolution has no implementation without a compiler.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np
import theano.tensor as T
from theano.tensor.var import TensorVariable

from theano_impl.support.checks import check_values


def pad(x: TensorVariable, padding: Sequence[Sequence[int]], value: float = 0.0) -> TensorVariable:
    """x: (batch, channels, *space) with so many entries of `value` before and after each axis."""
    if not any(map(any, padding)):
        return x
    sizes = [x.shape[axis] + sum(pair) for axis, pair in enumerate(padding, start=2)]
    frame = T.alloc(np.asarray(value, x.dtype), x.shape[0], x.shape[1], *sizes)
    inside = [
        slice(before, before + x.shape[axis]) for axis, (before, _) in enumerate(padding, start=2)
    ]
    return T.set_subtensor(frame[(slice(None), slice(None), *inside)], x)


def windows(
    x: TensorVariable, size: Sequence[int], stride: Sequence[int], dilation: Sequence[int]
) -> list[TensorVariable]:
    """For each place of the window, row after row, what stands there in every window.

    x: (batch, channels, *space). Each is (batch, channels, *windows). AssertionError, when it
    runs, for an x that is smaller than the window.
    """
    spans = [step * (n - 1) + 1 for n, step in zip(size, dilation, strict=True)]
    x = check_values(x, T.all(T.ge(x.shape[2:], spans)), "x", f"at least {spans} places")
    counts = [
        (x.shape[axis] - span) // step + 1
        for axis, (span, step) in enumerate(zip(spans, stride, strict=True), start=2)
    ]
    return [x[one] for one in shifted(size, stride, dilation, counts)]


def shifted(
    size: Sequence[int],
    stride: Sequence[int],
    dilation: Sequence[int],
    counts: Sequence[TensorVariable],
) -> list[tuple[slice, ...]]:
    """For each place of the window, row after row, where it is in each of `counts` windows."""
    everything = slice(None)
    return [
        (
            everything,
            everything,
            *(
                slice(place * step, place * step + (count - 1) * jump + 1, jump)
                for place, step, jump, count in zip(places, dilation, stride, counts, strict=True)
            ),
        )
        for places in itertools.product(*map(range, size))
    ]


def place_of(window: TensorVariable, size: Sequence[int], axis: int) -> TensorVariable:
    """The coordinate along an axis of places that are numbered row after row."""
    return window // math.prod(size[axis + 1 :]) % size[axis]
