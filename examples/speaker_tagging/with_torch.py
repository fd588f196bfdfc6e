"""Speaker tagging in PyTorch: batches of several voices, and all of their triplets."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch
from torch import nn

from examples.speaker_tagging.data import Split, varied
from examples.support.options import Report
from examples.support.training import Training
from numpy_infer.sampling import BalancedBatches
from pytorch_impl.gradient_flow import gradient_flow
from pytorch_impl.interchange import load_arrays, load_model, save_model, to_arrays
from pytorch_impl.sanity_checks import check_loss_moves, check_spread
from pytorch_impl.smorms3 import SMORMS3
from pytorch_impl.speaker_encoder import SpeakerEncoder
from pytorch_impl.triplet_loss import all_triplets_loss

MARGIN = 0.3
BATCH = 96  # windows, or a few less
STEPS = 25  # of an epoch
PATIENCE = 8  # epochs without a lower held-out loss, and the training stops


def train(split: Split, *, start: Path | None, seed: int, epochs: int, report: Report) -> Training:
    """Train the encoder, or go on with the one in `start`; the best of all epochs is kept."""
    frames = split.training.frames  # (windows, mels, time)
    labels = torch.tensor(split.training.labels)
    held_out = torch.tensor(split.held_out.frames)
    held_out_labels = torch.tensor(split.held_out.labels)
    model: nn.Module = SpeakerEncoder(frames.shape[1], channels=(64, 64), dim=32, seed=seed)
    if start:
        model = load_model(start)
    voices = min(12, len(split.speakers))
    batches = BalancedBatches(
        split.training.labels, classes=voices, samples=BATCH // voices, batches=STEPS, seed=seed
    )
    optimizer = SMORMS3(model.parameters(), lr=0.002)
    rng = np.random.default_rng(seed)
    training = Training(model, save_model)
    losses: list[float] = []  # of all steps
    best, best_epoch, arrays = math.inf, 0, to_arrays(model)
    for epoch in range(1, epochs + 1):
        for index in batches:
            vectors = model(torch.tensor(varied(frames[index], rng)))  # (batch, dim)
            loss = all_triplets_loss(vectors, labels[index], margin=MARGIN, reduction="active")
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        training.flows.append(gradient_flow(model))
        with torch.no_grad():
            vectors = model(held_out)
            held_out_loss = all_triplets_loss(vectors, held_out_labels, margin=MARGIN).item()
        spread = check_spread(vectors)
        moves = check_loss_moves(losses, MARGIN, steps=STEPS)
        if not (spread and moves):
            raise ValueError(f"the embeddings have collapsed: {spread.message} {moves.message}")
        measures = {"loss": float(np.mean(losses[-STEPS:])), "held-out loss": held_out_loss}
        training.history.append(measures)
        report(epoch, epochs, **measures)
        if held_out_loss < best:
            best, best_epoch, arrays = held_out_loss, epoch, to_arrays(model)
        elif epoch - best_epoch >= PATIENCE:
            break
    load_arrays(model, arrays)
    return training
