"""Preferences in PyTorch: batches of one topic, and the triplets of liked and disliked items."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import nn

from examples.preference_model.data import DIM, Split, encode, epoch_of_topics
from examples.preference_model.serve import scores
from examples.support.options import Report
from examples.support.training import Training
from numpy_infer.evaluation import roc_curve
from numpy_infer.text import Vocabulary
from pytorch_impl.frequency_scaling import inverse_frequency_weights, scale_updates_by_frequency
from pytorch_impl.gradient_flow import gradient_flow
from pytorch_impl.interchange import load_arrays, load_model, save_model, to_arrays
from pytorch_impl.padded_embedding import PaddedEmbedding
from pytorch_impl.sanity_checks import check_spread
from pytorch_impl.smorms3 import SMORMS3
from pytorch_impl.triplet_loss import all_triplets_loss

MARGIN = 0.2
PATIENCE = 4  # epochs without a better AUC, and the training stops


def train(
    split: Split,
    vocabulary: Vocabulary,
    topics: np.ndarray,
    table: np.ndarray,
    *,
    start: Path | None,
    seed: int,
    epochs: int,
    report: Report,
) -> Training:
    """Train the encoder from a table, or from the file `start`; the best of all epochs is kept."""
    model: nn.Module = PaddedEmbedding(
        len(vocabulary), dim=DIM, reduce="sum", unit_norm=True, sparse=True, seed=seed
    )
    load_arrays(model, {"table": table})
    if start:
        model = load_model(start)
    liked = torch.tensor(split.training.liked)
    items = torch.tensor(encode(split.training.texts, vocabulary))  # (items, longest)
    held_out = torch.tensor(encode(split.validation.texts, vocabulary))
    optimizer = SMORMS3(model.parameters(), lr=0.002)
    weights = inverse_frequency_weights(torch.tensor(vocabulary.counts))
    scale_updates_by_frequency(optimizer, model.table, weights)
    training = Training(model, save_model)
    with torch.no_grad():
        untrained = model(held_out)
    best, best_epoch, arrays = -1.0, 0, to_arrays(model)
    for epoch in range(1, epochs + 1):
        losses = []
        for index in epoch_of_topics(
            split.training.liked, topics, samples=32, seed=seed, epoch=epoch
        ):
            vectors = model(items[index])  # (64, dim)
            loss = all_triplets_loss(vectors, liked[index], margin=MARGIN, reduction="active")
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        training.flows.append(gradient_flow(model))
        with torch.no_grad():
            known, vectors = model(items), model(held_out)
        spread = check_spread(vectors, start=untrained)
        if not spread:
            raise ValueError(f"the embeddings have collapsed: {spread.message}")
        found = scores(known.numpy(), split.training.liked, vectors.numpy())
        auc = roc_curve(found, split.validation.liked > 0).auc
        training.history.append({"loss": float(np.mean(losses)), "AUC": auc})
        report(epoch, epochs, **training.history[-1])
        if auc > best:
            best, best_epoch, arrays = auc, epoch, to_arrays(model)
        elif epoch - best_epoch >= PATIENCE:
            break
    load_arrays(model, arrays)
    return training
