"""The training in NumPy, in float64, with backpropagation by hand: what every run is held to.

Its settings are those of the update rule and of the normalizations, so that it trains as each
framework does with its own defaults, too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from shared_tests.defaults import (
    BATCH,
    DARKEST,
    DECAY,
    HIDDEN,
    MOMENTUM_RATES,
    OTHERS,
    PIXELS,
    SMALL,
    STEPS,
    WIDTH,
    Run,
    start,
)

Arrays = Mapping[str, np.ndarray]
State = dict[str, Any]
# (weight, gradient, its square, the weight's state, number of the step from 1) → the new weight
Rule = Callable[[np.ndarray, np.ndarray, np.ndarray, State, int], np.ndarray]


def sgd(rate: float = 0.1) -> Rule:
    """w − rate · g."""
    return lambda w, g, square, state, step: w - rate * g


def momentum(*, memory: float = 0.9, rate_inside: bool = False) -> Rule:
    """The velocity is of gradients, and of steps with rate_inside."""

    def move(
        w: np.ndarray, g: np.ndarray, square: np.ndarray, state: State, step: int
    ) -> np.ndarray:
        rate = MOMENTUM_RATES[step - 1]
        state["velocity"] = memory * state.get("velocity", 0) + (rate * g if rate_inside else g)
        return w - (1 if rate_inside else rate) * state["velocity"]

    return move


def adam(
    rate: float = 0.001,
    *,
    epsilon: float = SMALL,
    before_correction: bool = False,
    penalty: float = 0.0,
    decay: float = 0.0,
    betas: tuple[float, float] = (0.9, 0.999),
) -> Rule:
    """penalty adds that share of the weight to its gradient; decay shrinks it instead.

    betas are those of the bias correction alone.
    """
    first, second = betas

    def move(
        w: np.ndarray, g: np.ndarray, square: np.ndarray, state: State, step: int
    ) -> np.ndarray:
        if penalty:
            g = g + penalty * w
            square = g**2
        state["mean"] = 0.9 * state.get("mean", 0) + 0.1 * g
        state["square"] = 0.999 * state.get("square", 0) + 0.001 * square
        correction = np.sqrt(1 - second**step)
        floor = epsilon / correction if before_correction else epsilon
        root = np.sqrt(state["square"]) / correction + floor
        return w - rate * decay * w - rate * state["mean"] / (1 - first**step) / root

    return move


def rmsprop(
    rate: float = 0.01, *, memory: float = 0.99, epsilon: float = 1e-8, inside: bool = False
) -> Rule:
    """inside: epsilon is added to the mean square, not to its root."""

    def move(
        w: np.ndarray, g: np.ndarray, square: np.ndarray, state: State, step: int
    ) -> np.ndarray:
        state["square"] = memory * state.get("square", 0) + (1 - memory) * square
        return w - rate * g / floored_root(state["square"], epsilon, inside)

    return move


def adagrad(
    rate: float = 0.01, *, first: float = 0.0, epsilon: float = 1e-10, inside: bool = False
) -> Rule:
    """first: what the sum of squares starts from."""

    def move(
        w: np.ndarray, g: np.ndarray, square: np.ndarray, state: State, step: int
    ) -> np.ndarray:
        state["sum"] = state.get("sum", first) + square
        return w - rate * g / floored_root(state["sum"], epsilon, inside)

    return move


def floored_root(square: np.ndarray, epsilon: float, inside: bool) -> np.ndarray:
    return np.sqrt(square + epsilon) if inside else np.sqrt(square) + epsilon


PINNED = {
    "sgd": sgd(),
    "momentum": momentum(),
    "adam": adam(),
    "rmsprop": rmsprop(),
    "adagrad": adagrad(),
    "decay": adam(decay=DECAY),
}


def train(
    rule: Rule,
    begin: Arrays | None = None,
    *,
    layer_epsilon: float = 1e-5,
    batch_epsilon: float = 1e-5,
    share: float = 0.1,
    unbiased: bool = True,
    summed: bool = True,
) -> Run:
    """`losses` and `evaluation`, both (steps,).

    begin: another start than the pinned one. layer_epsilon and batch_epsilon are those of the
    normalizations; share is that of the new batch in the running statistics, whose variance is
    unbiased or not. summed: the gradient of a row of the table is squared as a whole; otherwise
    that of each time it occurs.
    """
    weights = dict(begin or start())
    weights |= {"layer_norm.scale": np.ones(WIDTH), "layer_norm.shift": np.zeros(WIDTH)}
    weights |= {"batch_norm.scale": np.ones(HIDDEN), "batch_norm.shift": np.zeros(HIDDEN)}
    states: dict[str, State] = {name: {} for name in weights}
    mean, variance = np.zeros(HIDDEN), np.ones(HIDDEN)
    losses, evaluation = [], []
    for step in range(1, STEPS + 1):
        loss, gradients, bags, hidden = backpropagate(weights, layer_epsilon, batch_epsilon)
        losses.append(loss)
        squares = {name: g**2 for name, g in gradients.items()}
        if not summed:
            squares["table"] = scattered(bags**2)
        for name, g in gradients.items():
            weights[name] = rule(weights[name], g, squares[name], states[name], step)
        mean = (1 - share) * mean + share * hidden.mean(0)
        variance = (1 - share) * variance + share * hidden.var(0, ddof=int(unbiased))
        evaluation.append(evaluate(weights, mean, variance, layer_epsilon, batch_epsilon))
    return {"losses": np.array(losses), "evaluation": np.array(evaluation)}


def backpropagate(
    weights: Arrays, layer_epsilon: float, batch_epsilon: float
) -> tuple[float, dict[str, np.ndarray], np.ndarray, np.ndarray]:
    """The loss of the batch, its gradient for each weight, for each of a bag's rows, and hidden."""
    ids, labels = BATCH
    normal, inverse, features, hidden = below(weights, ids, layer_epsilon)
    batch_inverse = 1 / np.sqrt(hidden.var(0) + batch_epsilon)
    batch_normal = (hidden - hidden.mean(0)) * batch_inverse
    top = batch_normal * weights["batch_norm.scale"] + weights["batch_norm.shift"]
    loss, d_logits = cross_entropy(top @ weights["output.weight"] + weights["output.bias"], labels)

    d_top = d_logits @ weights["output.weight"].T
    d_normal = d_top * weights["batch_norm.scale"]
    d_hidden = normalization_gradient(d_normal, batch_normal, batch_inverse, axis=0)
    d_linear = d_hidden * (1 - hidden**2)
    d_features = d_linear @ weights["hidden.weight"].T
    d_normal = d_features * weights["layer_norm.scale"]
    d_rows = normalization_gradient(d_normal, normal, inverse, axis=1) / DARKEST
    gradients = {
        "table": scattered(d_rows),
        "layer_norm.scale": (d_features * normal).sum(0),
        "layer_norm.shift": d_features.sum(0),
        "hidden.weight": features.T @ d_linear,
        "hidden.bias": d_linear.sum(0),
        "batch_norm.scale": (d_top * batch_normal).sum(0),
        "batch_norm.shift": d_top.sum(0),
        "output.weight": top.T @ d_logits,
        "output.bias": d_logits.sum(0),
    }
    return loss, gradients, d_rows, hidden


