"""A taxonomy in Theano: one network that is fed the same features once per level."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

import theano_impl  # before theano  # noqa: F401  # isort: skip
import theano
import theano.tensor as T

from examples.genres.data import shuffled_batches
from examples.support.options import Report
from examples.support.training import Training
from theano_impl.feedback_network import FeedbackNetwork, curriculum_loss, level_losses
from theano_impl.gradient_flow import gradient_flow
from theano_impl.interchange import load_arrays, load_model, save_model, to_arrays
from theano_impl.sanity_checks import check_spread
from theano_impl.smorms3 import SMORMS3

BATCH = 128
KEPT = 0.5  # of the n-grams of a text, in each epoch other ones
PATIENCE = 5  # epochs without a better accuracy, and the training stops


def train(
    features: np.ndarray,
    labels: np.ndarray,
    held_out: np.ndarray,
    held_out_labels: np.ndarray,
    classes: list[int],
    *,
    hidden: int,
    span: float | None,
    start: Path | None,
    seed: int,
    epochs: int,
    report: Report,
) -> Training:
    """Train the network, or go on with the one in `start`; the best of all epochs is kept.

    Args:
        features, held_out: (texts, n-grams) float32, to train on and to stop early.
        labels, held_out_labels: (texts, levels).
        classes: the number of classes at each level.
        hidden: width of the network.
        span: epochs that a level takes to join the loss; None when all count from the start.
    """
    x, y, done = T.matrix("x"), T.lmatrix("y"), T.scalar("done")
    model: Any = FeedbackNetwork(x, features.shape[1], classes, hidden=hidden, seed=seed)
    if start:
        model = load_model(start, inputs=[x])
    optimizer = SMORMS3(model.params, lr=0.005)
    training = Training(model, save_model)

    losses = level_losses(y, *model.output)  # (levels,)
    loss = curriculum_loss(losses, step=done, span=span) if span else losses.sum()
    gradients = T.grad(loss, model.params)
    flow = gradient_flow(gradients, model.params)
    outputs = {"loss": losses.sum(), **flow}
    updates = optimizer.updates(gradients)
    step = theano.function([x, y, done], outputs, updates=updates, on_unused_input="ignore")

    untrained = predict(model, held_out)
    batches = max(1, len(features) // BATCH)
    best, best_epoch, arrays = -1.0, 0, to_arrays(model)
    for epoch in range(1, epochs + 1):
        sums = []
        dealt = shuffled_batches(features, labels, size=BATCH, kept=KEPT, seed=seed, epoch=epoch)
        for number, (rows, classes_of_rows) in enumerate(dealt):
            found = step(rows, classes_of_rows, epoch - 1 + number / batches)
            sums.append(float(found["loss"]))
        training.flows.append({name: float(found[name]) for name in flow})
        predicted = predict(model, held_out)
        for level, first in zip(predicted, untrained, strict=True):
            spread = check_spread(level, start=first)
            if not spread:
                raise ValueError(f"the predictions have collapsed: {spread.message}")
        chosen = np.stack([level.argmax(axis=1) for level in predicted], axis=1)
        accuracy = float((chosen == held_out_labels).mean())
        training.history.append({"loss": float(np.mean(sums)), "accuracy": accuracy})
        report(epoch, epochs, **training.history[-1])
        if accuracy > best:
            best, best_epoch, arrays = accuracy, epoch, to_arrays(model)
        elif epoch - best_epoch >= PATIENCE:
            break
    load_arrays(model, arrays)
    return training


def predict(model: Any, features: np.ndarray) -> list[np.ndarray]:
    """The log-probabilities of the classes at each level, (texts, classes)."""
    evaluate = theano.function(model.inputs, model.output)
    levels: list[np.ndarray] = evaluate(features)
    return levels
