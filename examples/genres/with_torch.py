"""A taxonomy in PyTorch: one network that is fed the same features once per level."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import torch
from torch import nn

from examples.genres.data import shuffled_batches
from examples.support.options import Report
from examples.support.training import Training
from pytorch_impl.feedback_network import FeedbackNetwork, curriculum_loss, level_losses
from pytorch_impl.gradient_flow import gradient_flow
from pytorch_impl.interchange import load_model, save_model
from pytorch_impl.sanity_checks import check_spread
from pytorch_impl.smorms3 import SMORMS3

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
    model: nn.Module = FeedbackNetwork(features.shape[1], classes, hidden=hidden, seed=seed)
    if start:
        model = load_model(start)
    optimizer = SMORMS3(model.parameters(), lr=0.005)
    training = Training(copy.deepcopy(model), save_model)
    untrained = predict(model, held_out)
    batches = max(1, len(features) // BATCH)
    best, best_epoch = -1.0, 0
    for epoch in range(1, epochs + 1):
        sums = []
        dealt = shuffled_batches(features, labels, size=BATCH, kept=KEPT, seed=seed, epoch=epoch)
        for done, (x, y) in enumerate(dealt):
            losses = level_losses(torch.from_numpy(y), *model(as_input(model, x)))  # (levels,)
            loss = losses.sum()
            if span:
                loss = curriculum_loss(losses, step=epoch - 1 + done / batches, span=span)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            sums.append(losses.sum().item())
        training.flows.append(gradient_flow(model))
        predicted = predict(model, held_out)
        for level, first in zip(predicted, untrained, strict=True):
            spread = check_spread(torch.tensor(level), start=torch.tensor(first))
            if not spread:
                raise ValueError(f"the predictions have collapsed: {spread.message}")
        found = np.stack([level.argmax(axis=1) for level in predicted], axis=1)
        accuracy = float((found == held_out_labels).mean())
        training.history.append({"loss": float(np.mean(sums)), "accuracy": accuracy})
        report(epoch, epochs, **training.history[-1])
        if accuracy > best:
            best, best_epoch, training.model = accuracy, epoch, copy.deepcopy(model)
        elif epoch - best_epoch >= PATIENCE:
            break
    return training


def predict(model: nn.Module, features: np.ndarray) -> list[np.ndarray]:
    """The log-probabilities of the classes at each level, (texts, classes)."""
    with torch.no_grad():
        return [level.numpy() for level in model(as_input(model, features))]


def as_input(model: nn.Module, features: np.ndarray) -> torch.Tensor:
    """The features in the dtype of the weights: a model file of Theano has float64."""
    return torch.tensor(features, dtype=next(model.parameters()).dtype)
