"""Trainings over the adapters: every implementation takes the same steps."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from fourfold.definition import Arrays, Case
from fourfold.ports.calling import resolved
from fourfold.ports.protocol import Optimizer, Port, Trained, Training, loss_value

STEP_FUNCTION = ["weights", "gradients", "state"]


class Trainer:
    """One side of a training: its weights, and the state of what moves them.

    Args:
        port: the adapter.
        target: what it has built, with its weights.
        training: its rate, loss and optimizers.
        label: what the implementation is called, by which its optimizer is found.
    """

    def __init__(self, port: Port, target: Any, training: Training, label: str) -> None:
        self.port, self.target, self.training = port, target, training
        self.chosen = resolved_optimizer(training.optimizer_of(label))
        self.weights = dict(port.weights(target))
        self.optimizer: Optimizer | None = None

    def step(self, case: Case) -> float:
        """Take one step on a batch. Returns the loss before it."""
        found = self.port.call(self.target, case, gradients=True, loss=self.training.loss)
        if self.optimizer is None:
            trained = {name: self.weights[name] for name in found.weight_gradients}
            self.optimizer = made(self.chosen, self.port, trained, self.training.rate)
        self.weights = {**self.weights, **self.optimizer.step(found.weight_gradients)}
        self.target = self.port.with_weights(self.target, self.weights)
        return loss_value(found.outputs, self.training.loss)


def train(
    port: Port, target: Any, batches: Sequence[Case], training: Training, label: str
) -> Trained:
    """The losses of a training, and the weights after each step.

    Args:
        port: the adapter.
        target: what it has built, with its weights.
        batches: taken in turn.
        training: its steps, rate, loss and optimizers.
        label: what the implementation is called.

    Returns:
        The losses, (steps,), and the weights by the implementation's own names.
    """
    trainer = Trainer(port, target, training, label)
    losses: list[float] = []
    weights: list[Arrays] = []
    for step in range(training.steps):
        losses.append(trainer.step(batches[step % len(batches)]))
        weights = [*(weights if training.kept == "every" else []), trainer.weights]
    says = trainer.optimizer.says if trainer.optimizer else ""
    return Trained(np.array(losses), tuple(weights), says)


def resolved_optimizer(chosen: Any) -> Any:
    """An optimizer that "module:attribute" names, or what is given."""
    return chosen if chosen == "sgd" else resolved(chosen)


def made(chosen: Any, port: Port, weights: Arrays, rate: float) -> Optimizer:
    """What moves these weights: gradient descent, the user's function, or the framework's own."""
    if isinstance(chosen, str) and chosen == "sgd":
        return by_function(descent(rate), weights, f"sgd, rate {rate:.6g}")
    if is_step_function(chosen):
        return by_function(chosen, weights, getattr(chosen, "__name__", type(chosen).__name__))
    return port.optimizer(chosen, weights)


def is_step_function(chosen: Any) -> bool:
    """Whether a function takes (weights, gradients, state)."""
    try:
        return list(inspect.signature(chosen).parameters)[:3] == STEP_FUNCTION
    except (TypeError, ValueError):  # nothing that is called, or a builtin
        return False


def descent(rate: float) -> Callable[..., tuple[dict[str, np.ndarray], None]]:
    """θ ← θ − rate·∂loss/∂θ."""

    def step(weights: Arrays, gradients: Arrays, _: None) -> tuple[dict[str, np.ndarray], None]:
        return {name: one - rate * gradients[name] for name, one in weights.items()}, None

    return step


def by_function(function: Callable[..., Any], weights: Arrays, says: str) -> Optimizer:
    """Steps by a function of (weights, gradients, state), which are copied for it."""
    now, state = dict(weights), None

    def step(gradients: Arrays) -> dict[str, np.ndarray]:
        nonlocal now, state
        moved, state = function(copied(now), copied(gradients), state)
        if moved.keys() != now.keys():
            raise ValueError(f"weights: expected {', '.join(now)}, got {', '.join(moved)}")
        now = {name: np.asarray(moved[name], dtype=one.dtype) for name, one in now.items()}
        return now

    return Optimizer(says, step)


def copied(arrays: Arrays) -> dict[str, np.ndarray]:
    return {name: one.copy() for name, one in arrays.items()}
