"""Titles in Theano: each title of a group is predicted from the others of its group."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

import theano_impl  # before theano  # noqa: F401  # isort: skip
import theano
import theano.tensor as T

from examples.support.options import Report
from examples.support.training import Training
from examples.title_search.data import Split, encode
from numpy_infer.evaluation import mean_average_precision
from numpy_infer.sampling import LeaveOneOutGroups
from numpy_infer.text import Vocabulary
from theano_impl.frequency_scaling import inverse_frequency_weights, scale_updates_by_frequency
from theano_impl.gradient_flow import gradient_flow
from theano_impl.interchange import load_arrays, load_model, save_model, to_arrays
from theano_impl.sanity_checks import check_spread
from theano_impl.smorms3 import SMORMS3
from theano_impl.title_encoder import TitleEncoder

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
    ids, groups, others = T.lmatrix("ids"), T.ltensor3("groups"), T.ltensor3("others")
    model: Any = TitleEncoder(ids, len(vocabulary), dim=64, seed=seed)
    if start:
        model = load_model(start, inputs=[ids])
    titles = encode(split.training.titles, vocabulary)  # (titles, longest)
    held_out = encode(split.validation.titles, vocabulary)
    batches = LeaveOneOutGroups(
        split.training.labels, size=5, negatives=10, batch_size=64, batches=16, seed=seed
    )
    optimizer = SMORMS3(model.params, lr=0.005)
    training = Training(model, save_model)

    loss = model.loss(groups, others, margin=MARGIN)
    gradients = T.grad(loss, model.params)
    updates = optimizer.updates(gradients)
    if scaled:  # SMORMS3 divides a gradient by its size, so that the step is what can be scaled
        weights = inverse_frequency_weights(vocabulary.counts).astype(model.table.dtype)
        updates = scale_updates_by_frequency(updates, model.table, weights)
    flow = gradient_flow(gradients, model.params)
    step = theano.function([groups, others], {"loss": loss, **flow}, updates=updates)
    embed = theano.function([ids], model.output)

    untrained = embed(held_out)
    best, best_epoch, arrays = -1.0, 0, to_arrays(model)
    for epoch in range(1, epochs + 1):
        losses = []
        for positives, negatives in batches:  # (64, 5) and (64, 10) rows of the titles
            found = step(titles[positives], titles[negatives])
            losses.append(float(found["loss"]))
        training.flows.append({name: float(found[name]) for name in flow})
        references, vectors = embed(titles), embed(held_out)
        spread = check_spread(vectors, start=untrained)
        if not spread:
            raise ValueError(f"the embeddings have collapsed: {spread.message}")
        precision = mean_average_precision(
            vectors,
            split.validation.labels,
            references=references,
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
