"""Recurrent layers over sequences.

A gated recurrent unit (GRU), whose gates stand side by side in each array in the order r, z, n:

    r = σ(x·W_r + b_r + h·U_r + c_r)        z = σ(x·W_z + b_z + h·U_z + c_z)
    n = tanh(x·W_n + b_n + r ⊙ (h·U_n + c_n))        h' = (1 − z) ⊙ n + z ⊙ h

A long short-term memory (LSTM), whose gates stand in the order i, f, g, o:

    i = σ(x·W_i + h·U_i + b_i)        f = σ(x·W_f + h·U_f + b_f)
    g = tanh(x·W_g + h·U_g + b_g)     o = σ(x·W_o + h·U_o + b_o)
    c' = f ⊙ c + i ⊙ g                h' = o ⊙ tanh(c')

Source: Cho et al. 2014, with the reset gate applied after the hidden product; Hochreiter and
Schmidhuber 1997, with the forget gate of Gers et al. 2000.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from numpy_infer.layers.activations import Sigmoid
from numpy_infer.support.checks import (
    check_choice,
    check_dtype,
    check_flag,
    check_floating,
    check_shape,
    check_weight,
    check_width,
)
from numpy_infer.support.layer import Layer

DIRECTIONS = ("forward", "backward", "both")
SIGMOID = Sigmoid().forward


def gru(
    x: np.ndarray,
    input_weight: np.ndarray,
    hidden_weight: np.ndarray,
    input_bias: np.ndarray | None = None,
    hidden_bias: np.ndarray | None = None,
    *,
    backward: bool = False,
    mask: np.ndarray | None = None,
) -> np.ndarray:
    """All states, (batch, time, h), from a zero state.

    x: (batch, time, in); input_weight: (in, 3h), hidden_weight: (h, 3h), both biases: (3h,).
    backward: from the last time to the first; a state is at the time of the input that was read
    last. mask: (batch, time); where it is 0 the state stays as it is. TypeError for another
    dtype than the weights', ValueError for no time at all or a wrong number of features.
    """
    given = _input_gates(x, input_weight, input_bias)
    time, batch, _ = given.shape
    still = None
    if mask is not None:
        check_shape("mask", mask, (batch, time))
        still = (mask == 0).T[..., None]
    h = len(hidden_weight)
    candidate_bias = np.zeros(h, x.dtype)
    if hidden_bias is not None:
        given[..., : 2 * h] += hidden_bias[: 2 * h]
        candidate_bias = hidden_bias[2 * h :]
    states = np.empty((time, batch, h), x.dtype)
    state = np.zeros((batch, h), x.dtype)
    kept = np.empty((batch, 3 * h), x.dtype)
    gates, candidate = kept[:, : 2 * h], kept[:, 2 * h :]
    reset, update = gates[:, :h], gates[:, h:]
    with np.errstate(over="ignore"):  # of exp in a gate that is shut: 1 / ∞ is right
        for t in range(time - 1, -1, -1) if backward else range(time):
            np.matmul(state, hidden_weight, out=kept)
            gates += given[t, :, : 2 * h]
            np.negative(gates, out=gates)
            np.exp(gates, out=gates)
            gates += 1
            np.reciprocal(gates, out=gates)
            candidate += candidate_bias
            candidate *= reset
            candidate += given[t, :, 2 * h :]
            np.tanh(candidate, out=candidate)
            new = np.subtract(state, candidate, out=states[t])
            new *= update
            new += candidate
            if still is not None:
                np.copyto(new, state, where=still[t])
            state = new
    return states.swapaxes(0, 1)


def lstm(
    x: np.ndarray,
    input_weight: np.ndarray,
    hidden_weight: np.ndarray,
    bias: np.ndarray | None = None,
    *,
    backward: bool = False,
) -> np.ndarray:
    """All states, (batch, time, h), from a zero state and a zero memory.

    x: (batch, time, in); input_weight: (in, 4h), hidden_weight: (h, 4h), bias: (4h,). backward:
    as for `gru`, and so are the errors.
    """
    given = _input_gates(x, input_weight, bias)
    time, batch, _ = given.shape
    h = len(hidden_weight)
    states = np.empty((time, batch, h), x.dtype)
    state, memory = np.zeros((batch, h), x.dtype), np.zeros((batch, h), x.dtype)
    gates, candidate = np.empty((batch, 4 * h), x.dtype), np.empty((batch, h), x.dtype)
    let_in, forget, out = gates[:, :h], gates[:, h : 2 * h], gates[:, 3 * h :]
    with np.errstate(over="ignore"):  # of exp in a gate that is shut: 1 / ∞ is right
        for t in range(time - 1, -1, -1) if backward else range(time):
            np.matmul(state, hidden_weight, out=gates)
            gates += given[t]
            np.tanh(gates[:, 2 * h : 3 * h], out=candidate)
            np.negative(gates, out=gates)  # the candidate's part as well: one call is faster
            np.exp(gates, out=gates)
            gates += 1
            np.reciprocal(gates, out=gates)
            memory *= forget
            candidate *= let_in
            memory += candidate
            state = np.tanh(memory, out=states[t])
            state *= out
    return states.swapaxes(0, 1)


def _input_gates(
    x: np.ndarray, input_weight: np.ndarray, input_bias: np.ndarray | None
) -> np.ndarray:
    """The input's part of the gates at all times, (time, batch, gates), by one product."""
    check_floating("x", x, ndim=3)
    check_dtype("x", x, input_weight.dtype)
    check_width("x", x, len(input_weight))
    batch, time, features = x.shape
    if time == 0:
        raise ValueError(f"x: expected at least one time step, got shape {x.shape}")
    given: np.ndarray = x.swapaxes(0, 1).reshape(time * batch, features) @ input_weight
    if input_bias is not None:
        given += input_bias
    return given.reshape(time, batch, input_weight.shape[1])


