"""Autoencoders in Theano: convolutions on batches of images, and a tree on each sequence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import theano_impl  # before theano  # noqa: F401  # isort: skip
import theano
import theano.tensor as T

from examples.support.options import Report
from examples.support.training import Training
from numpy_infer.sampling import BalancedBatches
from theano_impl.conv_autoencoder import ConvAutoencoder1d, ConvAutoencoder2d
from theano_impl.gradient_flow import gradient_flow
from theano_impl.interchange import load_arrays, load_model, save_model, to_arrays
from theano_impl.recursive_autoencoder import RecursiveAutoencoder
from theano_impl.smorms3 import SMORMS3

PATIENCE = 3  # epochs without a smaller error, and the training stops

IN_FLOAT32 = theano.config.change_flags(floatX="float32")  # as the data


@IN_FLOAT32
def train_convolutions(
    x: np.ndarray, held_out: np.ndarray, *, seed: int, epochs: int, report: Report
) -> Training:
    """Train an autoencoder on x, (n, channels, *space); the best of all epochs is kept."""
    layer = ConvAutoencoder1d if x.ndim == 3 else ConvAutoencoder2d
    batch = T.TensorType("float32", (False,) * x.ndim)("batch")
    model: Any = layer(batch, x.shape[1], channels=(16, 16), seed=seed)
    optimizer = SMORMS3(model.params, lr=0.005)
    batches = BalancedBatches(np.zeros(len(x), int), classes=1, samples=32, seed=seed)
    training = Training(model, save_model)

    loss = T.mean((model.output - batch) ** 2)
    gradients = T.grad(loss, model.params)
    flow = gradient_flow(gradients, model.params)
    step = theano.function([batch], {"loss": loss, **flow}, updates=optimizer.updates(gradients))
    measure = theano.function([batch], loss)

    best, best_epoch, arrays = np.inf, 0, to_arrays(model)
    for epoch in range(1, epochs + 1):
        losses = []
        for index in batches:
            found = step(x[index])
            losses.append(float(found["loss"]))
        training.flows.append({name: float(found[name]) for name in flow})
        error = float(measure(held_out))
        training.history.append({"loss": float(np.mean(losses)), "held out": error})
        report(epoch, epochs, **training.history[-1])
        if error < best:
            best, best_epoch, arrays = error, epoch, to_arrays(model)
        elif epoch - best_epoch >= PATIENCE:
            break
    load_arrays(model, arrays)
    return training


@IN_FLOAT32
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
    sequence = T.fmatrix("sequence")
    model: Any = RecursiveAutoencoder(
        sequence, frames[0].shape[1], activation="tanh", pairs="adjacent", seed=seed, **options
    )
    if start:
        model = load_model(start, inputs=[sequence])
    optimizer = SMORMS3(model.params, lr=0.0025)
    order = np.random.default_rng(seed)
    training = Training(model, save_model)

    loss = model.output.loss / T.cast(sequence.shape[0] - 1, "float32")  # of each merge
    gradients = T.grad(loss, model.params)
    flow = gradient_flow(gradients, model.params)
    step = theano.function([sequence], {"loss": loss, **flow}, updates=optimizer.updates(gradients))

    for epoch in range(1, epochs + 1):
        losses = []
        for i in order.permutation(len(frames)):
            found = step(frames[i])
            losses.append(float(found["loss"]))
        training.flows.append({name: float(found[name]) for name in flow})
        training.history.append({"loss": float(np.mean(losses))})
        report(epoch, epochs, **training.history[-1])
    return training
