"""The layers that model files know, and what they say of each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from theano_impl.layers import activations as act
from theano_impl.layers.convolution import Convolution, TransposedConvolution
from theano_impl.layers.embedding import Embedding
from theano_impl.layers.normalization import BatchNorm, L2Normalize, LayerNorm
from theano_impl.layers.pooling import (
    AveragePool,
    GlobalAveragePool,
    GlobalMaxPool,
    MaxPool,
    MaxUnpool,
)
from theano_impl.layers.projection import Projection
from theano_impl.layers.recurrent import GRU
from theano_impl.layers.shape import ChannelsFirst, ChannelsLast, Flatten

Shapes = Mapping[str, tuple[int, ...]]
WINDOW = ("stride", "padding", "dilation")
POOL = ("size", "stride", "padding")


class Kind(NamedTuple):
    """What a file's entry holds of a layer's config, and how the rest follows from its arrays.

    config, training: the names of the constructor's arguments. sizes: from the shapes of the
    arrays to the other arguments.
    """

    layer: type[Any]
    config: tuple[str, ...] = ()
    training: tuple[str, ...] = ()
    sizes: Callable[[Shapes], dict[str, Any]] = lambda shapes: {}


def _shape(shapes: Shapes, name: str, *axes: int) -> tuple[int, ...]:
    """The shape of an array that has to be there; ValueError for another number of axes."""
    if len(shapes.get(name, ())) not in axes:
        wanted = " or ".join(map(str, axes))
        raise ValueError(f"arrays: expected {name} of {wanted} axes, got {dict(shapes)}")
    return shapes[name]


def _projection(shapes: Shapes) -> dict[str, Any]:
    in_features, out_features = _shape(shapes, "weight", 2)
    return {"in_features": in_features, "out_features": out_features, "bias": "bias" in shapes}


def _convolution(shapes: Shapes) -> dict[str, Any]:
    out_channels, in_channels, *_ = _shape(shapes, "weight", 3, 4)
    return _channels(in_channels, out_channels, shapes)


def _transposed_convolution(shapes: Shapes) -> dict[str, Any]:
    in_channels, out_channels, *_ = _shape(shapes, "weight", 3, 4)
    return _channels(in_channels, out_channels, shapes)


def _channels(in_channels: int, out_channels: int, shapes: Shapes) -> dict[str, Any]:
    return {
        "in_channels": in_channels,
        "out_channels": out_channels,
        "kernel_size": shapes["weight"][2:],
        "bias": "bias" in shapes,
    }


def _batch_norm(shapes: Shapes) -> dict[str, Any]:
    return {"channels": _shape(shapes, "scale", 1)[0]}


def _layer_norm(shapes: Shapes) -> dict[str, Any]:
    return {"features": _shape(shapes, "scale", 1)[0]}


def _embedding(shapes: Shapes) -> dict[str, Any]:
    vocabulary_size, dim = _shape(shapes, "table", 2)
    return {"vocabulary_size": vocabulary_size, "dim": dim}


def _gru(shapes: Shapes) -> dict[str, Any]:
    in_features, _ = _shape(shapes, "input_weight", 2)
    hidden_size, _ = _shape(shapes, "hidden_weight", 2)
    bias = "input_bias" in shapes
    return {"in_features": in_features, "hidden_size": hidden_size, "bias": bias}


KINDS = {
    kind.layer.__name__: kind
    for kind in (
        Kind(Projection, sizes=_projection),
        Kind(Convolution, WINDOW, sizes=_convolution),
        Kind(TransposedConvolution, WINDOW, sizes=_transposed_convolution),
        Kind(MaxPool, POOL),
        Kind(MaxUnpool, POOL),
        Kind(AveragePool, (*POOL, "count_padding")),
        Kind(GlobalAveragePool, ("keepdims",)),
        Kind(GlobalMaxPool, ("keepdims",)),
        Kind(BatchNorm, ("epsilon",), ("momentum",), _batch_norm),
        Kind(LayerNorm, ("epsilon",), sizes=_layer_norm),
        Kind(L2Normalize, ("epsilon",)),
        Kind(Embedding, (), ("padding",), _embedding),
        Kind(GRU, ("direction", "return_sequences"), sizes=_gru),
        Kind(Flatten),
        Kind(ChannelsFirst),
        Kind(ChannelsLast),
        Kind(act.Dropout, (), ("rate",)),
        Kind(act.ReLU),
        Kind(act.Sigmoid),
        Kind(act.Tanh),
        Kind(act.SiLU),
        Kind(act.Softplus),
        Kind(act.SELU),
        Kind(act.LeakyReLU, ("slope",)),
        Kind(act.ELU, ("alpha",)),
        Kind(act.GELU, ("approximate",)),
        Kind(act.Softmax, ("axis",)),
        Kind(act.LogSoftmax, ("axis",)),
        Kind(act.TopKGating, ("k",)),
    )
}
