"""Each component that is trained overfits a tiny batch, in every framework."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import pytest

from shared_tests.fixtures import normal
from shared_tests.repository import PACKAGES


@dataclass(frozen=True)
class Overfit:
    """How to build a model and its loss on a batch, given the component's module.

    loss is that of a built model; symbolic builds Theano's layer on variables and returns it with
    its loss. rate is Adam's, descent_rate that of plain gradient descent, which Theano takes.
    """

    batch: Mapping[str, np.ndarray]
    build: Callable[..., Any]
    loss: Callable[..., Any]
    symbolic: Callable[..., tuple[Any, Any]]
    rate: float = 0.05
    descent_rate: float = 0.1
    steps: int = 200


def grammar_on_symbols(module: Any, vectors: Any, brackets: Any) -> tuple[Any, Any]:
    layer = module.NeuralGrammar(vectors, 5, 7, brackets=brackets, seed=1)
    return layer, layer.output.loss


def titles_on_symbols(module: Any, ids: Any, negatives: Any) -> tuple[Any, Any]:
    layer = module.TitleEncoder(ids[0], 13, 5, seed=1)
    return layer, layer.loss(ids, negatives)


def mean_square(error: Any) -> Any:
    """Of a tensor of any framework."""
    if hasattr(error, "mean"):
        return (error**2).mean()
    import tensorflow as tf

    return tf.reduce_mean(error**2)


def levels_loss(module: Any, labels: Any, levels: Any) -> Any:
    losses = module.level_losses(labels, *levels)
    return module.curriculum_loss(losses, 100, span=1)


def levels_on_symbols(module: Any, x: Any, labels: Any) -> tuple[Any, Any]:
    layer = module.FeedbackNetwork(x, 7, [2, 3], hidden=11, seed=1)
    return layer, levels_loss(module, labels, layer.output)


def sequences_on_symbols(module: Any, ids: Any, targets: Any) -> tuple[Any, Any]:
    layer = module.SequenceEncoder(ids, 11, 3, 7, out_features=2, dropout=0.0, reverse=True, seed=1)
    return layer, mean_square(layer.output - targets)


def frames_on_symbols(module: Any, x: Any) -> tuple[Any, Any]:
    layer = module.ConvAutoencoder1d(x, 8, seed=1)
    return layer, mean_square(layer.output - x)


def speakers_loss(module: Any, y: Any) -> Any:
    """Of two anchors, their positives and their negatives."""
    package = module.__name__.partition(".")[0]
    triplets = importlib.import_module(f"{package}.triplet_loss")
    return triplets.triplet_loss(y[:2], y[2:4], y[4:])


def speakers_on_symbols(module: Any, x: Any) -> tuple[Any, Any]:
    layer = module.SpeakerEncoder(x, 9, channels=(5, 7), dim=3, seed=1)
    return layer, speakers_loss(module, layer.output)


def sentences_on_symbols(module: Any, ids: Any, targets: Any) -> tuple[Any, Any]:
    layer = module.SentenceEncoder(ids, 11, 3, seed=1)
    return layer, mean_square(layer.output - targets)


COMPONENTS = {
    "char_word_encoder": Overfit(
        {
            "ids": np.array(
                [[[3, 1, 10], [7, 0, 0]], [[2, 9, 0], [0, 0, 0]], [[10, 6, 0], [8, 4, 5]]]
            ),
            "targets": np.tanh(normal(3, 3, seed=1)),
        },
        lambda module: module.SentenceEncoder(11, 3, seed=1),
        lambda model, ids, targets: mean_square(model(ids) - targets),
        sentences_on_symbols,
        descent_rate=1.0,
    ),
    "conv_autoencoder": Overfit(
        {"x": normal(2, 8, 8, seed=1)},  # as many channels as places: TensorFlow's are last
        lambda module: module.ConvAutoencoder1d(8, seed=1),
        lambda model, x: mean_square(model(x) - x),
        frames_on_symbols,
        rate=0.01,
        descent_rate=0.2,
    ),
    "feedback_network": Overfit(
        {
            "x": normal(5, 7, seed=1),
            "labels": np.array([[1, 0], [0, 2], [1, 1], [0, 2], [0, 0]]),
        },
        lambda module: module.FeedbackNetwork(7, [2, 3], hidden=11, seed=1),
        lambda model, x, labels: levels_loss(sys.modules[type(model).__module__], labels, model(x)),
        levels_on_symbols,
        descent_rate=0.6,
    ),
    "neural_grammar": Overfit(
        {
            "vectors": normal(5, 5, seed=1),
            "brackets": np.array([[1, 2], [3, 4], [1, 4], [0, 4]]),
        },
        lambda module: module.NeuralGrammar(5, 7, seed=1),
        lambda model, vectors, brackets: model(vectors, brackets).loss,
        grammar_on_symbols,
    ),
    "sequence_encoder": Overfit(
        {
            "ids": np.array([[3, 1, 10, 0], [7, 0, 0, 0], [2, 9, 4, 1]]),
            "targets": normal(3, 2, seed=1),
        },
        lambda module: module.SequenceEncoder(
            11, 3, 7, out_features=2, dropout=0.0, reverse=True, seed=1
        ),
        lambda model, ids, targets: mean_square(model(ids) - targets),
        sequences_on_symbols,
        descent_rate=0.5,
    ),
    "speaker_encoder": Overfit(
        {"x": normal(6, 9, 9, seed=1)},
        lambda module: module.SpeakerEncoder(9, channels=(5, 7), dim=3, seed=1),
        lambda model, x: speakers_loss(sys.modules[type(model).__module__], model(x)),
        speakers_on_symbols,
        rate=0.01,
    ),
    "title_encoder": Overfit(
        {
            "ids": np.array(
                [[[1, 2, 0], [3, 0, 0], [4, 5, 6]], [[7, 8, 0], [9, 10, 0], [0, 0, 0]]]
            ),
            "negatives": np.array([[[7, 11, 0]], [[1, 12, 0]]]),
        },
        lambda module: module.TitleEncoder(13, 5, seed=1),
        lambda model, ids, negatives: model.loss(ids, negatives),
        titles_on_symbols,
        descent_rate=1.0,
    ),
}


@pytest.mark.parametrize("component", COMPONENTS)
def test_overfits_a_tiny_batch(framework_name, component):
    module = importlib.import_module(f"{PACKAGES[framework_name]}.{component}")
    train = {"torch": train_torch, "tf2": train_tf2, "theano": train_theano}[framework_name]
    task = COMPONENTS[component]
    losses = train(task, module)
    start = next(losses)
    assert start > 0
    assert any(loss < start / 100 for loss in islice(losses, task.steps))


def typed(batch: Mapping[str, np.ndarray], dtype: str) -> list[np.ndarray]:
    return [array.astype(dtype) if array.dtype.kind == "f" else array for array in batch.values()]


def train_torch(task: Overfit, module: Any) -> Iterator[float]:
    import torch

    model = task.build(module)
    batch = [torch.from_numpy(array) for array in typed(task.batch, "float32")]
    optimizer = torch.optim.Adam(model.parameters(), lr=task.rate)
    while True:
        optimizer.zero_grad()
        loss = task.loss(model, *batch)
        loss.backward()
        optimizer.step()
        yield loss.item()


def train_tf2(task: Overfit, module: Any) -> Iterator[float]:
    import keras
    import tensorflow as tf

    model = task.build(module)
    batch = [tf.constant(array) for array in typed(task.batch, "float32")]
    optimizer = keras.optimizers.Adam(task.rate)
    optimizer.build(model.trainable_variables)

    @tf.function
    def step() -> tf.Tensor:
        with tf.GradientTape() as tape:
            loss = task.loss(model, *batch)
        weights = model.trainable_variables
        optimizer.apply(tape.gradient(loss, [weight.value for weight in weights]), weights)
        return loss

    while True:
        yield float(step())


def train_theano(task: Overfit, module: Any) -> Iterator[float]:
    import theano
    import theano.tensor as T

    batch = typed(task.batch, theano.config.floatX)
    inputs = [T.TensorType(str(one.dtype), (False,) * one.ndim)() for one in batch]
    layer, loss = task.symbolic(module, *inputs)
    rate = np.asarray(task.descent_rate, loss.dtype)
    gradients = zip(layer.params, T.grad(loss, layer.params), strict=True)
    updates = [(param, param - rate * gradient) for param, gradient in gradients]
    step = theano.function(inputs, loss, updates=[*updates, *layer.updates])
    while True:
        yield float(step(*batch))
