"""Stems in Theano: batches of two words for each of 64 stems, and all of their triplets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

import theano_impl  # before theano  # noqa: F401  # isort: skip
import theano
import theano.tensor as T

from examples.stems.data import Split, encode
from examples.support.options import Report
from examples.support.training import Training
from numpy_infer.evaluation import recall_at_k
from numpy_infer.sampling import BalancedBatches
from theano_impl.gradient_flow import gradient_flow
from theano_impl.interchange import load_arrays, load_model, save_model, to_arrays
from theano_impl.sanity_checks import check_spread
from theano_impl.sequence_encoder import SequenceEncoder
from theano_impl.smorms3 import SMORMS3
from theano_impl.triplet_loss import all_triplets_loss

MARGIN = 0.3
PATIENCE = 3  # epochs without a better recall, and the training stops


def train(
    split: Split,
    alphabet: list[str],
    *,
    reverse: bool,
    start: Path | None,
    seed: int,
    epochs: int,
    report: Report,
) -> Training:
    """Train the encoder, or go on with the one in `start`; the best of all epochs is kept."""
    ids, labels = T.lmatrix("ids"), T.lvector("labels")
    model: Any = SequenceEncoder(
        ids,
        vocabulary_size=len(alphabet) + 2,
        embedding_dim=32,
        hidden=96,
        dropout=0.0,
        reverse=reverse,
        seed=seed,
    )
    if start:
        model = load_model(start, inputs=[ids])
    words = encode(split.training.words, alphabet)  # (words, longest)
    held_out = encode(split.validation.words, alphabet)
    batches = BalancedBatches(split.training.stems, classes=64, samples=2, seed=seed)
    optimizer = SMORMS3(model.params, lr=0.005)
    training = Training(model, save_model)

    loss = all_triplets_loss(model.output, labels, margin=MARGIN, reduction="active")
    gradients = T.grad(loss, model.params)
    flow = gradient_flow(gradients, model.params)
    outputs = {"loss": loss, **flow}
    step = theano.function([ids, labels], outputs, updates=optimizer.updates(gradients))
    embed = theano.function([ids], model.output)

    untrained = embed(held_out)
    best, best_epoch, arrays = -1.0, 0, to_arrays(model)
    for epoch in range(1, epochs + 1):
        losses = []
        for index in batches:
            found = step(words[index], split.training.stems[index])
            losses.append(float(found["loss"]))
        training.flows.append({name: float(found[name]) for name in flow})
        vectors = embed(held_out)
        spread = check_spread(vectors, start=untrained)
        if not spread:
            raise ValueError(f"the embeddings have collapsed: {spread.message}")
        recall = recall_at_k(vectors, split.validation.stems, 1)
        training.history.append({"loss": float(np.mean(losses)), "recall@1": recall})
        report(epoch, epochs, **training.history[-1])
        if recall > best:
            best, best_epoch, arrays = recall, epoch, to_arrays(model)
        elif epoch - best_epoch >= PATIENCE:
            break
    load_arrays(model, arrays)
    return training
