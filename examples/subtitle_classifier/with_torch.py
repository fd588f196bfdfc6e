"""Short texts in PyTorch: one embedding, one GRU and one projection, trained by cross entropy."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from examples.subtitle_classifier.data import Split, encode, shuffled_batches
from examples.support.options import Report
from examples.support.training import Training
from pytorch_impl.gradient_flow import gradient_flow
from pytorch_impl.interchange import load_model, save_model
from pytorch_impl.sanity_checks import check_initial_loss, check_spread
from pytorch_impl.sequence_encoder import SequenceEncoder
from pytorch_impl.smorms3 import SMORMS3

BATCH = 128
DROPOUT = 0.2
PATIENCE = 3  # epochs without a better accuracy, and the training stops


def train(
    split: Split,
    alphabet: list[str],
    *,
    hidden: int,
    start: Path | None,
    seed: int,
    epochs: int,
    report: Report,
) -> Training:
    """Train the classifier, or go on with the one in `start`; the best of all epochs is kept."""
    torch.manual_seed(seed)  # of the dropout
    model: nn.Module = SequenceEncoder(
        vocabulary_size=len(alphabet) + 2,
        embedding_dim=32,
        hidden=hidden,
        out_features=len(split.classes),
        dropout=DROPOUT,
        seed=seed,
    )
    if start:
        model = load_model(start)
    texts = torch.tensor(encode(split.training.texts, alphabet))  # (texts, longest)
    labels = torch.tensor(split.training.labels)
    held_out = torch.tensor(encode(split.validation.texts, alphabet))
    held_out_labels = torch.tensor(split.validation.labels)
    untrained = torch.tensor(predict(model, held_out.numpy()))
    verdict = check_initial_loss(F.cross_entropy(untrained, held_out_labels), len(split.classes))
    if not start and not verdict:
        raise ValueError(f"before training: {verdict.message}")
    optimizer = SMORMS3(model.parameters(), lr=0.01)
    training = Training(copy.deepcopy(model), save_model)
    best, best_epoch = -1.0, 0
    for epoch in range(1, epochs + 1):
        model.train()
        losses = []
        for index in shuffled_batches(len(labels), BATCH, seed, epoch):
            loss = F.cross_entropy(model(texts[index]), labels[index])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        training.flows.append(gradient_flow(model))
        scores = torch.tensor(predict(model, held_out.numpy()))
        spread = check_spread(scores, start=untrained)
        if not spread:
            raise ValueError(f"the scores have collapsed: {spread.message}")
        accuracy = float((scores.argmax(1) == held_out_labels).double().mean())
        training.history.append({"loss": float(np.mean(losses)), "accuracy": accuracy})
        report(epoch, epochs, **training.history[-1])
        if accuracy > best:
            best, best_epoch, training.model = accuracy, epoch, copy.deepcopy(model)
        elif epoch - best_epoch >= PATIENCE:
            break
    return training


def predict(model: nn.Module, ids: np.ndarray) -> np.ndarray:
    """The scores of the classes, (texts, classes), of a trained model."""
    model.eval()
    with torch.no_grad():
        scores: np.ndarray = model(torch.from_numpy(ids)).numpy()
    return scores