def scattered(rows: np.ndarray) -> np.ndarray:
    """A table of the sums of what each bag, (batch, width), gives to every row in it."""
    table = np.zeros((PIXELS, WIDTH))
    np.add.at(table, BATCH[0], rows[:, None])
    return table


def evaluate(
    weights: Arrays,
    mean: np.ndarray,
    variance: np.ndarray,
    layer_epsilon: float,
    batch_epsilon: float,
) -> float:
    """The loss of the other digits, normalized with the running statistics."""
    ids, labels = OTHERS
    *_, hidden = below(weights, ids, layer_epsilon)
    normal = (hidden - mean) / np.sqrt(variance + batch_epsilon)
    top = normal * weights["batch_norm.scale"] + weights["batch_norm.shift"]
    return cross_entropy(top @ weights["output.weight"] + weights["output.bias"], labels)[0]


def below(weights: Arrays, ids: np.ndarray, epsilon: float) -> tuple[np.ndarray, ...]:
    """Up to the batch normalization: what is normalized and by which factor, features, hidden."""
    bag = weights["table"][ids].mean(1)
    inverse = 1 / np.sqrt(bag.var(1, keepdims=True) + epsilon)
    normal = (bag - bag.mean(1, keepdims=True)) * inverse
    features = normal * weights["layer_norm.scale"] + weights["layer_norm.shift"]
    hidden = np.tanh(features @ weights["hidden.weight"] + weights["hidden.bias"])
    return normal, inverse, features, hidden


def normalization_gradient(
    gradient: np.ndarray, normal: np.ndarray, inverse: np.ndarray, *, axis: int
) -> np.ndarray:
    """For x of normal = (x − mean) · inverse, given the gradient for normal."""
    along = normal * (gradient * normal).mean(axis, keepdims=True)
    return inverse * (gradient - gradient.mean(axis, keepdims=True) - along)


def cross_entropy(logits: np.ndarray, labels: np.ndarray) -> tuple[float, np.ndarray]:
    """The mean over the rows, and its gradient for the logits."""
    rows = np.arange(len(labels))
    shifted = logits - logits.max(1, keepdims=True)
    logs = shifted - np.log(np.exp(shifted).sum(1, keepdims=True))
    gradient = np.exp(logs)
    gradient[rows, labels] -= 1
    return float(-logs[rows, labels].mean()), gradient / len(labels)
