"""The record of the GRU: Keras's own, both ways its Bidirectional, and all states backward ours."""

from __future__ import annotations

from typing import Any

import keras

from tf2_impl.interchange.record import (
    Ints,
    Layers,
    Options,
    Record,
    UnsupportedError,
    built,
    expect,
)
from tf2_impl.interchange.weight import bidirectional as bidirectional_weights
from tf2_impl.interchange.weight import gru as gru_weights
from tf2_impl.layers.recurrent import BackwardGRU

ACCEPTED = {
    "activation": (keras.activations.tanh,),
    "recurrent_activation": (keras.activations.sigmoid,),
    "reset_after": (True,),
    "dropout": (0,),
    "recurrent_dropout": (0,),
    "stateful": (False,),
    "return_state": (False,),
}


def _options(direction: str, layer: Any) -> Options:
    return {"direction": direction, "return_sequences": bool(layer.return_sequences)}


def _expect_accepted(layer: Any) -> None:
    for option, accepted in ACCEPTED.items():
        expect(layer, option, getattr(layer, option) in accepted)


def _read_gru(layer: Any, shape: Any) -> Options:
    _expect_accepted(layer)
    expect(layer, "cell", type(layer.cell) is keras.layers.GRUCell)
    if layer.go_backwards and layer.return_sequences:
        raise UnsupportedError(
            "GRU(go_backwards=True, return_sequences=True), whose output is reversed "
            "and that of tf2_impl.layers.BackwardGRU is not,"
        )
    return _options("backward" if layer.go_backwards else "forward", layer)


def _read_backward(layer: Any, shape: Any) -> Options:
    _expect_accepted(layer)
    return _options("backward", layer)


def _read_bidirectional(layer: Any, shape: Any) -> Options:
    expect(layer, "merge_mode", layer.merge_mode == "concat")
    forward, backward = layer.forward_layer, layer.backward_layer
    for name in ("forward_layer", "backward_layer"):
        one = getattr(layer, name)
        expect(layer, name, type(one) is keras.layers.GRU)
        expect(one, "cell", type(one.cell) is keras.layers.GRUCell)
        _expect_accepted(one)
    expect(forward, "go_backwards", not forward.go_backwards)
    expect(backward, "units", backward.units == forward.units)
    expect(backward, "use_bias", backward.use_bias == forward.use_bias)
    return _options("both", layer)


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
    return [built(layer, None, input_weight[0])]


RECORDS = (
    Record(
        "GRU",
        {
            keras.layers.GRU: _read_gru,
            BackwardGRU: _read_backward,
            keras.layers.Bidirectional: _read_bidirectional,
        },
        _gru,
        weights={
            keras.layers.GRU: gru_weights,
            BackwardGRU: gru_weights,
            keras.layers.Bidirectional: bidirectional_weights,
        },
        masked=(keras.layers.GRU, keras.layers.Bidirectional),
    ),
)
