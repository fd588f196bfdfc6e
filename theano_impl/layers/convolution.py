"""Convolution over time or over planes, and its transpose: the kernel is not flipped.

    y[b, o, t] = Σ_{c, k} x[b, c, stride·t + dilation·k − before] · weight[o, c, k] + bias[o]

All windows of a batch go through one matrix product. With groups the channels are divided: each
part of the output's sees its part of the input's alone, in a matrix product of its own. As many
groups as channels are a depthwise convolution.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import theano.tensor as T
from theano.compile.sharedvalue import SharedVariable
from theano.tensor.var import TensorVariable

from theano_impl.layers.windows import pad, shifted, windows
from theano_impl.support.checks import (
    check_channels,
    check_count,
    check_dtype,
    check_flag,
    check_floating,
    check_groups,
    check_padding,
    check_seed,
    check_sizes,
    check_values,
)
from theano_impl.support.initializers import convolution_kernel
from theano_impl.support.layer import Layer


def convolution(
    x: TensorVariable,
    weight: TensorVariable,
    bias: TensorVariable | None,
    *,
    kernel_size: Sequence[int],
    stride: Sequence[int] | None = None,
    padding: Sequence[Sequence[int]] | None = None,
    dilation: Sequence[int] | None = None,
    groups: int = 1,
) -> TensorVariable:
    """x: (batch, in, *space), weight: (out, in / groups, *kernel_size).

    Returns (batch, out, *space). stride, dilation: one number for each axis, or None for 1;
    padding: [before, after] zeros for each, or None for none. groups: a divisor of in and out.
    AssertionError, when it runs, for an x that is smaller than the kernel.
    """
    stride, padding, dilation = _filled_in(len(kernel_size), stride, padding, dilation)
    # The channels go first, so that the product's factor need not be turned round.
    places = windows(_swap(pad(x, padding)), kernel_size, stride, dilation)
    columns = T.stack(places, axis=1)  # (in, kernel, batch, *out)
    depth, width = columns.shape[0] * columns.shape[1], places[0][0].size
    counts = [places[0].shape[axis] for axis in range(2, x.ndim)]
    if groups == 1:
        y = T.dot(weight.flatten(2), columns.reshape((depth, width)))
    else:
        matrices = weight.reshape((groups, weight.shape[0] // groups, depth // groups))
        y = T.batched_dot(matrices, columns.reshape((groups, depth // groups, width)))
    y = _swap(y.reshape((weight.shape[0], x.shape[0], *counts), ndim=x.ndim))
    return y if bias is None else y + _per_channel(bias, x.ndim)


def transposed_convolution(
    x: TensorVariable,
    weight: TensorVariable,
    bias: TensorVariable | None,
    *,
    kernel_size: Sequence[int],
    stride: Sequence[int] | None = None,
    padding: Sequence[Sequence[int]] | None = None,
    dilation: Sequence[int] | None = None,
) -> TensorVariable:
    """x: (batch, in, *space), weight: (in, out, *kernel_size). Returns (batch, out, *space).

    The full output has (n − 1) · stride + dilation · (kernel − 1) + 1 places on an axis;
    padding: [before, after] to cut off, a negative "after" extends it. AssertionError, when it
    runs, for an x without places, or when none are left.
    """
    stride, padding, dilation = _filled_in(len(kernel_size), stride, padding, dilation)
    x = check_values(x, T.all(x.shape[2:] > 0), "x", "at least one place")
    counts = [x.shape[axis] for axis in range(2, x.ndim)]
    batch, channels = x.shape[0], weight.shape[1]
    columns = T.dot(weight.flatten(2).T, _swap(x).flatten(2))
    columns = columns.reshape((channels, math.prod(kernel_size), batch, *counts))
    sizes = [
        (n - 1) * jump + step * (k - 1) + 1 + max(0, -after)
        for n, jump, step, k, (_, after) in zip(
            counts, stride, dilation, kernel_size, padding, strict=True
        )
    ]
    y = T.alloc(np.asarray(0, x.dtype), channels, batch, *sizes)
    for number, place in enumerate(shifted(kernel_size, stride, dilation, counts)):
        y = T.inc_subtensor(y[place], columns[:, number])
    kept = [
        slice(before, size - max(0, after))
        for size, (before, after) in zip(sizes, padding, strict=True)
    ]
    y = _swap(y[(slice(None), slice(None), *kept)])
    y = check_values(y, T.all(y.shape[2:] > 0), "x", "more places than padding cuts off")
    return y if bias is None else y + _per_channel(bias, x.ndim)


class Convolution(Layer):
    """`convolution` as a layer, of as many spatial axes as kernel_size has, 1 or 2.

    x: (batch, in_channels, *space); `.output` is (batch, out_channels, *space). stride and
    dilation are 1 and padding is 0 when left out; groups divides in_channels and out_channels.
    TypeError for another dtype than the weight's; AssertionError, when it runs, for a wrong number
    of channels or an x smaller than the kernel.
    """

    def __init__(
        self,
        x: TensorVariable,
        in_channels: int,
        out_channels: int,
        kernel_size: Sequence[int],
        *,
        stride: Sequence[int] | None = None,
        padding: Sequence[Sequence[int]] | None = None,
        dilation: Sequence[int] | None = None,
        groups: int = 1,
        bias: bool = True,
        seed: int | None = None,
    ) -> None:
        in_channels = check_count("in_channels", in_channels)
        out_channels = check_count("out_channels", out_channels)
        groups = check_groups(groups, in_channels)
        check_groups(groups, out_channels)
        bias = check_flag("bias", bias)
        seed = check_seed("seed", seed)
        window = _checked_window(kernel_size, stride, padding, dilation, extends=False)
        sizes = {"in_channels": in_channels, "out_channels": out_channels}
        super().__init__(x, config={**sizes, **window, "groups": groups, "bias": bias})
        channels = (out_channels, in_channels // groups)
        self.weight, self.bias, x = _add_weights(self, x, channels, window["kernel_size"], seed)
        self.output = convolution(x, self.weight, self.bias, **window, groups=groups)


class TransposedConvolution(Layer):
    """`transposed_convolution` as a layer; arguments and errors as for `Convolution`.

    padding: to cut off the full output, a negative "after" extends it.
    """

    def __init__(
        self,
        x: TensorVariable,
        in_channels: int,
        out_channels: int,
        kernel_size: Sequence[int],
        *,
        stride: Sequence[int] | None = None,
        padding: Sequence[Sequence[int]] | None = None,
        dilation: Sequence[int] | None = None,
        bias: bool = True,
        seed: int | None = None,
    ) -> None:
        in_channels = check_count("in_channels", in_channels)
        out_channels = check_count("out_channels", out_channels)
        bias = check_flag("bias", bias)
        seed = check_seed("seed", seed)
        window = _checked_window(kernel_size, stride, padding, dilation, extends=True)
        sizes = {"in_channels": in_channels, "out_channels": out_channels}
        super().__init__(x, config={**sizes, **window, "bias": bias})
        channels = (in_channels, out_channels)
        self.weight, self.bias, x = _add_weights(self, x, channels, window["kernel_size"], seed)
        self.output = transposed_convolution(x, self.weight, self.bias, **window)


def _add_weights(
    layer: Layer,
    x: TensorVariable,
    channels: tuple[int, int],
    kernel_size: Sequence[int],
    seed: int | None,
) -> tuple[SharedVariable, SharedVariable | None, TensorVariable]:
    """A layer's new weight, (*channels, *kernel_size), its bias, and x, checked against them."""
    kernel = convolution_kernel(*channels, *kernel_size, rng=np.random.default_rng(seed))
    weight = layer.add_param("weight", kernel)
    zeros = np.zeros(layer.config["out_channels"])
    bias = layer.add_param("bias", zeros) if layer.config["bias"] else None
    check_floating("x", x, ndim=2 + len(kernel_size))
    check_dtype("x", x, weight.dtype)
    return weight, bias, check_channels("x", x, layer.config["in_channels"])


def _checked_window(
    kernel_size: Sequence[int],
    stride: Sequence[int] | None,
    padding: Sequence[Sequence[int]] | None,
    dilation: Sequence[int] | None,
    *,
    extends: bool,
) -> dict[str, Any]:
    """The four, as lists, with what was left out filled in."""
    rank = len(kernel_size)
    check_count("kernel_size", rank, most=2)
    stride, padding, dilation = _filled_in(rank, stride, padding, dilation)
    return {
        "kernel_size": check_sizes("kernel_size", kernel_size, rank),
        "stride": check_sizes("stride", stride, rank),
        "padding": check_padding("padding", padding, rank, extends=extends),
        "dilation": check_sizes("dilation", dilation, rank),
    }


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


def _swap(x: TensorVariable) -> TensorVariable:
    """Batch and channels in each other's place."""
    return x.dimshuffle(1, 0, *range(2, x.ndim))


def _per_channel(values: TensorVariable, ndim: int) -> TensorVariable:
    return values.dimshuffle("x", 0, *["x"] * (ndim - 2))
