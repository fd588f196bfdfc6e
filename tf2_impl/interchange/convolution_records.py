"""The records of convolutions and transposed convolutions.

Where Keras's own arguments can say what a model file says, the layer is Keras's own; zeros that a
convolution adds beyond that are a ZeroPadding layer before it.
"""

from __future__ import annotations

from typing import Any

import keras

from tf2_impl.interchange.record import (
    Ints,
    Layers,
    Options,
    Pairs,
    Record,
    UnsupportedError,
    built,
    expect,
    of_rank,
    read_padding,
    same_padding,
    zeros,
)
from tf2_impl.interchange.weight import convolution as convolution_weights
from tf2_impl.interchange.weight import depthwise_convolution as depthwise_weights
from tf2_impl.layers.convolution import Convolution, TransposedConvolution
from tf2_impl.support.checks import check_groups

CONVOLUTIONS = (keras.layers.Conv1D, keras.layers.Conv2D)
DEPTHWISE_CONVOLUTIONS = (keras.layers.DepthwiseConv1D, keras.layers.DepthwiseConv2D)
SEPARABLE_CONVOLUTIONS = (keras.layers.SeparableConv1D, keras.layers.SeparableConv2D)
TRANSPOSED_CONVOLUTIONS = (keras.layers.Conv1DTranspose, keras.layers.Conv2DTranspose)
CHANNELS_LAST = {"data_format": ("channels_last",)}


def _read_convolution(layer: Any, shape: Any) -> Options:
    padding = read_padding(layer, layer.kernel_size, layer.dilation_rate, shape)
    options = {"stride": list(layer.strides), "padding": padding}
    return {**options, "dilation": list(layer.dilation_rate), "groups": layer.groups}


def _read_own_convolution(layer: Any, shape: Any) -> Options:
    padding = [[0, 0] for _ in layer.strides]
    options = {"stride": list(layer.strides), "padding": padding}
    return {**options, "dilation": list(layer.dilation_rate), "groups": layer.groups}


def _read_depthwise(layer: Any, shape: Any) -> Options:
    if not layer.built:
        raise UnsupportedError(f"{type(layer).__name__} without weights, which a keras.Input gives")
    padding = read_padding(layer, layer.kernel_size, layer.dilation_rate, shape)
    options = {"stride": list(layer.strides), "padding": padding}
    channels = layer.input_spec.axes[-1]
    return {**options, "dilation": list(layer.dilation_rate), "groups": channels}


def read_separable(layer: Any, shape: Any) -> list[Options]:
    """The options of a depthwise convolution, and of the one over single places behind it."""
    expect(layer, "data_format", layer.data_format == "channels_last")
    rank = len(layer.kernel_size)
    ones = {"stride": [1] * rank, "padding": [[0, 0] for _ in range(rank)], "dilation": [1] * rank}
    return [_read_depthwise(layer, shape), {**ones, "groups": 1}]


def _convolution(
    dtype: str,
    *,
    counted: bool,
    weight: Ints,
    bias: Any = None,
    stride: Ints,
    padding: Pairs,
    dilation: Ints,
    groups: int = 1,
) -> Layers:
    filters, group_features, *kernel = weight
    rank, features = len(kernel), groups * group_features
    options: dict[str, Any] = {"strides": tuple(stride), "dilation_rate": tuple(dilation)}
    options |= {"use_bias": bias is not None, "dtype": dtype}
    pairs = [list(pair) for pair in padding]
    name, before = "valid", zeros(pairs, dtype)
    depthwise = groups > 1 and group_features == 1
    # Keras's own depthwise layers take no other strides, and no unknown number of channels.
    own = depthwise and (len(set(stride)) > 1 or not counted)
    layer: keras.Layer
    if own or (max(stride) > 1 and max(dilation) > 1):
        layer = Convolution(filters, kernel, groups=groups, **options)
        return [*before, built(layer, *[None] * rank, features)]
    if pairs == same_padding(kernel, dilation, stride, [None] * rank):
        name, before = "same", []
    elif rank == 1 and not depthwise and pairs == [[dilation[0] * (kernel[0] - 1), 0]]:
        name, before = "causal", []
    if not any(map(any, pairs)):
        name = "valid"
    if depthwise:
        check_groups(groups, filters)
        options["depth_multiplier"] = filters // groups
        layer = of_rank(DEPTHWISE_CONVOLUTIONS, rank)(kernel, padding=name, **options)
    else:
        make = of_rank(CONVOLUTIONS, rank)
        layer = make(filters, kernel, padding=name, groups=groups, **options)
    return [*before, built(layer, *[None] * rank, features)]


