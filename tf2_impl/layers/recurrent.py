"""Recurrent layers: a GRU over sequences of different lengths, and layers from right to left."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from tf2_impl.support.checks import check_count
from tf2_impl.support.initializers import GlorotUniform


class GateGlorotUniform(keras.initializers.Initializer):
    """The matrices of a GRU's gates side by side, each of which starts on its own."""

    def __init__(self, glorot: GlorotUniform) -> None:
        self.glorot = glorot

    def __call__(self, shape: tuple[int, ...], dtype: str | None = None) -> tf.Tensor:
        width, gates = shape
        matrices = self.glorot((3, width, gates // 3), dtype)
        return tf.concat(tf.unstack(matrices), axis=1)


def make_gru(
    in_features: int, hidden: int, *, glorot: GlorotUniform, dtype: Any
) -> keras.layers.GRU:
    """A built `keras.layers.GRU` that gives its last state."""
    gates = GateGlorotUniform(glorot)
    gru = keras.layers.GRU(
        hidden, kernel_initializer=gates, recurrent_initializer=gates, dtype=dtype
    )
    gru.build((None, None, in_features))
    return gru


def last_states(
    gru: keras.layers.GRU, vectors: tf.Tensor, lengths: tf.Tensor, *, reverse: bool = False
) -> tf.Tensor:
    """The state of each sequence after its last step, (batch, hidden); zero for one without any.

    vectors: (batch, longest, in), longest at least 1; lengths: (batch,) int64, how many of them
    are real. reverse: from the last real one to the first.
    """
    # Not go_backwards, which would begin with the padding: cuDNN wants that on the right.
    if reverse:
        vectors = tf.reverse_sequence(vectors, lengths, seq_axis=1)
    mask = tf.sequence_mask(tf.maximum(lengths, 1), tf.shape(vectors)[1])  # nor no step at all
    states = gru(vectors, mask=mask)
    return tf.where((lengths > 0)[:, None], states, tf.zeros_like(states))


def input_gates(gru: keras.layers.GRU, x: tf.Tensor) -> tf.Tensor:
    """x·W + b, (batch, 3·hidden), in Keras's order update, reset, candidate. x: (batch, in)."""
    kernel, bias = (tf.cast(one, x.dtype) for one in (gru.cell.kernel, gru.cell.bias))
    return tf.matmul(x, kernel) + bias[0]


def hidden_gates(gru: keras.layers.GRU, h: tf.Tensor) -> tf.Tensor:
    """h·U + c, (batch, 3·hidden), in Keras's order update, reset, candidate. h: (batch, hidden)."""
    kernel, bias = (tf.cast(one, h.dtype) for one in (gru.cell.recurrent_kernel, gru.cell.bias))
    return tf.matmul(h, kernel) + bias[1]


def next_state(x_gates: tf.Tensor, h_gates: tf.Tensor, h: tf.Tensor) -> tf.Tensor:
    """The state after one step of a GRU, (batch, hidden).

    x_gates, h_gates: (batch, 3·hidden), x·W + b and h·U + c in the order update, reset, candidate.
    h: (batch, hidden), the state before the step.
    """
    x_update, x_reset, x_candidate = tf.split(x_gates, 3, axis=1)
    h_update, h_reset, h_candidate = tf.split(h_gates, 3, axis=1)
    reset = tf.sigmoid(x_reset + h_reset)
    update = tf.sigmoid(x_update + h_update)
    candidate = tf.tanh(x_candidate + reset * h_candidate)
    return (1 - update) * candidate + update * h


class _Backward(keras.layers.RNN):
    """A recurrent layer from right to left whose every state stands at what it has just read."""

    def __init__(self, units: int, **kwargs: Any) -> None:
        units = check_count("units", units)
        super().__init__(units, go_backwards=True, return_sequences=True, **kwargs)

    def call(
        self,
        sequences: tf.Tensor,
        initial_state: tf.Tensor | None = None,
        mask: tf.Tensor | None = None,
        training: bool = False,
    ) -> tf.Tensor:
        """sequences: (batch, time, features). Returns (batch, time, units)."""
        states = super().call(sequences, initial_state, mask=mask, training=training)
        return tf.reverse(states, axis=[1])

    def get_config(self) -> dict[str, Any]:
        fixed = ("go_backwards", "return_sequences")
        return {key: value for key, value in super().get_config().items() if key not in fixed}


@keras.saving.register_keras_serializable("fourfold")
class BackwardGRU(_Backward, keras.layers.GRU):
    """A GRU from right to left whose every state stands at the input that it has just read.

    `keras.layers.GRU` with go_backwards and return_sequences gives them in reversed order.
    """


@keras.saving.register_keras_serializable("fourfold")
class BackwardLSTM(_Backward, keras.layers.LSTM):
    """An LSTM from right to left whose every state stands at the input that it has just read.

    `keras.layers.LSTM` with go_backwards and return_sequences gives them in reversed order.
    """
