"""From one of Keras's layers to its entries in a model file.

docs/model_files.md lists the entries. An `activation` that a layer applies itself is an entry of
its own. What is for training alone and has no place in the file is left out: initializers,
regularizers, constraints.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import keras
import numpy as np

from tf2_impl.interchange.components import component_name
from tf2_impl.interchange.weights import BATCH_NORMS, CONVOLUTIONS, TRANSPOSED_CONVOLUTIONS
from tf2_impl.layers.activations import LeakyReLU, LogSoftmax, TopKGating, gelu, gelu_tanh
from tf2_impl.layers.convolution import Convolution, TransposedConvolution
from tf2_impl.layers.embedding import Embedding
from tf2_impl.layers.normalization import L2Normalize
from tf2_impl.layers.pooling import (
    AveragePool,
    GlobalAveragePool,
    GlobalMaxPool,
    MaxPool,
    MaxUnpool,
)
from tf2_impl.layers.recurrent import BackwardGRU
from tf2_impl.layers.shape import ChannelsFirst, ChannelsLast, Flatten, RowMajorFlatten

MAX_POOLS = (keras.layers.MaxPooling1D, keras.layers.MaxPooling2D)
AVERAGE_POOLS = (keras.layers.AveragePooling1D, keras.layers.AveragePooling2D)
GLOBAL_AVERAGE_POOLS = (
    keras.layers.GlobalAveragePooling1D,
    keras.layers.GlobalAveragePooling2D,
)
GLOBAL_MAX_POOLS = (keras.layers.GlobalMaxPooling1D, keras.layers.GlobalMaxPooling2D)
FLATTENS = (keras.layers.Flatten, Flatten, RowMajorFlatten)
# Keras keeps the axes as numbers, or after a build as a list.
LAST = (-1, [-1])
CHANNELS_LAST = {"data_format": ("channels_last",)}
CONVOLUTION_OPTIONS = {**CHANNELS_LAST, "groups": (1,), "lora_rank": (None,)}
BATCH_NORM_OPTIONS = {"renorm": (False,), "synchronized": (False,)}
GRU_OPTIONS = {
    "activation": (keras.activations.tanh,),
    "recurrent_activation": (keras.activations.sigmoid,),
    "reset_after": (True,),
    "dropout": (0,),
    "recurrent_dropout": (0,),
    "stateful": (False,),
    "return_state": (False,),
}
# The values of their options with which Keras's layers are in the vocabulary.
ACCEPTED: dict[type[keras.Layer], dict[str, tuple[Any, ...]]] = {
    keras.layers.Dense: {"lora_rank": (None,), "quantization_mode": (None,)},
    **dict.fromkeys(CONVOLUTIONS, CONVOLUTION_OPTIONS),
    **dict.fromkeys(
        (
            *TRANSPOSED_CONVOLUTIONS,
            *MAX_POOLS,
            *AVERAGE_POOLS,
            *GLOBAL_AVERAGE_POOLS,
            *GLOBAL_MAX_POOLS,
            keras.layers.Flatten,
        ),
        CHANNELS_LAST,
    ),
    **dict.fromkeys(BATCH_NORMS, BATCH_NORM_OPTIONS),
    keras.layers.LayerNormalization: {"axis": LAST, "rms_scaling": (False,)},
    keras.layers.UnitNormalization: {"axis": LAST},
    keras.layers.Embedding: {"lora_rank": (None,), "quantization_mode": (None,)},
    **dict.fromkeys((keras.layers.GRU, BackwardGRU), GRU_OPTIONS),
    keras.layers.Bidirectional: {"merge_mode": ("concat",)},
    keras.layers.Dropout: {"noise_shape": (None,)},
    keras.layers.ReLU: {"max_value": (None,), "negative_slope": (0,), "threshold": (0,)},
}


class Entry(NamedTuple):
    """What a model file says of a layer, but for its place and its weights."""

    layer: str
    config: dict[str, Any]
    training: Mapping[str, Any] = MappingProxyType({})


class UnsupportedError(ValueError):
    """A layer, or an option of one, that is not in the vocabulary: the message is its name."""


def entries(layer: keras.Layer, shape: Sequence[int | None] | None) -> list[Entry]:
    """The entries of a layer or a component, of which the first has its weights.

    shape: of the layer's input, None where it is unknown. UnsupportedError for any other layer.
    """
    component = component_name(layer)
    if component is not None:
        return [Entry(component, dict(layer.config))]
    kind = type(layer)
    if kind is keras.layers.Activation:
        return _activation(layer)
    if kind not in SAVED:
        raise UnsupportedError(kind.__name__)
    for option, accepted in ACCEPTED.get(kind, {}).items():
        expect(layer, option, getattr(layer, option) in accepted)
    own = SAVED[kind](layer, shape)
    has_activation = kind is keras.layers.Dense or kind in CONVOLUTIONS + TRANSPOSED_CONVOLUTIONS
    return [own, *(_activation(layer) if has_activation else [])]


def expect(layer: keras.Layer, option: str, accepted: bool) -> None:
    """UnsupportedError unless this option of a layer is accepted."""
    if not accepted:
        value = getattr(layer, option)
        shown = getattr(value, "__name__", None) or repr(value)
        raise UnsupportedError(f"{type(layer).__name__}({option}={shown})")


def same_padding(
    kernel: Sequence[int], dilation: Sequence[int], stride: Sequence[int], sizes: Sequence[Any]
) -> list[list[int]] | None:
    """What padding="same" adds: the larger part of an odd number comes last.

    sizes: of the input's spatial axes. None where it depends on one that is None.
    """
    found = []
    for n, width, step, size in zip(kernel, dilation, stride, sizes, strict=True):
        overlap = width * (n - 1)
        if step > 1 and overlap > 0:
            if size is None:
                return None
            overlap = max((-(-size // step) - 1) * step + overlap + 1 - size, 0)
        found.append([overlap // 2, overlap - overlap // 2])
    return found


def cut(
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


def _activation(layer: Any) -> list[Entry]:
    function = layer.activation
    if isinstance(function, keras.Layer):
        return entries(function, None)
    if function in (None, keras.activations.linear):
        return []
    expect(layer, "activation", function in ACTIVATIONS)
    if function is keras.activations.leaky_relu:
        return [_leaky_relu(0.2, layer.compute_dtype)]
    return [ACTIVATIONS[function]]


def _leaky_relu(slope: float, dtype: str) -> Entry:
    # TensorFlow keeps it in float32, so that is the slope of a layer in float64.
    return Entry("LeakyReLU", {"slope": float(np.float32(slope) if dtype == "float64" else slope)})


def _spatial(layer: Any, shape: Sequence[Any] | None) -> Sequence[Any]:
    return [None] * len(layer.strides) if shape is None else shape[1:-1]


def _padding(layer: Any, kernel: Sequence[int], dilation: Sequence[int], shape: Any) -> Any:
    """The padding of a convolution or a pool, as pairs."""
    if layer.padding == "valid":
        return [[0, 0] for _ in kernel]
    if layer.padding == "causal":
        return [[dilation[0] * (kernel[0] - 1), 0]]
    pairs = same_padding(kernel, dilation, layer.strides, _spatial(layer, shape))
    if pairs is None:
        raise UnsupportedError(
            f"{type(layer).__name__}(padding='same', strides={layer.strides}) of unknown sizes, "
            "which a keras.Input tells,"
        )
    return pairs


def _save_convolution(layer: Any, shape: Any) -> Entry:
    return Entry(
        "Convolution",
        {
            "stride": list(layer.strides),
            "padding": _padding(layer, layer.kernel_size, layer.dilation_rate, shape),
            "dilation": list(layer.dilation_rate),
        },
    )


def _save_own_convolution(layer: Any, shape: Any) -> Entry:
    padding = [[0, 0] for _ in layer.strides]
    options = {"stride": list(layer.strides), "padding": padding}
    return Entry("Convolution", {**options, "dilation": list(layer.dilation_rate)})


def _save_transposed(layer: Any, shape: Any) -> Entry:
    rank = len(layer.strides)
    axes = zip(
        layer.kernel_size,
        layer.strides,
        layer.dilation_rate,
        [layer.padding] * rank,
        layer.output_padding or [None] * rank,
        strict=True,
    )
    options = {"stride": list(layer.strides), "padding": [cut(*axis) for axis in axes]}
    return Entry("TransposedConvolution", {**options, "dilation": list(layer.dilation_rate)})


def _save_own_transposed(layer: Any, shape: Any) -> Entry:
    options = {"stride": list(layer.strides), "padding": list(map(list, layer.cut))}
    return Entry("TransposedConvolution", {**options, "dilation": list(layer.dilation_rate)})


def _save_pool(name: str, **options: Any) -> Callable[[Any, Any], Entry]:
    def save(layer: Any, shape: Any) -> Entry:
        own = isinstance(layer.padding, tuple)
        sizes = layer.pool_size
        padding = list(map(list, layer.padding)) if own else None
        if padding is None:
            padding = _padding(layer, sizes, [1] * len(sizes), shape)
        config = {"size": list(sizes), "stride": list(layer.strides), "padding": padding}
        return Entry(name, {**config, **options})

    return save


def _save_batch_norm(layer: Any, shape: Any) -> Entry:
    rank = layer.input_spec.ndim if layer.input_spec else None
    expect(layer, "axis", layer.axis in (-1, rank and rank - 1))
    # Keras counts the share of the old. Rounded, because 1 − 0.9 is not 0.1.
    momentum = round(1 - float(layer.momentum), 15)
    return Entry("BatchNorm", {"epsilon": float(layer.epsilon)}, {"momentum": momentum})


def _save_embedding(layer: Any, shape: Any) -> Entry:
    return Entry("Embedding", {}, {"padding": isinstance(layer, Embedding)})


def _gru_entry(direction: str, layer: Any) -> Entry:
    options = {"direction": direction, "return_sequences": bool(layer.return_sequences)}
    return Entry("GRU", options)


def _save_gru(layer: Any, shape: Any) -> Entry:
    expect(layer, "cell", type(layer.cell) is keras.layers.GRUCell)
    if layer.go_backwards and layer.return_sequences:
        raise UnsupportedError(
            "GRU(go_backwards=True, return_sequences=True), whose output is reversed "
            "and that of tf2_impl.layers.BackwardGRU is not,"
        )
    return _gru_entry("backward" if layer.go_backwards else "forward", layer)


def _save_bidirectional(layer: Any, shape: Any) -> Entry:
    forward, backward = layer.forward_layer, layer.backward_layer
    for name in ("forward_layer", "backward_layer"):
        one = getattr(layer, name)
        expect(layer, name, type(one) is keras.layers.GRU)
        expect(one, "cell", type(one.cell) is keras.layers.GRUCell)
        for option, accepted in GRU_OPTIONS.items():
            expect(one, option, getattr(one, option) in accepted)
    expect(forward, "go_backwards", not forward.go_backwards)
    expect(backward, "units", backward.units == forward.units)
    expect(backward, "use_bias", backward.use_bias == forward.use_bias)
    return _gru_entry("both", layer)


def _save_dropout(layer: Any, shape: Any) -> Entry:
    expect(layer, "rate", layer.rate < 1)
    return Entry("Dropout", {}, {"rate": float(layer.rate)})


def _save_softmax(name: str) -> Callable[[Any, Any], Entry]:
    def save(layer: Any, shape: Any) -> Entry:
        expect(layer, "axis", layer.axis in (-1, 1))
        return Entry(name, {"axis": layer.axis})

    return save


def _save_epsilon(name: str) -> Callable[[Any, Any], Entry]:
    return lambda layer, shape: Entry(name, {"epsilon": float(layer.epsilon)})


def _save_global(name: str) -> Callable[[Any, Any], Entry]:
    return lambda layer, shape: Entry(name, {"keepdims": bool(layer.keepdims)})


ACTIVATIONS = {
    keras.activations.relu: Entry("ReLU", {}),
    keras.activations.sigmoid: Entry("Sigmoid", {}),
    keras.activations.tanh: Entry("Tanh", {}),
    keras.activations.silu: Entry("SiLU", {}),
    keras.activations.softplus: Entry("Softplus", {}),
    keras.activations.selu: Entry("SELU", {}),
    keras.activations.leaky_relu: Entry("LeakyReLU", {"slope": 0.2}),
    keras.activations.elu: Entry("ELU", {"alpha": 1.0}),
    keras.activations.gelu: Entry("GELU", {"approximate": False}),
    gelu: Entry("GELU", {"approximate": False}),
    gelu_tanh: Entry("GELU", {"approximate": True}),
    keras.activations.softmax: Entry("Softmax", {"axis": -1}),
    keras.activations.log_softmax: Entry("LogSoftmax", {"axis": -1}),
}
SAVED: dict[type[keras.Layer], Callable[[Any, Any], Entry]] = {
    keras.layers.Dense: lambda layer, shape: Entry("Projection", {}),
    **dict.fromkeys(CONVOLUTIONS, _save_convolution),
    Convolution: _save_own_convolution,
    **dict.fromkeys(TRANSPOSED_CONVOLUTIONS, _save_transposed),
    TransposedConvolution: _save_own_transposed,
    **dict.fromkeys((*MAX_POOLS, MaxPool), _save_pool("MaxPool")),
    MaxUnpool: _save_pool("MaxUnpool"),
    **dict.fromkeys((*AVERAGE_POOLS, AveragePool), _save_pool("AveragePool", count_padding=False)),
    **dict.fromkeys((*GLOBAL_AVERAGE_POOLS, GlobalAveragePool), _save_global("GlobalAveragePool")),
    **dict.fromkeys((*GLOBAL_MAX_POOLS, GlobalMaxPool), _save_global("GlobalMaxPool")),
    **dict.fromkeys(BATCH_NORMS, _save_batch_norm),
    keras.layers.LayerNormalization: _save_epsilon("LayerNorm"),
    # Keras's own has no option: the floor is in its source.
    keras.layers.UnitNormalization: lambda layer, shape: Entry("L2Normalize", {"epsilon": 1e-12}),
    L2Normalize: _save_epsilon("L2Normalize"),
    **dict.fromkeys((keras.layers.Embedding, Embedding), _save_embedding),
    keras.layers.GRU: _save_gru,
    BackwardGRU: lambda layer, shape: _gru_entry("backward", layer),
    keras.layers.Bidirectional: _save_bidirectional,
    **dict.fromkeys(FLATTENS, lambda layer, shape: Entry("Flatten", {})),
    ChannelsFirst: lambda layer, shape: Entry("ChannelsFirst", {}),
    ChannelsLast: lambda layer, shape: Entry("ChannelsLast", {}),
    keras.layers.Dropout: _save_dropout,
    keras.layers.ReLU: lambda layer, shape: Entry("ReLU", {}),
    keras.layers.LeakyReLU: lambda layer, shape: _leaky_relu(
        layer.negative_slope, layer.compute_dtype
    ),
    LeakyReLU: lambda layer, shape: Entry("LeakyReLU", {"slope": float(layer.slope)}),
    keras.layers.ELU: lambda layer, shape: Entry("ELU", {"alpha": float(layer.alpha)}),
    keras.layers.Softmax: _save_softmax("Softmax"),
    LogSoftmax: _save_softmax("LogSoftmax"),
    TopKGating: lambda layer, shape: Entry("TopKGating", {"k": layer.k}),
}
