"""From a layer's entry in a model file to Keras's layers.

Where Keras's own arguments can say what the entry says, it is Keras's own layer; zeros that a
convolution adds beyond that are a ZeroPadding layer before it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np

from tf2_impl.interchange.components import component_class
from tf2_impl.interchange.from_native import (
    AVERAGE_POOLS,
    GLOBAL_AVERAGE_POOLS,
    GLOBAL_MAX_POOLS,
    MAX_POOLS,
    Entry,
    cut,
    same_padding,
)
from tf2_impl.interchange.weights import CONVOLUTIONS, TRANSPOSED_CONVOLUTIONS
from tf2_impl.layers.activations import LeakyReLU, LogSoftmax, TopKGating, gelu, gelu_tanh
from tf2_impl.layers.convolution import Convolution, TransposedConvolution
from tf2_impl.layers.embedding import Embedding
from tf2_impl.layers.normalization import BatchNorm, L2Normalize
from tf2_impl.layers.pooling import (
    AveragePool,
    GlobalAveragePool,
    GlobalMaxPool,
    MaxPool,
    MaxUnpool,
)
from tf2_impl.layers.recurrent import BackwardGRU
from tf2_impl.layers.shape import ChannelsFirst, ChannelsLast, Flatten, RowMajorFlatten

ZERO_PADDINGS = (keras.layers.ZeroPadding1D, keras.layers.ZeroPadding2D)

Ints = Sequence[int]
Pairs = Sequence[Sequence[int]]
Layers = list[keras.Layer]


def layers(
    entry: Entry,
    shapes: Mapping[str, Ints],
    dtype: str,
    *,
    rank: int | None,
    channels: bool,
    told: bool,
) -> Layers:
    """The layers of an entry, built, their weights yet to be set.

    shapes: of its arrays. rank: of what it takes, None when unknown. channels: whether in the
    file that is (batch, channels, *space), which here is (batch, *space, channels). told: whether
    an entry before it has told that. ValueError or TypeError for what is not in the vocabulary.
    """
    if "." in entry.layer:
        return [component_class(entry.layer)(**entry.config, dtype=dtype)]
    if entry.layer not in LOADED:
        raise ValueError(f"layer: expected one of {', '.join(LOADED)}, got {entry.layer!r}")
    sizes = {name.replace(".", "_"): tuple(shape) for name, shape in shapes.items()}
    place = {"rank": rank, "channels": channels, "told": told}
    where = {name: place[name] for name in PLACED.get(entry.layer, ())}
    try:
        return LOADED[entry.layer](dtype, **where, **sizes, **entry.config, **entry.training)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"arrays: expected those of a {entry.layer} with {entry.config}, got {sizes}: {error}"
        ) from error


def _built(layer: keras.Layer, *shape: int | None) -> keras.Layer:
    layer.build((None, *shape))
    return layer


def _of_rank(kinds: Sequence[Any], rank: int) -> Any:
    """The class for 1 or 2 spatial axes."""
    if rank not in (1, 2):
        raise ValueError(f"expected 1 or 2 spatial axes, got {rank}")
    return kinds[rank - 1]


def _projection(dtype: str, *, weight: Ints, bias: Any = None) -> Layers:
    features, units = weight
    return [_built(keras.layers.Dense(units, use_bias=bias is not None, dtype=dtype), features)]


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
        return [*_zeros(pairs, dtype), _built(layer, *space, features)]
    make = _of_rank(CONVOLUTIONS, len(kernel))
    name, before = "valid", _zeros(pairs, dtype)
    if pairs == same_padding(kernel, dilation, stride, space):
        name, before = "same", []
    elif len(kernel) == 1 and pairs == [[dilation[0] * (kernel[0] - 1), 0]]:
        name, before = "causal", []
    if not any(map(any, pairs)):
        name = "valid"
    layer = make(filters, kernel, padding=name, **options)
    return [*before, _built(layer, *space, features)]


def _zeros(pairs: Pairs, dtype: str) -> Layers:
    """The layer that adds zeros, where there are any to add."""
    if not any(map(any, pairs)):
        return []
    padding = tuple(map(tuple, pairs)) if len(pairs) == 2 else tuple(pairs[0])
    return [_of_rank(ZERO_PADDINGS, len(pairs))(padding, dtype=dtype)]


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
        layer = _of_rank(TRANSPOSED_CONVOLUTIONS, len(kernel))(filters, kernel, **native, **options)
    return [_built(layer, *[None] * len(kernel), features)]


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
                cut(n, step, 1, name, one) for (n, step, _), one in zip(sizes, extra, strict=True)
            ]
            possible = extra[0] is None or all(
                0 <= one < step and (name == "valid" or n % 2 + one > 0) for n, step, one in sizes
            )
            if cuts == pairs and possible:
                output = None if extra[0] is None else tuple(more)
                return {"padding": name, "output_padding": output}
    return None


def _max_pool(dtype: str, *, size: Ints, stride: Ints, padding: Pairs) -> Layers:
    if any(map(any, padding)):
        return [MaxPool(size, stride, padding, dtype=dtype)]
    return [_of_rank(MAX_POOLS, len(size))(tuple(size), strides=tuple(stride), dtype=dtype)]


def _max_unpool(dtype: str, *, size: Ints, stride: Ints, padding: Pairs) -> Layers:
    return [MaxUnpool(size, stride, padding, dtype=dtype)]


def _average_pool(
    dtype: str, *, size: Ints, stride: Ints, padding: Pairs, count_padding: bool
) -> Layers:
    if any(map(any, padding)) and not count_padding:
        return [AveragePool(size, stride, padding, dtype=dtype)]
    pool = _of_rank(AVERAGE_POOLS, len(size))(tuple(size), strides=tuple(stride), dtype=dtype)
    return [*_zeros(padding, dtype), pool]


def _global_pool(native: Sequence[type], own: type) -> Callable[..., Layers]:
    def load(dtype: str, *, rank: int | None, keepdims: bool) -> Layers:
        kind = own if rank is None else _of_rank(native, rank - 2)
        return [kind(keepdims=keepdims, dtype=dtype)]

    return load


def _batch_norm(
    dtype: str,
    *,
    rank: int | None,
    channels: bool,
    scale: Ints,
    shift: Any,
    mean: Any,
    variance: Any,
    epsilon: float,
    momentum: float,
) -> Layers:
    options = {"epsilon": epsilon, "momentum": round(1 - momentum, 15), "dtype": dtype}
    if rank == 2 or (channels and rank is not None):
        layer = keras.layers.BatchNormalization(**options)
        return [_built(layer, *[None] * (rank - 2), *scale)]
    return [_built(BatchNorm(-1 if channels else 1, **options), *scale)]


def _layer_norm(dtype: str, *, scale: Ints, shift: Any, epsilon: float) -> Layers:
    return [_built(keras.layers.LayerNormalization(epsilon=epsilon, dtype=dtype), *scale)]


def _embedding(dtype: str, *, table: Ints, padding: bool) -> Layers:
    kind = Embedding if padding else keras.layers.Embedding
    return [_built(kind(*table, dtype=dtype), None)]


def _gru(
    dtype: str,
    *,
    input_weight: Ints,
    hidden_weight: Ints,
    input_bias: Any = None,
    direction: str,
    return_sequences: bool,
    **others: Any,
) -> Layers:
    options = {"use_bias": input_bias is not None, "dtype": dtype}
    units = hidden_weight[0]
    layer: keras.Layer
    if direction == "backward" and return_sequences:
        layer = BackwardGRU(units, **options)
    else:
        options["go_backwards"] = direction == "backward"
        layer = keras.layers.GRU(units, return_sequences=return_sequences, **options)
        if direction == "both":
            layer = keras.layers.Bidirectional(layer, dtype=dtype)
    return [_built(layer, None, input_weight[0])]


def _flatten(dtype: str, *, channels: bool, told: bool) -> Layers:
    if channels:
        return [Flatten(dtype=dtype)]
    return [(keras.layers.Flatten if told else RowMajorFlatten)(dtype=dtype)]


def _softmax(dtype: str, *, channels: bool, axis: int) -> Layers:
    return [keras.layers.Softmax(-1 if channels else axis, dtype=dtype)]


def _log_softmax(dtype: str, *, channels: bool, axis: int) -> Layers:
    if channels or axis == -1:
        return [keras.layers.Activation("log_softmax", dtype=dtype)]
    return [LogSoftmax(axis, dtype=dtype)]


def _leaky_relu(dtype: str, *, slope: float) -> Layers:
    # Keras's own keeps the slope in float32, and takes none below zero.
    if slope >= 0 and (dtype == "float32" or float(np.float32(slope)) == slope):
        return [keras.layers.LeakyReLU(slope, dtype=dtype)]
    return [LeakyReLU(slope, dtype=dtype)]


def _gelu(dtype: str, *, approximate: bool) -> Layers:
    exact = keras.activations.gelu if dtype == "float32" else gelu
    return [keras.layers.Activation(gelu_tanh if approximate else exact, dtype=dtype)]


def _dropout(dtype: str, *, rate: float) -> Layers:
    return [keras.layers.Dropout(rate, dtype=dtype)]


def _plain(kind: Callable[..., keras.Layer], *arguments: Any) -> Callable[..., Layers]:
    return lambda dtype, **config: [kind(*arguments, **config, dtype=dtype)]


# What an entry needs to know of where it stands.
PLACED = {
    "BatchNorm": ("rank", "channels"),
    "GlobalAveragePool": ("rank",),
    "GlobalMaxPool": ("rank",),
    "Flatten": ("channels", "told"),
    "Softmax": ("channels",),
    "LogSoftmax": ("channels",),
}
LOADED: dict[str, Callable[..., Layers]] = {
    "Projection": _projection,
    "Convolution": _convolution,
    "TransposedConvolution": _transposed_convolution,
    "MaxPool": _max_pool,
    "MaxUnpool": _max_unpool,
    "AveragePool": _average_pool,
    "GlobalAveragePool": _global_pool(GLOBAL_AVERAGE_POOLS, GlobalAveragePool),
    "GlobalMaxPool": _global_pool(GLOBAL_MAX_POOLS, GlobalMaxPool),
    "BatchNorm": _batch_norm,
    "LayerNorm": _layer_norm,
    "L2Normalize": _plain(L2Normalize),
    "Embedding": _embedding,
    "GRU": _gru,
    "Flatten": _flatten,
    "ChannelsFirst": _plain(ChannelsFirst),
    "ChannelsLast": _plain(ChannelsLast),
    "Dropout": _dropout,
    "ReLU": _plain(keras.layers.ReLU),
    "Sigmoid": _plain(keras.layers.Activation, "sigmoid"),
    "Tanh": _plain(keras.layers.Activation, "tanh"),
    "SiLU": _plain(keras.layers.Activation, "silu"),
    "Softplus": _plain(keras.layers.Activation, "softplus"),
    "SELU": _plain(keras.layers.Activation, "selu"),
    "LeakyReLU": _leaky_relu,
    "ELU": _plain(keras.layers.ELU),
    "GELU": _gelu,
    "Softmax": _softmax,
    "LogSoftmax": _log_softmax,
    "TopKGating": _plain(TopKGating),
}