def next_state(x_gates: np.ndarray, h_gates: np.ndarray, h: np.ndarray) -> np.ndarray:
    """The state after one step of a GRU, (batch, hidden).

    x_gates, h_gates: (batch, 3·hidden), x·W + b and h·U + c in the order reset, update, candidate.
    h: (batch, hidden), the state before the step.
    """
    x_reset, x_update, x_candidate = np.split(x_gates, 3, axis=1)
    h_reset, h_update, h_candidate = np.split(h_gates, 3, axis=1)
    reset = SIGMOID(x_reset + h_reset)
    update = SIGMOID(x_update + h_update)
    candidate = np.tanh(x_candidate + reset * h_candidate)
    new: np.ndarray = (1 - update) * candidate + update * h
    return new


def gru_shapes(in_features: int, hidden: int) -> dict[str, tuple[int, ...]]:
    """The arrays of a component's GRU in a model file, of one direction: `gru.input_weight` etc."""
    return {
        "gru.input_weight": (in_features, 3 * hidden),
        "gru.hidden_weight": (hidden, 3 * hidden),
        "gru.input_bias": (3 * hidden,),
        "gru.hidden_bias": (3 * hidden,),
    }


class _Recurrent(Layer):
    """A recurrent layer in one direction or in both, which are joined along the last axis.

    arrays: of the way there under their own names, of the way back under `backward_` before them.
    """

    # All states of one direction, from the input and the arrays of that direction.
    states: Callable[..., np.ndarray]
    gates: int  # how many stand side by side in each array

    def __init__(
        self, previous: Layer, arrays: dict[str, Any], direction: str, return_sequences: bool
    ) -> None:
        super().__init__(previous)
        check_choice("direction", direction, DIRECTIONS)
        return_sequences = check_flag("return_sequences", return_sequences)
        _check_arrays(arrays, self.gates, both=direction == "both")
        count = len(arrays) // 2
        self.forward_arrays = list(arrays.values())[:count]
        self.backward_arrays = list(arrays.values())[count:]
        self.direction = direction
        self.return_sequences = return_sequences

    def forward(self, x: np.ndarray) -> np.ndarray:
        """x: (batch, time, in). Returns (batch, time, h), or (batch, h); twice h for both."""
        return self._joined(x)

    def _joined(self, x: np.ndarray, **options: Any) -> np.ndarray:
        """options: those of `states`."""
        ways = [(self.forward_arrays, self.direction == "backward")]
        if self.direction == "both":
            ways.append((self.backward_arrays, True))
        outputs = []
        for arrays, backward in ways:
            states = type(self).states(x, *arrays, backward=backward, **options)
            outputs.append(states if self.return_sequences else states[:, 0 if backward else -1])
        return np.concatenate(outputs, axis=-1)


