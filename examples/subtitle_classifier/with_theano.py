"""Short texts in Theano: one embedding, one GRU and one projection, trained by cross entropy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

import theano_impl  # before theano  # noqa: F401  # isort: skip
import theano
import theano.tensor as T

from examples.subtitle_classifier.data import Split, encode, shuffled_batches
from examples.support.options import Report
from examples.support.training import Training
from theano_impl.gradient_flow import gradient_flow
from theano_impl.interchange import load_arrays, load_model, save_model, to_arrays
from theano_impl.sanity_checks import check_initial_loss, check_spread
from theano_impl.sequence_encoder import SequenceEncoder
from theano_impl.smorms3 import SMORMS3

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
    ids, labels = T.lmatrix("ids"), T.lvector("labels")
    sizes: dict[str, Any] = {
        "vocabulary_size": len(alphabet) + 2,
        "embedding_dim": 32,
        "hidden": hidden,
        "out_features": len(split.classes),
        "dropout": DROPOUT,
    }
    # Dropout is built into a network or not: this one is measured, and saved.
    model: Any = SequenceEncoder(ids, **sizes, seed=seed)
    if start:
        model = load_model(start, inputs=[ids])
    # This one is trained, from the same weights.
    learner = SequenceEncoder(ids, **model.config, training=True, seed=seed)
    load_arrays(learner, to_arrays(model))
    texts = encode(split.training.texts, alphabet)  # (texts, longest)
    held_out = encode(split.validation.texts, alphabet)
    held_out_labels = split.validation.labels
    untrained = predict(model, held_out)
    verdict = check_initial_loss(
        float(cross_entropy(T.constant(untrained), held_out_labels).eval()), len(split.classes)
    )
    if not start and not verdict:
        raise ValueError(f"before training: {verdict.message}")
    optimizer = SMORMS3(learner.params, lr=0.01)
    training = Training(model, save_model)

    loss = cross_entropy(learner.output, labels)
    gradients = T.grad(loss, learner.params)
    flow = gradient_flow(gradients, learner.params)
    outputs = {"loss": loss, **flow}
    step = theano.function([ids, labels], outputs, updates=optimizer.updates(gradients))

    best, best_epoch, arrays = -1.0, 0, to_arrays(model)
    for epoch in range(1, epochs + 1):
        losses = []
        for index in shuffled_batches(len(texts), BATCH, seed, epoch):
            found = step(texts[index], split.training.labels[index])
            losses.append(float(found["loss"]))
        training.flows.append({name: float(found[name]) for name in flow})
        load_arrays(model, to_arrays(learner))
        scores = predict(model, held_out)
        spread = check_spread(scores, start=untrained)
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


def cross_entropy(scores: Any, labels: Any) -> Any:
    """The mean over the texts; `nnet.logsoftmax` is stable, a logarithm of a softmax is not."""
    log_probabilities = T.nnet.logsoftmax(scores)
    return -log_probabilities[T.arange(scores.shape[0]), labels].mean()


def predict(model: Any, ids: np.ndarray) -> np.ndarray:
    """The scores of the classes, (texts, classes), of a trained model."""
    scores: np.ndarray = model.output.eval({model.inputs[0]: ids})  # compiled at its first call
    return scores
