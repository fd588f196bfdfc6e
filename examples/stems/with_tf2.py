"""Stems in TensorFlow: batches of two words for each of 64 stems, and all of their triplets."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import tensorflow as tf

from examples.stems.data import Split, encode
from examples.support.options import Report
from examples.support.training import Training
from numpy_infer.evaluation import recall_at_k
from numpy_infer.sampling import BalancedBatches
from tf2_impl.gradient_flow import gradient_flow
from tf2_impl.interchange import load_arrays, load_model, save_model, to_arrays
from tf2_impl.sanity_checks import check_spread
from tf2_impl.sequence_encoder import SequenceEncoder
from tf2_impl.smorms3 import SMORMS3
from tf2_impl.triplet_loss import all_triplets_loss

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
    model = SequenceEncoder(
        vocabulary_size=len(alphabet) + 2,
        embedding_dim=32,
        hidden=96,
        dropout=0.0,
        reverse=reverse,
        seed=seed,
    )
    if start:
        model = load_model(start)
    words = tf.constant(encode(split.training.words, alphabet))  # (words, longest)
    stems = tf.constant(split.training.stems)
    held_out = tf.constant(encode(split.validation.words, alphabet))
    batches = BalancedBatches(split.training.stems, classes=64, samples=2, seed=seed)
    optimizer = SMORMS3(learning_rate=0.005)
    training = Training(model, save_model)
    untrained = model(held_out)

    @tf.function
    def step(index: tf.Tensor) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        with tf.GradientTape() as tape:
            vectors = model(tf.gather(words, index))  # (128, hidden)
            labels = tf.gather(stems, index)
            loss = all_triplets_loss(vectors, labels, margin=MARGIN, reduction="active")
        gradients = tape.gradient(loss, model.trainable_variables)
        optimizer.apply(gradients, model.trainable_variables)
        return loss, gradient_flow(gradients, model.trainable_variables)

    best, best_epoch, arrays = -1.0, 0, to_arrays(model)
    for epoch in range(1, epochs + 1):
        losses = []
        for index in batches:
            loss, flow = step(tf.constant(index))
            losses.append(float(loss))
        training.flows.append({name: float(value) for name, value in flow.items()})
        vectors = model(held_out)
        spread = check_spread(vectors, start=untrained)
        if not spread:
            raise ValueError(f"the embeddings have collapsed: {spread.message}")
        recall = recall_at_k(vectors.numpy(), split.validation.stems, 1)
        training.history.append({"loss": float(np.mean(losses)), "recall@1": recall})
        report(epoch, epochs, **training.history[-1])
        if recall > best:
            best, best_epoch, arrays = recall, epoch, to_arrays(model)
        elif epoch - best_epoch >= PATIENCE:
            break
    load_arrays(model, arrays)
    return training
