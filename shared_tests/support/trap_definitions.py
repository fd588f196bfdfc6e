"""What the tests of docs/porting.md hold the frameworks to, in NumPy, and their common inputs.

The optimizers take a start, the gradients of successive steps and their settings, and give the
parameters after each step.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from shared_tests.components.chain import gru_states, sigmoid
from shared_tests.defaults import reference
from shared_tests.defaults.reference import Rule
from shared_tests.fixtures import normal

# The first entry's gradients are as small as the epsilons of the optimizers make matter.
START = np.array([0.5, -1.0, 2.0])
GRADIENTS = (np.array([1e-5, 0.3, -2.0]), np.array([2e-5, -0.1, 1.0]))

# Ten gradients of a table of three rows, and how rare the id of each row is: 0 is padding.
TABLE_GRADIENTS = normal(10, 3, 2, seed=7)
ROW_WEIGHTS = np.array([0.0, 1.0, 4.0])

# 26 rows, one more than torch.cdist takes before it changes its way, far from the origin.
FAR_ROWS = normal(26, 3, seed=1) + 100

# Two pairs of points: squared distances of 1 within a pair, of 4 and 5 between them. The loss of
# soft nearest neighbors is log(1 + exp(−3 / T) + exp(−4 / T)); mixed classes have log 3. Maximized
# by plain ascent from T = 1, it reaches this where 1/T is a weight and becomes negative.
PAIRS = np.array([[0.0, 0], [1, 0], [0, 2], [1, 2]])
PAIR_LABELS = np.array([0, 0, 1, 1])
PAIR_STEPS, PAIR_RATE, PAIR_LOSS = 60, 0.05, 20.2


def pair_curvature() -> float:
    """The second derivative of the loss of s · PAIRS by s, at T = 1 and s = 1."""
    u, v = np.exp(-3), np.exp(-4)  # to the s²
    slope = -(3 * u + 4 * v) / (1 + u + v)  # by s²
    curvature = (9 * u + 16 * v) / (1 + u + v) - slope**2
    return float(2 * slope + 4 * curvature)


SEQUENCES = normal(2, 5, 3, seed=2)
GRU_WEIGHTS = {
    "input_weight": normal(3, 6, seed=3),
    "hidden_weight": normal(2, 6, seed=4),
    "input_bias": normal(6, seed=5),
    "hidden_bias": normal(6, seed=6),
}


def largest_error(got: object, wanted: object) -> float:
    """The largest difference between two arrays of one shape; NaN when there is a NaN."""
    got, wanted = np.asarray(got), np.asarray(wanted)
    assert got.shape == wanted.shape, (got.shape, wanted.shape)
    return float(np.abs(got - wanted).max())


def gru(x: np.ndarray, weights: dict[str, np.ndarray]) -> np.ndarray:
    """All states, (batch, time, h), of the GRU whose gates are reset, update, candidate."""
    return gru_states(x, **weights)


def swap_gates(array: np.ndarray) -> np.ndarray:
    """Reset and update in each other's place, on the last axis."""
    reset, update, candidate = np.split(array, 3, axis=-1)
    return np.concatenate([update, reset, candidate], axis=-1)


def gru_reset_first(x: np.ndarray, weights: dict[str, np.ndarray]) -> np.ndarray:
    """The GRU that resets the state before its product, with the gates of ours and both biases."""
    h = len(weights["hidden_weight"])
    gates, candidate = np.split(weights["hidden_weight"], [2 * h], axis=1)
    bias = weights["input_bias"] + weights["hidden_bias"]
    state, states = np.zeros((len(x), h)), []
    for t in range(x.shape[1]):
        given = x[:, t] @ weights["input_weight"] + bias
        reset, update = np.split(sigmoid(given[:, : 2 * h] + state @ gates), 2, axis=1)
        new = np.tanh(given[:, 2 * h :] + (reset * state) @ candidate)
        state = (1 - update) * new + update * state
        states.append(state)
    return np.stack(states, axis=1)


def gru_lasagne(x: np.ndarray, weights: dict[str, np.ndarray]) -> np.ndarray:
    """Lasagne's GRU: one bias, and an update gate that lets the new state in."""
    h = len(weights["hidden_weight"])
    state, states = np.zeros((len(x), h)), []
    for t in range(x.shape[1]):
        given = x[:, t] @ weights["input_weight"] + weights["input_bias"]
        kept = state @ weights["hidden_weight"]
        reset, update = np.split(sigmoid(given[:, : 2 * h] + kept[:, : 2 * h]), 2, axis=1)
        new = np.tanh(given[:, 2 * h :] + reset * kept[:, 2 * h :])
        state = (1 - update) * state + update * new
        states.append(state)
    return np.stack(states, axis=1)


def stepped(rule: Rule, start: np.ndarray, gradients: Sequence[np.ndarray]) -> np.ndarray:
    """The parameters after each step of an update rule."""
    w, state, found = start, dict[str, Any](), []
    for step, g in enumerate(gradients, start=1):
        w = rule(w, g, g**2, state, step)
        found.append(w)
    return np.array(found)


def adam(
    start: np.ndarray, gradients: Sequence[np.ndarray], *, epsilon: float = 1e-8, **settings: Any
) -> np.ndarray:
    """settings: those of `reference.adam`."""
    return stepped(reference.adam(epsilon=epsilon, **settings), start, gradients)


def rmsprop(start: np.ndarray, gradients: Sequence[np.ndarray], **settings: Any) -> np.ndarray:
    """settings: those of `reference.rmsprop`."""
    return stepped(reference.rmsprop(**settings), start, gradients)


def adagrad(start: np.ndarray, gradients: Sequence[np.ndarray], **settings: Any) -> np.ndarray:
    """settings: those of `reference.adagrad`."""
    return stepped(reference.adagrad(**settings), start, gradients)


def sgd(
    start: np.ndarray,
    gradients: Sequence[np.ndarray],
    *,
    rates: Sequence[float],
    momentum: float = 0.9,
    rate_inside: bool = False,
    penalty: float = 0.0,
    decay: float = 0.0,
) -> np.ndarray:
    """rates: one for each step. rate_inside: the velocity is of steps, not of gradients."""
    w, velocity, found = start, np.zeros_like(start), []
    for g, rate in zip(gradients, rates, strict=True):
        g = g + penalty * w
        w = w - rate * decay * w
        velocity = momentum * velocity + (rate * g if rate_inside else g)
        w = w - (velocity if rate_inside else rate * velocity)
        found.append(w)
    return np.array(found)


def smorms3(
    start: np.ndarray,
    gradients: Sequence[np.ndarray],
    *,
    rate: float = 0.0025,
    epsilon: float = 1e-16,
    first_memory: float = 1.0,
    root_epsilon: bool = True,
) -> np.ndarray:
    """Simon Funk's. first_memory is 2 where memory moves before r is taken from it."""
    mean = square = np.zeros_like(start)
    w, memory, found = start, np.full_like(start, first_memory), []
    for g in gradients:
        share = 1 / (1 + memory)
        mean = (1 - share) * mean + share * g
        square = (1 - share) * square + share * g**2
        signal = mean**2 / (square + epsilon)
        memory = 1 + memory * (1 - signal)
        root = np.sqrt(square) + (epsilon if root_epsilon else 0)
        w = w - np.minimum(rate, signal) * g / root
        found.append(w)
    return np.array(found)
