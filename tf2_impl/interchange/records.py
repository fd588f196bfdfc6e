"""One record for each layer of model files: the native classes, how to read and build them.

A new layer is one more record here, and its native class in `layers/` where Keras has none.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from tf2_impl.interchange.attention_records import RECORDS as ATTENTION
from tf2_impl.interchange.combination_records import RECORDS as COMBINATIONS
from tf2_impl.interchange.convolution_records import RECORDS as CONVOLUTIONS
from tf2_impl.interchange.feature_records import RECORDS as FEATURES
from tf2_impl.interchange.pool_records import RECORDS as POOLS
from tf2_impl.interchange.record import (
    Ints,
    Layers,
    Options,
    Record,
    UnsupportedError,
    activation,
    attributes,
    built,
    expect,
    no_options,
    plain,
)
from tf2_impl.interchange.recurrent_records import RECORDS as RECURRENT
from tf2_impl.interchange.space_records import RECORDS as SPACE
from tf2_impl.interchange.weight import prelu as prelu_weights
from tf2_impl.layers.activations import (
    Clip,
    LeakyReLU,
    LogSoftmax,
    PReLU,
    StochasticDepth,
    TopKGating,
    gelu,
    gelu_tanh,
)
from tf2_impl.layers.shape import ChannelsFirst, ChannelsLast, Flatten, RowMajorFlatten


def _flatten(dtype: str, *, channels: bool, told: bool) -> Layers:
    if channels:
        return [Flatten(dtype=dtype)]
    return [(keras.layers.Flatten if told else RowMajorFlatten)(dtype=dtype)]


def _read_dropout(layer: Any, shape: Any) -> Options:
    expect(layer, "rate", layer.rate < 1)
    return {"rate": float(layer.rate)}


def _read_rows_dropout(layer: Any, shape: Any) -> Options:
    expect(layer, "noise_shape", shape is not None and len(shape) == len(layer.noise_shape))
    return _read_dropout(layer, shape)


def _leaky(slope: float) -> Callable[[str], Options]:
    # TensorFlow keeps it in float32, so that is the slope of a layer in float64.
    return lambda dtype: {"slope": float(np.float32(slope) if dtype == "float64" else slope)}


def _leaky_relu(dtype: str, *, slope: float) -> Layers:
    # Keras's own keeps the slope in float32, and takes none below zero.
    if slope >= 0 and (dtype == "float32" or float(np.float32(slope)) == slope):
        return [keras.layers.LeakyReLU(slope, dtype=dtype)]
    return [LeakyReLU(slope, dtype=dtype)]


def _read_capped(layer: Any, shape: Any) -> Options:
    expect(layer, "max_value", layer.max_value > 0)
    return {"minimum": 0.0, "maximum": float(layer.max_value)}


def _read_prelu(layer: Any, shape: Any) -> Options:
    if not layer.built:
        raise UnsupportedError("PReLU without weights, which a keras.Input gives")
    expect(layer, "shared_axes", set(layer.alpha.shape[:-1]) <= {1})
    return {}


def _prelu(dtype: str, *, channels: bool, slope: Ints) -> Layers:
    return [built(PReLU(slope[0], axis=-1 if channels else 1, dtype=dtype), None)]


def _gelu(dtype: str, *, approximate: bool) -> Layers:
    exact = keras.activations.gelu if dtype == "float32" else gelu
    return [keras.layers.Activation(gelu_tanh if approximate else exact, dtype=dtype)]


def _read_axis(layer: Any, shape: Any) -> Options:
    expect(layer, "axis", layer.axis in (-1, 1))
    return {"axis": layer.axis}


def _softmax(dtype: str, *, channels: bool, axis: int) -> Layers:
    return [keras.layers.Softmax(-1 if channels else axis, dtype=dtype)]


def _log_softmax(dtype: str, *, channels: bool, axis: int) -> Layers:
    if channels or axis == -1:
        return [keras.layers.Activation("log_softmax", dtype=dtype)]
    return [LogSoftmax(axis, dtype=dtype)]


def _always(**options: Any) -> Callable[[str], Options]:
    return lambda dtype: dict(options)


RECORDS = (
    *FEATURES,
    *CONVOLUTIONS,
    *POOLS,
    *RECURRENT,
    *ATTENTION,
    *COMBINATIONS,
    *SPACE,
    Record(
        "Flatten",
        dict.fromkeys((keras.layers.Flatten, Flatten, RowMajorFlatten), no_options),
        _flatten,
        {"data_format": ("channels_last",)},
        placed=("channels", "told"),
    ),
    Record(
        "Reshape",
        {keras.layers.Reshape: lambda layer, shape: {"shape": list(layer.target_shape)}},
        lambda dtype, *, shape: [keras.layers.Reshape(tuple(shape), dtype=dtype)],
    ),
    Record(
        "Permute",
        {keras.layers.Permute: lambda layer, shape: {"order": list(layer.dims)}},
        lambda dtype, *, order: [keras.layers.Permute(tuple(order), dtype=dtype)],
    ),
    Record("ChannelsFirst", {ChannelsFirst: no_options}, plain(ChannelsFirst)),
    Record("ChannelsLast", {ChannelsLast: no_options}, plain(ChannelsLast)),
    Record(
        "Dropout",
        {keras.layers.Dropout: _read_dropout},
        plain(keras.layers.Dropout),
        {"noise_shape": (None,)},
    ),
    Record(
        "StochasticDepth",
        {keras.layers.Dropout: _read_rows_dropout, StochasticDepth: attributes(rate=float)},
        plain(StochasticDepth),
        {"noise_shape": (None, (None, 1, 1, 1), (None, 1, 1), (None, 1))},
    ),
    Record(
        "ReLU",
        {keras.layers.ReLU: no_options},
        plain(keras.layers.ReLU),
        {"max_value": (None,), "negative_slope": (0,), "threshold": (0,)},
        functions={keras.activations.relu: no_options},
    ),
    Record(
        "ReLU6",
        {keras.layers.ReLU: no_options},
        plain(keras.layers.ReLU, 6.0),
        {"max_value": (6,), "negative_slope": (0,), "threshold": (0,)},
        functions={keras.activations.relu6: no_options},
    ),
    activation("Sigmoid", "sigmoid"),
    activation("Tanh", "tanh"),
    activation("SiLU", "silu"),
    activation("Softplus", "softplus"),
    activation("SELU", "selu"),
    activation("HardSigmoid", "hard_sigmoid"),
    activation("HardSwish", "hard_silu"),
    activation("Mish", "mish"),
    activation("LogSigmoid", "log_sigmoid"),
    activation("Softsign", "softsign"),
    Record(
        "Clip",
        {keras.layers.ReLU: _read_capped, Clip: attributes(minimum=float, maximum=float)},
        plain(Clip),
        {"negative_slope": (0,), "threshold": (0,)},
        functions={keras.activations.hard_tanh: _always(minimum=-1.0, maximum=1.0)},
    ),
    Record(
        "PReLU",
        {keras.layers.PReLU: _read_prelu, PReLU: no_options},
        _prelu,
        weights={keras.layers.PReLU: prelu_weights, PReLU: prelu_weights},
        placed=("channels",),
    ),
    Record(
        "LeakyReLU",
        {
            keras.layers.LeakyReLU: lambda layer, shape: _leaky(layer.negative_slope)(
                layer.compute_dtype
            ),
            LeakyReLU: attributes(slope=float),
        },
        _leaky_relu,
        functions={keras.activations.leaky_relu: _leaky(0.2)},
    ),
    Record(
        "ELU",
        {keras.layers.ELU: attributes(alpha=float)},
        plain(keras.layers.ELU),
        functions={keras.activations.elu: _always(alpha=1.0)},
    ),
    Record(
        "GELU",
        {},
        _gelu,
        functions={
            keras.activations.gelu: _always(approximate=False),
            gelu: _always(approximate=False),
            gelu_tanh: _always(approximate=True),
        },
    ),
    Record(
        "Softmax",
        {keras.layers.Softmax: _read_axis},
        _softmax,
        placed=("channels",),
        functions={keras.activations.softmax: _always(axis=-1)},
        masked=(keras.layers.Softmax,),
    ),
    Record(
        "LogSoftmax",
        {LogSoftmax: _read_axis},
        _log_softmax,
        placed=("channels",),
        functions={keras.activations.log_softmax: _always(axis=-1)},
    ),
    Record("TopKGating", {TopKGating: attributes(k=int)}, plain(TopKGating), in_order=True),
)
BY_LAYER = {record.layer: record for record in RECORDS}
BY_CLASS = {
    kind: [one for one in RECORDS if kind in one.natives]
    for record in RECORDS
    for kind in record.natives
}
BY_FUNCTION = {function: record for record in RECORDS for function in record.functions}
WEIGHTS = {kind: find for record in RECORDS for kind, find in record.weights.items()}
MASKED = tuple(kind for record in RECORDS for kind in record.masked)
