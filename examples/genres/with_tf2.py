"""A taxonomy in TensorFlow: one network that is fed the same features once per level."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from examples.genres.data import shuffled_batches
from examples.support.options import Report
from examples.support.training import Training
from tf2_impl.feedback_network import FeedbackNetwork, curriculum_loss, level_losses
from tf2_impl.gradient_flow import gradient_flow
from tf2_impl.interchange import load_arrays, load_model, save_model, to_arrays
from tf2_impl.sanity_checks import check_spread
from tf2_impl.smorms3 import SMORMS3

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
    model = FeedbackNetwork(features.shape[1], classes, hidden=hidden, seed=seed)
    if start:
        model = load_model(start)
    optimizer = SMORMS3(learning_rate=0.005)
    training = Training(model, save_model)
    untrained = predict(model, held_out)
    batches = max(1, len(features) // BATCH)

    @tf.function
    def step(x: tf.Tensor, y: tf.Tensor, done: tf.Tensor) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        with tf.GradientTape() as tape:
            predicted = model(x)
            losses = level_losses(y, *predicted)  # (levels,)
            loss = tf.reduce_sum(losses)
            if span:
                loss = curriculum_loss(losses, step=done, span=span)
        # In a curriculum the levels that have not joined yet get gradients of 0.
        gradients = tape.gradient(loss, model.trainable_variables)
        optimizer.apply(gradients, model.trainable_variables)
        return tf.reduce_sum(losses), gradient_flow(gradients, model.trainable_variables)

    best, best_epoch, arrays = -1.0, 0, to_arrays(model)
    for epoch in range(1, epochs + 1):
        sums = []
        dealt = shuffled_batches(features, labels, size=BATCH, kept=KEPT, seed=seed, epoch=epoch)
        for done, (x, y) in enumerate(dealt):
            total, flow = step(
                as_input(model, x), tf.constant(y), tf.constant(epoch - 1 + done / batches)
            )
            sums.append(float(total))
        training.flows.append({name: float(value) for name, value in flow.items()})
        predicted = predict(model, held_out)
        for level, first in zip(predicted, untrained, strict=True):
            spread = check_spread(tf.constant(level), start=tf.constant(first))
            if not spread:
                raise ValueError(f"the predictions have collapsed: {spread.message}")
        found = np.stack([level.argmax(axis=1) for level in predicted], axis=1)
        accuracy = float((found == held_out_labels).mean())
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
    return [level.numpy() for level in model(as_input(model, features))]


def as_input(model: Any, features: np.ndarray) -> tf.Tensor:
    """The features in the dtype of the weights: a model file of Theano has float64."""
    return tf.constant(features, dtype=model.compute_dtype)
