"""One record for each layer of model files.

The layers of this package have the names of `numpy_infer.format.vocabulary`, and their arguments
the names of its options. So the record of a layer without arrays is its class; one with arrays
has besides a function here that tells the sizes of the constructor from the arrays' shapes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from numpy_infer.format.vocabulary import LAYERS
from theano_impl import layers

Shapes = Mapping[str, tuple[int, ...]]
Config = Mapping[str, Any]


class Record(NamedTuple):
    """The class of a layer. sizes: from its arrays' shapes and its options to what they fix."""

    layer: type[Any]
    sizes: Callable[[Shapes, Config], dict[str, Any]]


def _shape(shapes: Shapes, name: str, *axes: int) -> tuple[int, ...]:
    """The shape of an array that has to be there; ValueError for another number of axes."""
    if len(shapes.get(name, ())) not in axes:
        wanted = " or ".join(map(str, axes))
        raise ValueError(f"arrays: expected {name} of {wanted} axes, got {dict(shapes)}")
    return shapes[name]


def _projection(shapes: Shapes, config: Config) -> dict[str, Any]:
    in_features, out_features = _shape(shapes, "weight", 2)
    return {"in_features": in_features, "out_features": out_features, "bias": "bias" in shapes}


def _convolution(shapes: Shapes, config: Config) -> dict[str, Any]:
    out_channels, group_channels, *_ = _shape(shapes, "weight", 3, 4)
    return _channels(config.get("groups", 1) * group_channels, out_channels, shapes)


def _transposed_convolution(shapes: Shapes, config: Config) -> dict[str, Any]:
    in_channels, out_channels, *_ = _shape(shapes, "weight", 3, 4)
    return _channels(in_channels, out_channels, shapes)


def _channels(in_channels: int, out_channels: int, shapes: Shapes) -> dict[str, Any]:
    return {
        "in_channels": in_channels,
        "out_channels": out_channels,
        "kernel_size": shapes["weight"][2:],
        "bias": "bias" in shapes,
    }


def _batch_norm(shapes: Shapes, config: Config) -> dict[str, Any]:
    return {"channels": _shape(shapes, "scale", 1)[0]}


def _affine(shapes: Shapes, config: Config) -> dict[str, Any]:
    return {"channels": _shape(shapes, "scale", 1)[0], "bias": "shift" in shapes}


def _prelu(shapes: Shapes, config: Config) -> dict[str, Any]:
    return {"slopes": _shape(shapes, "slope", 1)[0]}


def _layer_norm(shapes: Shapes, config: Config) -> dict[str, Any]:
    return {"features": _shape(shapes, "scale", 1)[0]}


def _embedding(shapes: Shapes, config: Config) -> dict[str, Any]:
    vocabulary_size, dim = _shape(shapes, "table", 2)
    return {"vocabulary_size": vocabulary_size, "dim": dim}


def _positions(shapes: Shapes, config: Config) -> dict[str, Any]:
    positions, dim = _shape(shapes, "table", 2)
    return {"positions": positions, "dim": dim}


def _recurrent(shapes: Shapes, config: Config) -> dict[str, Any]:
    in_features, _ = _shape(shapes, "input_weight", 2)
    hidden_size, _ = _shape(shapes, "hidden_weight", 2)
    bias = any(name.endswith("bias") for name in shapes)
    return {"in_features": in_features, "hidden_size": hidden_size, "bias": bias}


def _nothing(shapes: Shapes, config: Config) -> dict[str, Any]:
    return {}


SIZES = {
    "Projection": _projection,
    "Convolution": _convolution,
    "TransposedConvolution": _transposed_convolution,
    "BatchNorm": _batch_norm,
    "LayerNorm": _layer_norm,
    "GroupNorm": _batch_norm,
    "RMSNorm": _layer_norm,
    "Affine": _affine,
    "PReLU": _prelu,
    "Embedding": _embedding,
    "PositionEmbedding": _positions,
    "GRU": _recurrent,
    "LSTM": _recurrent,
}
RECORDS = {
    name: Record(getattr(layers, name), SIZES.get(name, _nothing))
    for name, row in LAYERS.items()
    if row.inputs
}
