"""Convolution over time or over planes, and its transpose: the kernel is not flipped.

    y[b, o, t] = Σ_{c, k} x[b, c, stride·t + dilation·k − before] · weight[o, c, k] + bias[o]

The windows are unfolded, as many at a time as stay in the cache, and go through one matrix product.
With groups the channels are divided: each part of the output's sees its part of the input's alone,
in a matrix product of its own. As many groups as channels are a depthwise convolution.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np
from numpy.lib.stride_tricks import as_strided

from numpy_infer.layers.windows import check_growth, check_space, pad, shifted, window_counts
from numpy_infer.support.checks import (
    check_dtype,
    check_floating,
    check_groups,
    check_padding,
    check_sizes,
    check_weight,
)
from numpy_infer.support.layer import Layer

BLOCK = 2**22  # bytes of unfolded windows at a time


def convolution(
    x: np.ndarray,
    weight: np.ndarray,
    bias: np.ndarray | None = None,
    *,
    stride: Sequence[int] | None = None,
    padding: Sequence[Sequence[int]] | None = None,
    dilation: Sequence[int] | None = None,
    groups: int = 1,
) -> np.ndarray:
    """x: (batch, in, *space), weight: (out, in / groups, *kernel). Returns (batch, out, *windows).

    stride, dilation: one number for each spatial axis, or None for 1; padding: (before, after)
    zeros for each, or None for none. groups: a divisor of `out`. TypeError for another dtype than
    the weight's, ValueError for a wrong number of channels or an x that is smaller than the kernel.
    """
    _check_input(x, weight, groups * weight.shape[1])
    kernel = weight.shape[2:]
    stride, padding, dilation = _filled_in(len(kernel), stride, padding, dilation)
    counts = window_counts(x, kernel, stride, padding, dilation)
    matrix, x = weight.reshape(groups, len(weight) // groups, -1), pad(x, padding)
    y = np.empty((len(x), *matrix.shape[:2], math.prod(counts)), x.dtype)
    if math.prod(kernel) == math.prod(stride) == 1:  # every place is a window
        np.matmul(matrix, x.reshape(len(x), groups, weight.shape[1], y.shape[3]), out=y)
    else:
        _multiply_windows(matrix, _windows(x, kernel, counts, stride, dilation), y)
    y = y.reshape(len(x), len(weight), *counts)
    if bias is not None:
        y += bias.reshape(-1, *[1] * len(counts))
    return y


def transposed_convolution(
    x: np.ndarray,
    weight: np.ndarray,
    bias: np.ndarray | None = None,
    *,
    stride: Sequence[int] | None = None,
    padding: Sequence[Sequence[int]] | None = None,
    dilation: Sequence[int] | None = None,
) -> np.ndarray:
    """x: (batch, in, *space), weight: (in, out, *kernel). Returns (batch, out, *space).

    The full output has (n − 1) · stride + dilation · (kernel − 1) + 1 places on an axis;
    padding: (before, after) to cut off, a negative "after" extends it. Errors as for
    `convolution`, and ValueError when nothing is left.
    """
    _check_input(x, weight, len(weight))
    space, (out_channels, *kernel) = x.shape[2:], weight.shape[1:]
    stride, padding, dilation = _filled_in(len(kernel), stride, padding, dilation)
    sizes = [  # of the full output, extended where it is to be
        (n - 1) * jump + step * (places - 1) + 1 + max(0, -after)
        for n, places, jump, (_, after), step in zip(
            space, kernel, stride, padding, dilation, strict=True
        )
    ]
    kept = [
        slice(before, size - max(0, after))
        for size, (before, after) in zip(sizes, padding, strict=True)
    ]
    if any(one.start >= one.stop for one in kept):
        raise ValueError(f"x: expected more places than padding cuts off, got shape {x.shape}")
    check_growth(x, sizes, times=4096)
    matrix = weight.reshape(len(weight), -1).T
    y = np.zeros((len(x), out_channels, *sizes), x.dtype)
    item = len(matrix) * math.prod(space) * x.itemsize
    for block in _steps(len(x), item):
        flat = x[block].reshape(-1, len(weight), math.prod(space))
        columns = np.matmul(matrix, flat).reshape(-1, out_channels, *kernel, *space)
        for places in itertools.product(*map(range, kernel)):
            target = y[block]
            for axis, (place, n) in enumerate(zip(places, space, strict=True)):
                target = target[shifted(place * dilation[axis], n, stride[axis], axis=2 + axis)]
            target += columns[(slice(None), slice(None), *places)]
    y = y[(slice(None), slice(None), *kept)]
    return y if bias is None else y + bias.reshape(-1, *[1] * len(space))


class Convolution(Layer):
    """`convolution` as a layer.

    weight: (out, in / groups, *kernel), of one or two spatial axes; bias: (out,) or None. stride
    and dilation: one number for each axis; padding: (before, after) zeros for each; groups: a
    divisor of `out`.
    """

    def __init__(
        self,
        previous: Layer,
        weight: np.ndarray,
        bias: np.ndarray | None = None,
        *,
        stride: Sequence[int],
        padding: Sequence[Sequence[int]],
        dilation: Sequence[int],
        groups: int = 1,
    ) -> None:
        super().__init__(previous)
        _check_arrays(weight, bias, out_axis=0)
        rank = weight.ndim - 2
        self.weight = weight
        self.bias = bias
        self.stride = check_sizes("stride", stride, rank)
        self.padding = check_padding("padding", padding, rank)
        self.dilation = check_sizes("dilation", dilation, rank)
        self.groups = check_groups(groups, len(weight))

    def forward(self, x: np.ndarray) -> np.ndarray:
        """x: (batch, in, *space) of the weight's dtype. Returns (batch, out, *windows)."""
        return convolution(
            x,
            self.weight,
            self.bias,
            stride=self.stride,
            padding=self.padding,
            dilation=self.dilation,
            groups=self.groups,
        )


