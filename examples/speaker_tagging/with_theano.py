"""Speaker tagging in Theano: batches of several voices, and all of their triplets."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np

import theano_impl  # before theano  # noqa: F401  # isort: skip
import theano
import theano.tensor as T

from examples.speaker_tagging.data import Split, varied
from examples.support.options import Report
from examples.support.training import Training
from numpy_infer.sampling import BalancedBatches
from theano_impl.gradient_flow import gradient_flow
from theano_impl.interchange import load_arrays, load_model, save_model, to_arrays
from theano_impl.sanity_checks import check_loss_moves, check_spread
from theano_impl.smorms3 import SMORMS3
from theano_impl.speaker_encoder import SpeakerEncoder
from theano_impl.triplet_loss import all_triplets_loss

MARGIN = 0.3
BATCH = 96  # windows, or a few less
STEPS = 25  # of an epoch
PATIENCE = 8  # epochs without a lower held-out loss, and the training stops


@theano.config.change_flags(floatX="float32")
def train(split: Split, *, start: Path | None, seed: int, epochs: int, report: Report) -> Training:
    """Train the encoder, or go on with the one in `start`; the best of all epochs is kept."""
    x, labels = T.tensor3("x"), T.lvector("labels")
    frames = split.training.frames  # (windows, mels, time)
    model: Any = SpeakerEncoder(x, frames.shape[1], channels=(64, 64), dim=32, seed=seed)
    if start:
        model = load_model(start, inputs=[x])
    voices = min(12, len(split.speakers))
    batches = BalancedBatches(
        split.training.labels, classes=voices, samples=BATCH // voices, batches=STEPS, seed=seed
    )
    optimizer = SMORMS3(model.params, lr=0.002)
    rng = np.random.default_rng(seed)
    training = Training(model, save_model)

    loss = all_triplets_loss(model.output, labels, margin=MARGIN, reduction="active")
    gradients = T.grad(loss, model.params)
    flow = gradient_flow(gradients, model.params)
    outputs = {"loss": loss, **flow}
    step = theano.function([x, labels], outputs, updates=optimizer.updates(gradients))
    mean = all_triplets_loss(model.output, labels, margin=MARGIN)
    evaluate = theano.function([x, labels], [model.output, mean])

    losses: list[float] = []  # of all steps
    best, best_epoch, arrays = math.inf, 0, to_arrays(model)
    for epoch in range(1, epochs + 1):
        for index in batches:
            found = step(varied(frames[index], rng), split.training.labels[index])
            losses.append(float(found["loss"]))
        training.flows.append({name: float(found[name]) for name in flow})
        vectors, found_mean = evaluate(split.held_out.frames, split.held_out.labels)
        held_out_loss = float(found_mean)
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