class GRU(_Recurrent):
    """`gru` as a layer, in one direction or in both, which are joined along the last axis.

    input_weight: (in, 3h), hidden_weight: (h, 3h), both biases (3h,) or None; with direction
    both, the same again for the way back. return_sequences: all states, not only the last one.
    """

    states = staticmethod(gru)
    gates = 3

    def __init__(
        self,
        previous: Layer,
        input_weight: np.ndarray,
        hidden_weight: np.ndarray,
        input_bias: np.ndarray | None = None,
        hidden_bias: np.ndarray | None = None,
        backward_input_weight: np.ndarray | None = None,
        backward_hidden_weight: np.ndarray | None = None,
        backward_input_bias: np.ndarray | None = None,
        backward_hidden_bias: np.ndarray | None = None,
        *,
        direction: str,
        return_sequences: bool,
    ) -> None:
        arrays: dict[str, Any] = {
            "input_weight": input_weight,
            "hidden_weight": hidden_weight,
            "input_bias": input_bias,
            "hidden_bias": hidden_bias,
            "backward_input_weight": backward_input_weight,
            "backward_hidden_weight": backward_hidden_weight,
            "backward_input_bias": backward_input_bias,
            "backward_hidden_bias": backward_hidden_bias,
        }
        super().__init__(previous, arrays, direction, return_sequences)

    def forward(self, x: np.ndarray, mask: np.ndarray | None = None) -> np.ndarray:
        """x: (batch, time, in). Returns (batch, time, h), or (batch, h); twice h for both.

        mask as for `gru`: the last state is that of the last step that counts.
        """
        return self._joined(x, mask=mask)


class LSTM(_Recurrent):
    """`lstm` as a layer, in one direction or in both, which are joined along the last axis.

    input_weight: (in, 4h), hidden_weight: (h, 4h), bias: (4h,) or None; with direction both, the
    same again for the way back. return_sequences: all states, not only the last one.
    """

    states = staticmethod(lstm)
    gates = 4

    def __init__(
        self,
        previous: Layer,
        input_weight: np.ndarray,
        hidden_weight: np.ndarray,
        bias: np.ndarray | None = None,
        backward_input_weight: np.ndarray | None = None,
        backward_hidden_weight: np.ndarray | None = None,
        backward_bias: np.ndarray | None = None,
        *,
        direction: str,
        return_sequences: bool,
    ) -> None:
        arrays: dict[str, Any] = {
            "input_weight": input_weight,
            "hidden_weight": hidden_weight,
            "bias": bias,
            "backward_input_weight": backward_input_weight,
            "backward_hidden_weight": backward_hidden_weight,
            "backward_bias": backward_bias,
        }
        super().__init__(previous, arrays, direction, return_sequences)


def _check_arrays(arrays: dict[str, Any], gates: int, *, both: bool) -> None:
    """All biases or none, and for the way back the same shapes or nothing."""
    weight, hidden = arrays["input_weight"], arrays["hidden_weight"]
    check_floating("input_weight", weight, ndim=2)
    check_floating("hidden_weight", hidden, ndim=2)
    wide = gates * len(hidden)
    check_shape("hidden_weight", hidden, (len(hidden), wide))
    shapes: dict[str, tuple[int, ...]] = {
        "input_weight": (len(weight), wide),
        "hidden_weight": (len(hidden), wide),
    }
    biases = [name for name in arrays if name.endswith("bias") and "backward" not in name]
    if arrays[biases[0]] is not None:
        shapes |= dict.fromkeys(biases, (wide,))
    if both:
        shapes |= {f"backward_{name}": shape for name, shape in shapes.items()}
    for name, array in arrays.items():
        if name in shapes:
            check_weight(name, array, shapes[name], weight)
        elif array is not None:
            raise ValueError(f"{name}: expected none, got {type(array).__name__}")