class TransposedConvolution(Layer):
    """`transposed_convolution` as a layer.

    weight: (in, out, *kernel), of one or two spatial axes; bias: (out,) or None. stride and
    dilation: one number for each axis; padding: (before, after) to cut off for each, a negative
    "after" extends the output.
    """

    def __init__(
        self,
        previous: Layer,
        weight: np.ndarray,
        bias: np.ndarray | None = None,
        *,
        stride: Sequence[int],
        padding: Sequence[Sequence[int]],
        dilation: Sequence[int],
    ) -> None:
        super().__init__(previous)
        _check_arrays(weight, bias, out_axis=1)
        rank = weight.ndim - 2
        self.weight = weight
        self.bias = bias
        self.stride = check_sizes("stride", stride, rank)
        self.padding = check_padding("padding", padding, rank, extends=True)
        self.dilation = check_sizes("dilation", dilation, rank)

    def forward(self, x: np.ndarray) -> np.ndarray:
        """x: (batch, in, *space) of the weight's dtype. Returns (batch, out, *space)."""
        return transposed_convolution(
            x,
            self.weight,
            self.bias,
            stride=self.stride,
            padding=self.padding,
            dilation=self.dilation,
        )


def _filled_in(
    rank: int,
    stride: Sequence[int] | None,
    padding: Sequence[Sequence[int]] | None,
    dilation: Sequence[int] | None,
) -> tuple[Sequence[int], Sequence[Sequence[int]], Sequence[int]]:
    """The three with 1, no padding and 1 along each axis where they are None."""
    ones, none = [1] * rank, [[0, 0]] * rank
    return (
        ones if stride is None else stride,
        none if padding is None else padding,
        ones if dilation is None else dilation,
    )


def _check_arrays(weight: np.ndarray, bias: np.ndarray | None, *, out_axis: int) -> None:
    check_floating("weight", weight)
    if weight.ndim not in (3, 4) or weight.size == 0:
        raise ValueError(f"weight: expected 3 or 4 axes with entries, got shape {weight.shape}")
    if bias is not None:
        check_weight("bias", bias, (weight.shape[out_axis],), weight)


def _check_input(x: np.ndarray, weight: np.ndarray, channels: int) -> None:
    check_space(x, rank=weight.ndim - 2)
    check_dtype("x", x, weight.dtype)
    if x.shape[1] != channels:
        raise ValueError(f"x: expected {channels} channels, got shape {x.shape}")


def _windows(
    x: np.ndarray,
    kernel: Sequence[int],
    counts: Sequence[int],
    stride: Sequence[int],
    dilation: Sequence[int],
) -> np.ndarray:
    """A view of padded x, (batch, channels, *kernel, *windows)."""
    within = [bytes * step for bytes, step in zip(x.strides[2:], dilation, strict=True)]
    between = [bytes * jump for bytes, jump in zip(x.strides[2:], stride, strict=True)]
    shape = (*x.shape[:2], *kernel, *counts)
    return as_strided(x, shape, (*x.strides[:2], *within, *between), writeable=False)


def _multiply_windows(matrix: np.ndarray, windows: np.ndarray, y: np.ndarray) -> None:
    """y = matrix · windows for each item and group, in blocks of items and of windows.

    matrix: (groups, out, in · kernel), both of a group; windows: (batch, in of all groups, *kernel,
    *counts); y: (batch, groups, out, windows).
    """
    rank = windows.ndim // 2 - 1
    groups, _, depth = matrix.shape
    item = groups * depth * y.shape[3] * y.itemsize
    rows = windows.shape[2 + rank]
    row = y.shape[3] // rows
    for block, lines in itertools.product(_steps(len(y), item), _steps(rows, item // rows)):
        part = windows[(block, *[slice(None)] * (1 + rank), lines)]
        target = y[block, :, :, lines.start * row : lines.stop * row]
        if groups > 1 or target.shape[3] >= depth:
            np.matmul(matrix, part.reshape(len(part), groups, depth, -1), out=target)
        else:  # few windows and a large matrix, which would be read again for each item
            columns = np.moveaxis(part, 0, 1 + rank).reshape(depth, -1)
            product = (matrix[0] @ columns).reshape(-1, len(part), target.shape[3])
            target[:, 0] = product.swapaxes(0, 1)


def _steps(length: int, size: int) -> list[slice]:
    """0..length in steps of as many as have BLOCK bytes, when each has `size`, or of one."""
    step = max(1, BLOCK // max(1, size))
    return [slice(start, min(start + step, length)) for start in range(0, length, step)]
