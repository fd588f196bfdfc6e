"""Titles in PyTorch: each title of a group is predicted from the others of its group."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import nn

from examples.support.options import Report
from examples.support.training import Training
from examples.title_search.data import Split, encode
from numpy_infer.evaluation import mean_average_precision
from numpy_infer.sampling import LeaveOneOutGroups
from numpy_infer.text import Vocabulary
from pytorch_impl.frequency_scaling import inverse_frequency_weights, scale_updates_by_frequency
from pytorch_impl.gradient_flow import gradient_flow
from pytorch_impl.interchange import load_arrays, load_model, save_model, to_arrays
from pytorch_impl.sanity_checks import check_spread
from pytorch_impl.smorms3 import SMORMS3
from pytorch_impl.title_encoder import TitleEncoder

MARGIN = 0.8  # the 0.2 of StarSpace is met too soon here: see README.md
PATIENCE = 4  # epochs without a better precision, and the training stops


def train(
    split: Split,
    vocabulary: Vocabulary,
    *,
    scaled: bool,
    start: Path | None,
    seed: int,
    epochs: int,
    report: Report,
) -> Training:
    """Train the encoder, or go on with the one in `start`; the best of all epochs is kept."""
    model: nn.Module = TitleEncoder(len(vocabulary), dim=64, sparse=True, seed=seed)
    if start:
        model = load_model(start)
    titles = torch.tensor(encode(split.training.titles, vocabulary))  # (titles, longest)
    held_out = torch.tensor(encode(split.validation.titles, vocabulary))
    batches = LeaveOneOutGroups(
        split.training.labels, size=5, negatives=10, batch_size=64, batches=16, seed=seed
    )
    optimizer = SMORMS3(model.parameters(), lr=0.005)
    if scaled:  # SMORMS3 divides a gradient by its size, so that the step is what can be scaled
        weights = inverse_frequency_weights(torch.tensor(vocabulary.counts))
        scale_updates_by_frequency(optimizer, model.table, weights)
    training = Training(model, save_model)
    with torch.no_grad():
        untrained = model(held_out)
    best, best_epoch, arrays = -1.0, 0, to_arrays(model)
    for epoch in range(1, epochs + 1):
        losses = []
        for positives, negatives in batches:  # (64, 5) and (64, 10) rows of the titles
            loss = model.loss(titles[positives], titles[negatives], margin=MARGIN)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        training.flows.append(gradient_flow(model))
        with torch.no_grad():
            references, vectors = model(titles), model(held_out)
        spread = check_spread(vectors, start=untrained)
        if not spread:
            raise ValueError(f"the embeddings have collapsed: {spread.message}")
        precision = mean_average_precision(
            vectors.numpy(),
            split.validation.labels,
            references=references.numpy(),
            reference_labels=split.training.labels,
        )
        training.history.append({"loss": float(np.mean(losses)), "MAP": precision})
        report(epoch, epochs, **training.history[-1])
        if precision > best:
            best, best_epoch, arrays = precision, epoch, to_arrays(model)
        elif epoch - best_epoch >= PATIENCE:
            break
    load_arrays(model, arrays)
    return training
