"""The records of GRU and LSTM: Keras's own, its Bidirectional, and ours for all states backward."""

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
from tf2_impl.interchange.weight import lstm as lstm_weights
from tf2_impl.layers.recurrent import BackwardGRU, BackwardLSTM

ACCEPTED = {
    "activation": (keras.activations.tanh,),
    "recurrent_activation": (keras.activations.sigmoid,),
    "reset_after": (True,),
    "dropout": (0,),
    "recurrent_dropout": (0,),
    "stateful": (False,),
    "return_state": (False,),
}
CELLS = {keras.layers.GRU: keras.layers.GRUCell, keras.layers.LSTM: keras.layers.LSTMCell}
BACKWARD = {keras.layers.GRU: BackwardGRU, keras.layers.LSTM: BackwardLSTM}


def _options(direction: str, layer: Any) -> Options:
    return {"direction": direction, "return_sequences": bool(layer.return_sequences)}


def _expect_accepted(layer: Any) -> None:
    for option, accepted in ACCEPTED.items():
        if hasattr(layer, option):  # an LSTM has no reset gate
            expect(layer, option, getattr(layer, option) in accepted)


def _read_forward(layer: Any, shape: Any) -> Options:
    _expect_accepted(layer)
    kind = type(layer)
    expect(layer, "cell", type(layer.cell) is CELLS[kind])
    if layer.go_backwards and layer.return_sequences:
        raise UnsupportedError(
            f"{kind.__name__}(go_backwards=True, return_sequences=True), whose output is reversed "
            f"and that of tf2_impl.layers.{BACKWARD[kind].__name__} is not,"
        )
    return _options("backward" if layer.go_backwards else "forward", layer)


def _read_backward(layer: Any, shape: Any) -> Options:
    _expect_accepted(layer)
    return _options("backward", layer)


def _bidirectional(kind: type[keras.Layer]) -> Any:
    """Reads the options of a Bidirectional, whose layers are of this kind."""

    def read(layer: Any, shape: Any) -> Options:
        expect(layer, "merge_mode", layer.merge_mode == "concat")
        forward, backward = layer.forward_layer, layer.backward_layer
        for name in ("forward_layer", "backward_layer"):
            one = getattr(layer, name)
            expect(layer, name, type(one) is kind)
            expect(one, "cell", type(one.cell) is CELLS[kind])
            _expect_accepted(one)
        expect(forward, "go_backwards", not forward.go_backwards)
        expect(backward, "units", backward.units == forward.units)
        expect(backward, "use_bias", backward.use_bias == forward.use_bias)
        return _options("both", layer)

    return read


def _build(kind: type[keras.Layer], bias_name: str) -> Any:
    """Builds a layer of this kind, or what stands for it in the other directions."""

    def build(
        dtype: str,
        *,
        input_weight: Ints,
        hidden_weight: Ints,
        direction: str,
        return_sequences: bool,
        **biases: Any,
    ) -> Layers:
        options = {"use_bias": bias_name in biases, "dtype": dtype}
        units = hidden_weight[0]
        layer: keras.Layer
        if direction == "backward" and return_sequences:
            layer = BACKWARD[kind](units, **options)
        else:
            options["go_backwards"] = direction == "backward"
            layer = kind(units, return_sequences=return_sequences, **options)
            if direction == "both":
                layer = keras.layers.Bidirectional(layer, dtype=dtype)
        return [built(layer, None, input_weight[0])]

    return build


class _Instances:
    """The layers of one class, as values of an option."""

    def __init__(self, kind: type[keras.Layer]) -> None:
        self.kind = kind

    def __contains__(self, value: Any) -> bool:
        return type(value) is self.kind


def _record(name: str, bias_name: str, weights: Any) -> Record:
    kind = getattr(keras.layers, name)
    return Record(
        name,
        {
            kind: _read_forward,
            BACKWARD[kind]: _read_backward,
            keras.layers.Bidirectional: _bidirectional(kind),
        },
        _build(kind, bias_name),
        {"forward_layer": _Instances(kind)},
        weights={
            kind: weights,
            BACKWARD[kind]: weights,
            keras.layers.Bidirectional: bidirectional_weights,
        },
        masked=(kind, keras.layers.Bidirectional),
    )


RECORDS = (_record("GRU", "input_bias", gru_weights), _record("LSTM", "bias", lstm_weights))
