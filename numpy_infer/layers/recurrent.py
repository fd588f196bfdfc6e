"""A gated recurrent unit over sequences.

    r = σ(x·W_r + b_r + h·U_r + c_r)        z = σ(x·W_z + b_z + h·U_z + c_z)
    n = tanh(x·W_n + b_n + r ⊙ (h·U_n + c_n))        h' = (1 − z) ⊙ n + z ⊙ h

The gates stand side by side in each array, in the order r, z, n.

Source: Cho et al. 2014, with the reset gate applied after the hidden product.
"""

from __future__ import annotations

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
    check_floating("x", x, ndim=3)
    check_dtype("x", x, input_weight.dtype)
    check_width("x", x, len(input_weight))
    batch, time, features = x.shape
    if time == 0:
        raise ValueError(f"x: expected at least one time step, got shape {x.shape}")
    still = None
    if mask is not None:
        check_shape("mask", mask, (batch, time))
        still = (mask == 0).T[..., None]
    h = len(hidden_weight)
    # The input's part of all times at once, in the order in which it will be read.
    given = x.swapaxes(0, 1).reshape(time * batch, features) @ input_weight
    if input_bias is not None:
        given += input_bias
    given = given.reshape(time, batch, 3 * h)
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


class GRU(Layer):
    """`gru` as a layer, in one direction or in both, which are joined along the last axis.

    input_weight: (in, 3h), hidden_weight: (h, 3h), both biases (3h,) or None; with direction
    both, the same again for the way back. return_sequences: all states, not only the last one.
    """

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
        super().__init__(previous)
        check_choice("direction", direction, DIRECTIONS)
        return_sequences = check_flag("return_sequences", return_sequences)
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
        _check_arrays(arrays, both=direction == "both")
        self.forward_arrays = list(arrays.values())[:4]
        self.backward_arrays = list(arrays.values())[4:]
        self.direction = direction
        self.return_sequences = return_sequences

    def forward(self, x: np.ndarray, mask: np.ndarray | None = None) -> np.ndarray:
        """x: (batch, time, in). Returns (batch, time, h), or (batch, h); twice h for both.

        mask as for `gru`: the last state is that of the last step that counts.
        """
        ways = [(self.forward_arrays, self.direction == "backward")]
        if self.direction == "both":
            ways.append((self.backward_arrays, True))
        outputs = []
        for arrays, backward in ways:
            states = gru(x, *arrays, backward=backward, mask=mask)
            outputs.append(states if self.return_sequences else states[:, 0 if backward else -1])
        return np.concatenate(outputs, axis=-1)


def _check_arrays(arrays: dict[str, Any], *, both: bool) -> None:
    """Both biases or neither, and for the way back the same shapes or nothing."""
    weight, hidden = arrays["input_weight"], arrays["hidden_weight"]
    check_floating("input_weight", weight, ndim=2)
    check_floating("hidden_weight", hidden, ndim=2)
    gates = 3 * len(hidden)
    check_shape("hidden_weight", hidden, (len(hidden), gates))
    shapes: dict[str, tuple[int, ...]] = {
        "input_weight": (len(weight), gates),
        "hidden_weight": (len(hidden), gates),
    }
    if arrays["input_bias"] is not None:
        shapes |= {"input_bias": (gates,), "hidden_bias": (gates,)}
    if both:
        shapes |= {f"backward_{name}": shape for name, shape in shapes.items()}
    for name, array in arrays.items():
        if name in shapes:
            check_weight(name, array, shapes[name], weight)
        elif array is not None:
            raise ValueError(f"{name}: expected none, got {type(array).__name__}")
