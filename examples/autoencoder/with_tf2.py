"""Autoencoders in TensorFlow: convolutions on batches of images, and a tree on each sequence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf

from examples.support.options import Report
from examples.support.training import Training
from numpy_infer.sampling import BalancedBatches
from tf2_impl.conv_autoencoder import ConvAutoencoder1d, ConvAutoencoder2d
from tf2_impl.gradient_flow import gradient_flow
from tf2_impl.interchange import load_arrays, load_model, save_model, to_arrays
from tf2_impl.recursive_autoencoder import RecursiveAutoencoder
from tf2_impl.smorms3 import SMORMS3

PATIENCE = 3  # epochs without a smaller error, and the training stops


def train_convolutions(
    x: np.ndarray, held_out: np.ndarray, *, seed: int, epochs: int, report: Report
) -> Training:
    """Train an autoencoder on x, (n, channels, *space); the best of all epochs is kept."""
    layer = ConvAutoencoder1d if x.ndim == 3 else ConvAutoencoder2d
    model = layer(x.shape[1], channels=(16, 16), seed=seed)
    rows, unseen = (tf.constant(np.moveaxis(one, 1, -1)) for one in (x, held_out))  # channels last
    optimizer = SMORMS3(learning_rate=0.005)
    batches = BalancedBatches(np.zeros(len(x), int), classes=1, samples=32, seed=seed)
    training = Training(model, save_model)

    @tf.function
    def step(index: tf.Tensor) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        with tf.GradientTape() as tape:
            batch = tf.gather(rows, index)
            loss = tf.reduce_mean((model(batch) - batch) ** 2)
        gradients = tape.gradient(loss, model.trainable_variables)
        optimizer.apply(gradients, model.trainable_variables)
        return loss, gradient_flow(gradients, model.trainable_variables)

    model(unseen[:1])
    best, best_epoch, arrays = np.inf, 0, to_arrays(model)
    for epoch in range(1, epochs + 1):
        losses = []
        for index in batches:
            loss, flow = step(tf.constant(index))
            losses.append(float(loss))
        training.flows.append({name: float(value) for name, value in flow.items()})
        error = float(tf.reduce_mean((model(unseen) - unseen) ** 2))
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
    model = RecursiveAutoencoder(
        frames[0].shape[1], activation="tanh", pairs="adjacent", seed=seed, **options
    )
    if start:
        model = load_model(start)
    rows = [tf.constant(one) for one in frames]
    optimizer = SMORMS3(learning_rate=0.0025)
    order = np.random.default_rng(seed)
    training = Training(model, save_model)

    @tf.function(reduce_retracing=True)
    def step(sequence: tf.Tensor) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        with tf.GradientTape() as tape:
            merges = tf.cast(tf.shape(sequence)[0] - 1, sequence.dtype)
            loss = model(sequence).loss / merges  # of each merge
        gradients = tape.gradient(loss, model.trainable_variables)
        optimizer.apply(gradients, model.trainable_variables)
        return loss, gradient_flow(gradients, model.trainable_variables)

    model(rows[0])
    for epoch in range(1, epochs + 1):
        losses = []
        for i in order.permutation(len(rows)):
            loss, flow = step(rows[i])
            losses.append(float(loss))
        training.flows.append({name: float(value) for name, value in flow.items()})
        training.history.append({"loss": float(np.mean(losses))})
        report(epoch, epochs, **training.history[-1])
    return training
