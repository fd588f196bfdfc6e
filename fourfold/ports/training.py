"""Gradient descent over the adapters: every implementation takes the same steps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from fourfold.definition import Case
from fourfold.ports.protocol import Port, Trained, Training, loss_value


def train(port: Port, target: Any, batches: Sequence[Case], training: Training) -> Trained:
    """The losses of a training, and the weights after it.

    Args:
        port: the adapter.
        target: what it has built, with its weights.
        batches: taken in turn.
        training: its steps, rate and loss.

    Returns:
        The losses, (steps,), and the weights by the implementation's own names.
    """
    weights = port.weights(target)
    losses = []
    for step in range(training.steps):
        case = batches[step % len(batches)]
        found = port.call(target, case, gradients=True, loss=training.loss)
        losses.append(loss_value(found.outputs, training.loss))
        for name, gradient in found.weight_gradients.items():
            weights[name] = weights[name] - training.rate * gradient
        target = port.with_weights(target, weights)
    return Trained(np.array(losses), weights)
