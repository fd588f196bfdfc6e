"""Preferences in TensorFlow: batches of one topic, and the triplets of liked and disliked items."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import tensorflow as tf

from examples.preference_model.data import DIM, Split, encode, epoch_of_topics
from examples.preference_model.serve import scores
from examples.support.options import Report
from examples.support.training import Training
from numpy_infer.evaluation import roc_curve
from numpy_infer.text import Vocabulary
from tf2_impl.frequency_scaling import inverse_frequency_weights, scale_updates_by_frequency
from tf2_impl.gradient_flow import gradient_flow
from tf2_impl.interchange import load_arrays, load_model, save_model, to_arrays
from tf2_impl.padded_embedding import PaddedEmbedding
from tf2_impl.sanity_checks import check_spread
from tf2_impl.smorms3 import SMORMS3
from tf2_impl.triplet_loss import all_triplets_loss

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
    model = PaddedEmbedding(len(vocabulary), dim=DIM, reduce="sum", unit_norm=True, seed=seed)
    load_arrays(model, {"table": table})
    if start:
        model = load_model(start)
    liked = tf.constant(split.training.liked)
    items = tf.constant(encode(split.training.texts, vocabulary))  # (items, longest)
    held_out = tf.constant(encode(split.validation.texts, vocabulary))
    optimizer = SMORMS3(learning_rate=0.002)
    weights = inverse_frequency_weights(tf.constant(vocabulary.counts))
    scale_updates_by_frequency(optimizer, model.table, weights)
    training = Training(model, save_model)
    untrained = model(held_out)

    @tf.function
    def step(index: tf.Tensor) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        with tf.GradientTape() as tape:
            vectors, labels = model(tf.gather(items, index)), tf.gather(liked, index)  # (64, dim)
            loss = all_triplets_loss(vectors, labels, margin=MARGIN, reduction="active")
        gradients = tape.gradient(loss, model.trainable_variables)
        optimizer.apply(gradients, model.trainable_variables)
        return loss, gradient_flow(gradients, model.trainable_variables)

    best, best_epoch, arrays = -1.0, 0, to_arrays(model)
    for epoch in range(1, epochs + 1):
        losses = []
        for index in epoch_of_topics(
            split.training.liked, topics, samples=32, seed=seed, epoch=epoch
        ):
            loss, flow = step(tf.constant(index))
            losses.append(float(loss))
        training.flows.append({name: float(value) for name, value in flow.items()})
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
