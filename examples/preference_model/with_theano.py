"""Preferences in Theano: batches of one topic, and the triplets of liked and disliked items."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

import theano_impl  # before theano  # noqa: F401  # isort: skip
import theano
import theano.tensor as T

from examples.preference_model.data import DIM, Split, encode, epoch_of_topics
from examples.preference_model.serve import scores
from examples.support.options import Report
from examples.support.training import Training
from numpy_infer.evaluation import roc_curve
from numpy_infer.text import Vocabulary
from theano_impl.frequency_scaling import inverse_frequency_weights, scale_updates_by_frequency
from theano_impl.gradient_flow import gradient_flow
from theano_impl.interchange import load_arrays, load_model, save_model, to_arrays
from theano_impl.padded_embedding import PaddedEmbedding
from theano_impl.sanity_checks import check_spread
from theano_impl.smorms3 import SMORMS3
from theano_impl.triplet_loss import all_triplets_loss

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
    ids, labels = T.lmatrix("ids"), T.lvector("labels")
    model: Any = PaddedEmbedding(
        ids, len(vocabulary), dim=DIM, reduce="sum", unit_norm=True, seed=seed
    )
    load_arrays(model, {"table": table.astype(model.table.dtype)})
    if start:
        model = load_model(start, inputs=[ids])
    items = encode(split.training.texts, vocabulary)  # (items, longest)
    held_out = encode(split.validation.texts, vocabulary)
    optimizer = SMORMS3(model.params, lr=0.002)
    training = Training(model, save_model)

    loss = all_triplets_loss(model.output, labels, margin=MARGIN, reduction="active")
    gradients = T.grad(loss, model.params)
    weights = inverse_frequency_weights(vocabulary.counts).astype(model.table.dtype)
    updates = scale_updates_by_frequency(optimizer.updates(gradients), model.table, weights)
    flow = gradient_flow(gradients, model.params)
    step = theano.function([ids, labels], {"loss": loss, **flow}, updates=updates)
    embed = theano.function([ids], model.output)

    untrained = embed(held_out)
    best, best_epoch, arrays = -1.0, 0, to_arrays(model)
    for epoch in range(1, epochs + 1):
        losses = []
        for index in epoch_of_topics(
            split.training.liked, topics, samples=32, seed=seed, epoch=epoch
        ):
            found = step(items[index], split.training.liked[index])
            losses.append(float(found["loss"]))
        training.flows.append({name: float(found[name]) for name in flow})
        known, vectors = embed(items), embed(held_out)
        spread = check_spread(vectors, start=untrained)
        if not spread:
            raise ValueError(f"the embeddings have collapsed: {spread.message}")
        votes = scores(known, split.training.liked, vectors)
        auc = roc_curve(votes, split.validation.liked > 0).auc
        training.history.append({"loss": float(np.mean(losses)), "AUC": auc})
        report(epoch, epochs, **training.history[-1])
        if auc > best:
            best, best_epoch, arrays = auc, epoch, to_arrays(model)
        elif epoch - best_epoch >= PATIENCE:
            break
    load_arrays(model, arrays)
    return training