def _cut(
    kernel: int, stride: int, dilation: int, padding: str, output_padding: int | None
) -> list[int]:
    """What Keras cuts off the full output of a transposed convolution, along one axis."""
    full = dilation * (kernel - 1) + 1
    if padding == "valid":
        extra = max(full, stride) - full if output_padding is None else output_padding
        return [0, -extra]
    rest = full - stride if output_padding is None else full - full % 2 - output_padding
    before = max(rest, 0) // 2
    return [before, rest - before]


def _read_transposed(layer: Any, shape: Any) -> Options:
    rank = len(layer.strides)
    axes = zip(
        layer.kernel_size,
        layer.strides,
        layer.dilation_rate,
        [layer.padding] * rank,
        layer.output_padding or [None] * rank,
        strict=True,
    )
    options = {"stride": list(layer.strides), "padding": [_cut(*axis) for axis in axes]}
    return {**options, "dilation": list(layer.dilation_rate)}


def _read_own_transposed(layer: Any, shape: Any) -> Options:
    options = {"stride": list(layer.strides), "padding": list(map(list, layer.cut))}
    return {**options, "dilation": list(layer.dilation_rate)}


def _transposed_convolution(
    dtype: str, *, weight: Ints, bias: Any = None, stride: Ints, padding: Pairs, dilation: Ints
) -> Layers:
    features, filters, *kernel = weight
    options: dict[str, Any] = {"strides": tuple(stride), "use_bias": bias is not None}
    options["dtype"] = dtype
    native = _native_cut(kernel, stride, padding) if max(dilation) == 1 else None
    layer: keras.Layer
    if native is None:
        options["dilation_rate"] = tuple(dilation)
        layer = TransposedConvolution(filters, kernel, cut=padding, **options)
    else:
        layer = of_rank(TRANSPOSED_CONVOLUTIONS, len(kernel))(filters, kernel, **native, **options)
    return [built(layer, *[None] * len(kernel), features)]


def _native_cut(kernel: Ints, stride: Ints, padding: Pairs) -> dict[str, Any] | None:
    """The arguments with which Keras cuts the same off; None when it cannot."""
    pairs = [list(pair) for pair in padding]
    # With "same", Keras adds its output_padding to a kernel that is cut to one place or none.
    added = {
        "valid": [-after for _, after in pairs],
        "same": [n - n % 2 - sum(pair) for n, pair in zip(kernel, pairs, strict=True)],
    }
    for name, more in added.items():
        sizes = list(zip(kernel, stride, more, strict=True))
        for extra in ([None] * len(kernel), more):
            cuts = [
                _cut(n, step, 1, name, one) for (n, step, _), one in zip(sizes, extra, strict=True)
            ]
            possible = extra[0] is None or all(
                0 <= one < step and (name == "valid" or n % 2 + one > 0) for n, step, one in sizes
            )
            if cuts == pairs and possible:
                output = None if extra[0] is None else tuple(more)
                return {"padding": name, "output_padding": output}
    return None


RECORDS = (
    Record(
        "Convolution",
        {
            **dict.fromkeys(CONVOLUTIONS, _read_convolution),
            **dict.fromkeys(DEPTHWISE_CONVOLUTIONS, _read_depthwise),
            Convolution: _read_own_convolution,
        },
        _convolution,
        {**CHANNELS_LAST, "lora_rank": (None,)},
        {
            **dict.fromkeys((*CONVOLUTIONS, Convolution), convolution_weights),
            **dict.fromkeys(DEPTHWISE_CONVOLUTIONS, depthwise_weights),
        },
        placed=("counted",),
    ),
    Record(
        "TransposedConvolution",
        {
            **dict.fromkeys(TRANSPOSED_CONVOLUTIONS, _read_transposed),
            TransposedConvolution: _read_own_transposed,
        },
        _transposed_convolution,
        CHANNELS_LAST,
        dict.fromkeys((*TRANSPOSED_CONVOLUTIONS, TransposedConvolution), convolution_weights),
    ),
)
