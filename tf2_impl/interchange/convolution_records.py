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
    built,
    of_rank,
    read_padding,
    same_padding,
    zeros,
)
from tf2_impl.interchange.weight import convolution as convolution_weights
from tf2_impl.layers.convolution import Convolution, TransposedConvolution

CONVOLUTIONS = (keras.layers.Conv1D, keras.layers.Conv2D)
TRANSPOSED_CONVOLUTIONS = (keras.layers.Conv1DTranspose, keras.layers.Conv2DTranspose)
CHANNELS_LAST = {"data_format": ("channels_last",)}


def _read_convolution(layer: Any, shape: Any) -> Options:
    padding = read_padding(layer, layer.kernel_size, layer.dilation_rate, shape)
    options = {"stride": list(layer.strides), "padding": padding}
    return {**options, "dilation": list(layer.dilation_rate)}


def _read_own_convolution(layer: Any, shape: Any) -> Options:
    padding = [[0, 0] for _ in layer.strides]
    options = {"stride": list(layer.strides), "padding": padding}
    return {**options, "dilation": list(layer.dilation_rate)}


def _convolution(
    dtype: str, *, weight: Ints, bias: Any = None, stride: Ints, padding: Pairs, dilation: Ints
) -> Layers:
    filters, features, *kernel = weight
    space = [None] * len(kernel)
    options: dict[str, Any] = {"strides": tuple(stride), "dilation_rate": tuple(dilation)}
    options |= {"use_bias": bias is not None, "dtype": dtype}
    pairs = [list(pair) for pair in padding]
    if max(stride) > 1 and max(dilation) > 1:
        layer = Convolution(filters, kernel, **options)
        return [*zeros(pairs, dtype), built(layer, *space, features)]
    make = of_rank(CONVOLUTIONS, len(kernel))
    name, before = "valid", zeros(pairs, dtype)
    if pairs == same_padding(kernel, dilation, stride, space):
        name, before = "same", []
    elif len(kernel) == 1 and pairs == [[dilation[0] * (kernel[0] - 1), 0]]:
        name, before = "causal", []
    if not any(map(any, pairs)):
        name = "valid"
    layer = make(filters, kernel, padding=name, **options)
    return [*before, built(layer, *space, features)]


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
        {**dict.fromkeys(CONVOLUTIONS, _read_convolution), Convolution: _read_own_convolution},
        _convolution,
        {**CHANNELS_LAST, "groups": (1,), "lora_rank": (None,)},
        dict.fromkeys((*CONVOLUTIONS, Convolution), convolution_weights),
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
