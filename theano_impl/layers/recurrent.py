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

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import theano
import theano.tensor as T
from theano.tensor.var import TensorVariable

from theano_impl.support.checks import (
    check_choice,
    check_count,
    check_dtype,
    check_flag,
    check_floating,
    check_seed,
    check_values,
    check_width,
)
from theano_impl.support.initializers import glorot_uniform
from theano_impl.support.layer import Layer

DIRECTIONS = ("forward", "backward", "both")


def gru(
    x: TensorVariable,
    input_weight: TensorVariable,
    hidden_weight: TensorVariable,
    input_bias: TensorVariable | None = None,
    hidden_bias: TensorVariable | None = None,
    *,
    backward: bool = False,
    mask: TensorVariable | None = None,
) -> TensorVariable:
    """All states, (batch, time, h), from a zero state.

    x: (batch, time, in); input_weight: (in, 3h), hidden_weight: (h, 3h), both biases: (3h,).
    backward: from the last time to the first; a state is at the time of the input that was read
    last. mask: (batch, time); where it is 0 the state stays as it is. AssertionError, when it
    runs, for no time at all.
    """
    h = hidden_weight.shape[0]
    given = _input_gates(x, input_weight, input_bias)
    if mask is not None:
        # An update gate of exactly 1 keeps the state to the last bit.
        still = T.eq(mask, 0).dimshuffle(1, 0, "x") & T.eq(T.arange(3 * h) // h, 1)
        given = T.switch(still, np.asarray(math.inf, x.dtype), given)

    def step(x_gates, h, hidden_weight, *hidden_bias):
        return next_state(x_gates, sum(hidden_bias, T.dot(h, hidden_weight)), h)

    weights = [hidden_weight] if hidden_bias is None else [hidden_weight, hidden_bias]
    states = _states(step, given, _zero_state(x, h), weights, backward).dimshuffle(1, 0, 2)
    return states[:, ::-1] if backward else states


def lstm(
    x: TensorVariable,
    input_weight: TensorVariable,
    hidden_weight: TensorVariable,
    bias: TensorVariable | None = None,
    *,
    backward: bool = False,
) -> TensorVariable:
    """All states, (batch, time, h), from a zero state and a zero memory.

    x: (batch, time, in); input_weight: (in, 4h), hidden_weight: (h, 4h), bias: (4h,). backward:
    as for `gru`, and so is the error.
    """
    n = hidden_weight.shape[0]

    def step(x_gates, h_and_c, hidden_weight):
        h, c = h_and_c[:, :n], h_and_c[:, n:]
        gates = x_gates + T.dot(h, hidden_weight)
        let_in, forget = T.nnet.sigmoid(gates[:, :n]), T.nnet.sigmoid(gates[:, n : 2 * n])
        candidate, out = T.tanh(gates[:, 2 * n : 3 * n]), T.nnet.sigmoid(gates[:, 3 * n :])
        c = forget * c + let_in * candidate
        return T.concatenate([out * T.tanh(c), c], axis=1)

    given = _input_gates(x, input_weight, bias)
    states = _states(step, given, _zero_state(x, 2 * n), [hidden_weight], backward)
    states = states[:, :, :n].dimshuffle(1, 0, 2)
    return states[:, ::-1] if backward else states


def _states(
    step: Callable[..., TensorVariable],
    given: TensorVariable,
    first: TensorVariable,
    weights: Sequence[TensorVariable],
    backward: bool,
) -> TensorVariable:
    """All states, (time, batch, h), of step(given[t], state, *weights) from the first state on.

    They come out a second time, as an output that no step reads: Theano's second derivatives are
    wrong, without an error, where more than the last of the states that steps read is used.
    """

    def twice(*inputs: TensorVariable) -> tuple[TensorVariable, TensorVariable]:
        state = step(*inputs)
        return state, state

    (_, states), _ = theano.scan(
        twice,
        sequences=given,
        outputs_info=[first, None],
        non_sequences=list(weights),
        go_backwards=backward,
        strict=True,
    )
    return states


def _input_gates(
    x: TensorVariable, input_weight: TensorVariable, input_bias: TensorVariable | None
) -> TensorVariable:
    """The input's part of the gates at all times, (time, batch, gates), by one product."""
    x = check_values(x, x.shape[1] > 0, "x", "at least one time step")
    x = T.unbroadcast(x, 0, 1, 2)  # scan's gradient trips over axes known to be of length one
    given = T.dot(x.dimshuffle(1, 0, 2), input_weight)
    return given if input_bias is None else given + input_bias


def _zero_state(x: TensorVariable, h: TensorVariable) -> TensorVariable:
    return T.unbroadcast(T.alloc(np.asarray(0, x.dtype), x.shape[0], h), 0, 1)


def next_state(
    x_gates: TensorVariable, h_gates: TensorVariable, h: TensorVariable
) -> TensorVariable:
    """The state after one step of a GRU, (batch, hidden).

    x_gates, h_gates: (batch, 3·hidden), x·W + b and h·U + c in the order reset, update, candidate.
    h: (batch, hidden), the state before the step.
    """
    n = h.shape[1]
    gates = T.nnet.sigmoid(x_gates[:, : 2 * n] + h_gates[:, : 2 * n])
    reset, update = gates[:, :n], gates[:, n:]
    candidate = T.tanh(x_gates[:, 2 * n :] + reset * h_gates[:, 2 * n :])
    return (1 - update) * candidate + update * h


def initial_arrays(
    in_features: int,
    hidden_size: int,
    *,
    rng: np.random.Generator,
    biases: Sequence[str] = ("input_bias", "hidden_bias"),
    gates: int = 3,
) -> dict[str, np.ndarray]:
    """The arrays of one direction: each gate's matrix starts on its own, biases at zero."""
    arrays = {
        name: np.concatenate(glorot_uniform(gates, width, hidden_size, rng=rng), axis=1)
        for name, width in (("input_weight", in_features), ("hidden_weight", hidden_size))
    }
    return arrays | {name: np.zeros(gates * hidden_size) for name in biases}


class _Recurrent(Layer):
    """A recurrent layer in one direction or in both, which are joined along the last axis."""

    def _build(
        self,
        states: Callable[..., TensorVariable],
        x: TensorVariable,
        *,
        gates: int,
        biases: Sequence[str],
        seed: int | None,
        **options: Any,
    ) -> None:
        """Arrays and output. states: of one direction, from x and the arrays of that direction."""
        in_features, hidden_size = self.config["in_features"], self.config["hidden_size"]
        direction = self.config["direction"]
        check_floating("x", x, ndim=3)
        rng = np.random.default_rng(seed)
        own = biases if self.config["bias"] else ()
        arrays = []
        for prefix in ["", "backward."] if direction == "both" else [""]:
            start = initial_arrays(in_features, hidden_size, rng=rng, biases=own, gates=gates)
            arrays.append([self.add_param(prefix + name, value) for name, value in start.items()])
        check_dtype("x", x, self.params[0].dtype)
        x = check_width("x", x, in_features)
        outputs = []
        for backward, some in zip([direction == "backward", True], arrays, strict=False):
            all_states = states(x, *some, backward=backward, **options)
            last = all_states[:, 0 if backward else -1]
            outputs.append(all_states if self.config["return_sequences"] else last)
        self.output = T.concatenate(outputs, axis=-1) if len(outputs) > 1 else outputs[0]


def _config(
    in_features: int, hidden_size: int, direction: str, return_sequences: bool, bias: bool
) -> dict[str, Any]:
    """The arguments of a recurrent layer, checked."""
    check_choice("direction", direction, DIRECTIONS)
    return {
        "in_features": check_count("in_features", in_features),
        "hidden_size": check_count("hidden_size", hidden_size),
        "direction": direction,
        "return_sequences": check_flag("return_sequences", return_sequences),
        "bias": check_flag("bias", bias),
    }


class GRU(_Recurrent):
    """`gru` as a layer, in one direction or in both, which are joined along the last axis.

    x: (batch, time, in_features); `.output` is (batch, time, h), or with return_sequences False
    the last state, (batch, h); h is hidden_size, twice that for both. bias: both biases or none.
    TypeError for another dtype than the weights'; AssertionError, when it runs, for a wrong
    number of features. mask as for `gru`: the last state is that of the last step that counts.
    """

    def __init__(
        self,
        x: TensorVariable,
        in_features: int,
        hidden_size: int,
        *,
        direction: str = "forward",
        return_sequences: bool = True,
        bias: bool = True,
        mask: TensorVariable | None = None,
        seed: int | None = None,
    ) -> None:
        config = _config(in_features, hidden_size, direction, return_sequences, bias)
        seed = check_seed("seed", seed)
        super().__init__(x, config=config)
        biases = ("input_bias", "hidden_bias")
        self._build(gru, x, gates=3, biases=biases, seed=seed, mask=mask)


class LSTM(_Recurrent):
    """`lstm` as a layer, in one direction or in both, which are joined along the last axis.

    Arguments, `.output` and errors as for `GRU`, without a mask; bias: the one bias or none.
    """

    def __init__(
        self,
        x: TensorVariable,
        in_features: int,
        hidden_size: int,
        *,
        direction: str = "forward",
        return_sequences: bool = True,
        bias: bool = True,
        seed: int | None = None,
    ) -> None:
        config = _config(in_features, hidden_size, direction, return_sequences, bias)
        seed = check_seed("seed", seed)
        super().__init__(x, config=config)
        self._build(lstm, x, gates=4, biases=("bias",), seed=seed)
