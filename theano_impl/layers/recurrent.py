"""A gated recurrent unit over sequences.

    r = σ(x·W_r + b_r + h·U_r + c_r)        z = σ(x·W_z + b_z + h·U_z + c_z)
    n = tanh(x·W_n + b_n + r ⊙ (h·U_n + c_n))        h' = (1 − z) ⊙ n + z ⊙ h

The gates stand side by side in each array, in the order r, z, n.

Source: Cho et al. 2014, with the reset gate applied after the hidden product.
"""

from __future__ import annotations

import math

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
    x = check_values(x, x.shape[1] > 0, "x", "at least one time step")
    x = T.unbroadcast(x, 0, 1, 2)  # scan's gradient trips over axes known to be of length one
    h = hidden_weight.shape[0]
    given = T.dot(x.dimshuffle(1, 0, 2), input_weight)  # of all times at once
    if input_bias is not None:
        given = given + input_bias
    if mask is not None:
        # An update gate of exactly 1 keeps the state to the last bit.
        still = T.eq(mask, 0).dimshuffle(1, 0, "x") & T.eq(T.arange(3 * h) // h, 1)
        given = T.switch(still, np.asarray(math.inf, x.dtype), given)

    def step(x_gates, h, hidden_weight, *hidden_bias):
        return next_state(x_gates, sum(hidden_bias, T.dot(h, hidden_weight)), h)

    states, _ = theano.scan(
        step,
        sequences=given,
        outputs_info=T.unbroadcast(T.alloc(np.asarray(0, x.dtype), x.shape[0], h), 0, 1),
        non_sequences=[hidden_weight] if hidden_bias is None else [hidden_weight, hidden_bias],
        go_backwards=backward,
        strict=True,
    )
    states = states.dimshuffle(1, 0, 2)
    return states[:, ::-1] if backward else states


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
    in_features: int, hidden_size: int, *, rng: np.random.Generator, bias: bool = True
) -> dict[str, np.ndarray]:
    """The arrays of one direction: each gate's matrix starts on its own, biases at zero."""
    arrays = {
        name: np.concatenate(glorot_uniform(3, width, hidden_size, rng=rng), axis=1)
        for name, width in (("input_weight", in_features), ("hidden_weight", hidden_size))
    }
    if bias:
        arrays |= {name: np.zeros(3 * hidden_size) for name in ("input_bias", "hidden_bias")}
    return arrays


class GRU(Layer):
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
        in_features = check_count("in_features", in_features)
        hidden_size = check_count("hidden_size", hidden_size)
        check_choice("direction", direction, DIRECTIONS)
        return_sequences = check_flag("return_sequences", return_sequences)
        bias = check_flag("bias", bias)
        seed = check_seed("seed", seed)
        config = {
            "in_features": in_features,
            "hidden_size": hidden_size,
            "direction": direction,
            "return_sequences": return_sequences,
            "bias": bias,
        }
        super().__init__(x, config=config)
        check_floating("x", x, ndim=3)
        rng = np.random.default_rng(seed)
        prefixes = ["", "backward."] if direction == "both" else [""]
        arrays = []
        for prefix in prefixes:
            start = initial_arrays(in_features, hidden_size, bias=bias, rng=rng)
            arrays.append([self.add_param(prefix + name, value) for name, value in start.items()])
        check_dtype("x", x, self.params[0].dtype)
        x = check_width("x", x, in_features)
        outputs = []
        for backward, own in zip([direction == "backward", True], arrays, strict=False):
            states = gru(x, *own, backward=backward, mask=mask)
            outputs.append(states if return_sequences else states[:, 0 if backward else -1])
        self.output = T.concatenate(outputs, axis=-1) if len(outputs) > 1 else outputs[0]
