"""Short texts in TensorFlow: one embedding, one GRU and one projection, by cross entropy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from examples.subtitle_classifier.data import Split, encode, shuffled_batches
from examples.support.options import Report
from examples.support.training import Training
from tf2_impl.gradient_flow import gradient_flow
from tf2_impl.interchange import load_arrays, load_model, save_model, to_arrays
from tf2_impl.sanity_checks import check_initial_loss, check_spread
from tf2_impl.sequence_encoder import SequenceEncoder
from tf2_impl.smorms3 import SMORMS3

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
    model = SequenceEncoder(
        vocabulary_size=len(alphabet) + 2,
        embedding_dim=32,
        hidden=hidden,
        out_features=len(split.classes),
        dropout=DROPOUT,
        seed=seed,
    )
    if start:
        model = load_model(start)
    texts = tf.constant(encode(split.training.texts, alphabet))  # (texts, longest)
    labels = tf.constant(split.training.labels)
    held_out = encode(split.validation.texts, alphabet)
    held_out_labels = split.validation.labels
    untrained = predict(model, held_out)
    first_loss = tf.reduce_mean(cross_entropy(held_out_labels, untrained))
    verdict = check_initial_loss(first_loss, len(split.classes))
    if not start and not verdict:
        raise ValueError(f"before training: {verdict.message}")
    optimizer = SMORMS3(learning_rate=0.01)
    training = Training(model, save_model)

    @tf.function
    def step(index: tf.Tensor) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        with tf.GradientTape() as tape:
            scores = model(tf.gather(texts, index), training=True)  # (128, classes)
            loss = tf.reduce_mean(cross_entropy(tf.gather(labels, index), scores))
        gradients = tape.gradient(loss, model.trainable_variables)
        optimizer.apply(gradients, model.trainable_variables)
        return loss, gradient_flow(gradients, model.trainable_variables)

    best, best_epoch, arrays = -1.0, 0, to_arrays(model)
    for epoch in range(1, epochs + 1):
        losses = []
        for index in shuffled_batches(len(labels), BATCH, seed, epoch):
            loss, flow = step(tf.constant(index))
            losses.append(float(loss))
        training.flows.append({name: float(value) for name, value in flow.items()})
        scores = predict(model, held_out)
        spread = check_spread(tf.constant(scores), start=tf.constant(untrained))
        if not spread:
            raise ValueError(f"the scores have collapsed: {spread.message}")
        accuracy = float((scores.argmax(axis=1) == held_out_labels).mean())
        training.history.append({"loss": float(np.mean(losses)), "accuracy": accuracy})
        report(epoch, epochs, **training.history[-1])
        if accuracy > best:
            best, best_epoch, arrays = accuracy, epoch, to_arrays(model)
        elif epoch - best_epoch >= PATIENCE:
            break
    load_arrays(model, arrays)
    return training


def cross_entropy(labels: Any, scores: Any) -> tf.Tensor:
    """Of each text, (texts,)."""
    return tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=scores)


def predict(model: Any, ids: np.ndarray) -> np.ndarray:
    """The scores of the classes, (texts, classes), of a trained model."""
    scores: np.ndarray = model(tf.constant(ids)).numpy()
    return scores
