"""Autoencoders in PyTorch: convolutions on batches of images, and a tree on each sequence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import nn

from examples.support.options import Report
from examples.support.training import Training
from numpy_infer.sampling import BalancedBatches
from pytorch_impl.conv_autoencoder import ConvAutoencoder1d, ConvAutoencoder2d
from pytorch_impl.gradient_flow import gradient_flow
from pytorch_impl.interchange import load_arrays, load_model, save_model, to_arrays
from pytorch_impl.recursive_autoencoder import RecursiveAutoencoder
from pytorch_impl.smorms3 import SMORMS3

PATIENCE = 3  # epochs without a smaller error, and the training stops


def train_convolutions(
    x: np.ndarray, held_out: np.ndarray, *, seed: int, epochs: int, report: Report
) -> Training:
    """Train an autoencoder on x, (n, channels, *space); the best of all epochs is kept."""
    layer = ConvAutoencoder1d if x.ndim == 3 else ConvAutoencoder2d
    model: nn.Module = layer(x.shape[1], channels=(16, 16), seed=seed)
    rows, unseen = torch.tensor(x), torch.tensor(held_out)
    optimizer = SMORMS3(model.parameters(), lr=0.005)
    batches = BalancedBatches(np.zeros(len(x), int), classes=1, samples=32, seed=seed)
    training = Training(model, save_model)
    best, best_epoch, arrays = np.inf, 0, to_arrays(model)
    for epoch in range(1, epochs + 1):
        losses = []
        for index in batches:
            loss = (model(rows[index]) - rows[index]).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        training.flows.append(gradient_flow(model))
        with torch.no_grad():
            error = (model(unseen) - unseen).square().mean().item()
        training.history.append({"loss": float(np.mean(losses)), "held out": error})
        report(epoch, epochs, **training.history[-1])
        if error < best:
            best, best_epoch, arrays = error, epoch, to_arrays(model)
        elif epoch - best_epoch >= PATIENCE:
            break
    load_arrays(model, arrays)
    return training


def train_trees(
    frames: Sequence[np.ndarray],
    *,
    options: Mapping[str, bool],
    start: Path | None,
    seed: int,
    epochs: int,
    report: Report,
) -> Training:
    """Train a recursive autoencoder on sequences, (frames, dim) each; no epoch leaves its start."""
    model: nn.Module = RecursiveAutoencoder(
        frames[0].shape[1], activation="tanh", pairs="adjacent", seed=seed, **options
    )
    if start:
        model = load_model(start)
    rows = [torch.tensor(one) for one in frames]
    optimizer = SMORMS3(model.parameters(), lr=0.0025)
    order = np.random.default_rng(seed)
    training = Training(model, save_model)
    for epoch in range(1, epochs + 1):
        losses = []
        for i in order.permutation(len(rows)):
            loss = model(rows[i]).loss / (len(rows[i]) - 1)  # of each merge
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        training.flows.append(gradient_flow(model))
        training.history.append({"loss": float(np.mean(losses))})
        report(epoch, epochs, **training.history[-1])
    return training
