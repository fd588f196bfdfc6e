"""TensorFlow: the sanity checks see what is wrong, and accuse nothing that is well."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from shared_tests.support import planted
from tf2_impl.clustering_loss import clustering_loss
from tf2_impl.gradient_flow import blocked_layers, gradient_flow
from tf2_impl.neural_grammar import NeuralGrammar
from tf2_impl.sanity_checks import (
    check_finite,
    check_gradients_reach,
    check_initial_loss,
    check_loss_moves,
    check_overfits,
    check_spread,
)
from tf2_impl.smorms3 import SMORMS3
from tf2_impl.top_k_gating import MixtureOfExperts
from tf2_impl.triplet_loss import triplet_loss
from tf2_impl.triplet_mining import batch_hard_triplets

Loss = Callable[..., tf.Tensor]
X, LABELS = tf.constant(planted.PIXELS, tf.float32), tf.constant(planted.CLASSES)
ROWS, GROUPS = tf.constant(planted.ROWS, tf.float32), tf.constant(planted.GROUPS)
HARD_ROWS = tf.constant(planted.HARD_ROWS, tf.float32)


def net(*hidden: keras.Layer, n: int = 64, width: int = 13, outputs: int = 10) -> keras.Sequential:
    """A classifier with these layers after the first."""
    keras.utils.set_random_seed(3)
    dense = keras.layers.Dense
    return keras.Sequential([keras.Input((n,)), dense(width), *hidden, dense(outputs)])


def tanh() -> keras.Layer:
    return keras.layers.Activation("tanh")


def first(model: keras.Sequential) -> list[np.ndarray]:
    return model.layers[0].get_weights()


def mean_cross_entropy(labels: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits))


def cross_entropy(model: Any, x: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
    return mean_cross_entropy(labels, model(x, training=True))


def gradients_of(model: Any, loss: Loss, batch: Any) -> tuple[tf.Tensor, list]:
    with tf.GradientTape() as tape:
        value = loss(model, *batch)
    return value, tape.gradient(value, model.trainable_variables)


def verdicts(model: Any, loss: Loss, batch: Any, **options: Any) -> dict[str, Any]:
    found: dict[str, Any] = {
        "gradients": check_gradients_reach(model, loss, batch),
        "finite": check_finite(model, loss, batch),
        "overfits": check_overfits(model, loss, batch, **options),
    }
    _, gradients = gradients_of(model, loss, batch)
    flow = gradient_flow(gradients, model.trainable_variables)
    found["flow"] = not blocked_layers([flow], steps=1)
    return found


def losses(model: Any, loss: Loss, batch: Any, optimizer: keras.optimizers.Optimizer) -> list:
    optimizer.build(model.trainable_variables)

    @tf.function
    def step() -> tf.Tensor:
        value, gradients = gradients_of(model, loss, batch)
        optimizer.apply(gradients, model.trainable_variables)
        return value

    return [step() for _ in range(60)]


def hardest(model: Any, x: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
    """The loss of the hardest triplets of a batch."""
    embeddings = model(x)
    anchor, positive, negative = (
        tf.gather(embeddings, rows)
        for rows in batch_hard_triplets(embeddings, labels, distance="euclidean")
    )
    return triplet_loss(anchor, positive, negative, margin=planted.MARGIN, distance="euclidean")


def collapsed() -> keras.Sequential:
    """Of what it embeds, nearly the bias alone is left."""
    model = net(keras.layers.ReLU(), n=5, width=7, outputs=3)
    kernel, _ = model.layers[-1].get_weights()
    model.layers[-1].set_weights([1e-5 * kernel, np.array([0.3, -0.5, 0.2])])
    return model


def dead_relu() -> Any:
    model = net(keras.layers.ReLU())
    model.layers[0].set_weights([first(model)[0], first(model)[1] - 100])
    return {"gradients": check_gradients_reach(model, cross_entropy, (X, LABELS))}


def saturated_tanh() -> Any:
    model = net(tanh())
    model.layers[0].set_weights([first(model)[0], first(model)[1] + 1000])
    return {"gradients": check_gradients_reach(model, cross_entropy, (X, LABELS))}


def detached_branch() -> Any:
    def loss(model: Any, x: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        body, activation, head = model.layers
        return mean_cross_entropy(labels, head(activation(tf.stop_gradient(body(x)))))

    return {"gradients": check_gradients_reach(net(tanh()), loss, (X, LABELS))}


def outputs_that_a_mask_hides() -> Any:
    def loss(model: Any, x: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        return mean_cross_entropy(labels, model(x) * tf.zeros_like(x[:, :1]))

    return {"gradients": check_gradients_reach(net(tanh()), loss, (X, LABELS))}


def frozen_parameters() -> Any:
    model = net(tanh())
    model.trainable = False
    return {"gradients": check_gradients_reach(model, cross_entropy, (X, LABELS))}


def nan_in_the_batch() -> Any:
    x = tf.where(tf.reduce_max(X) == X, math.nan, X)
    return {"finite": check_finite(net(tanh()), cross_entropy, (x, LABELS))}


def too_large_weights() -> Any:
    model = net(tanh())
    kernel, bias = model.layers[-1].get_weights()
    model.layers[-1].set_weights([30 * kernel, bias])
    loss = cross_entropy(model, X, LABELS)
    return {"initial loss": check_initial_loss(loss, planted.CLASSES_ASKED)}


def one_input_two_labels() -> Any:
    batch = (tf.tile(X[:1], (4, 1)), LABELS[:4])
    return {"overfits": check_overfits(net(tanh()), cross_entropy, batch, steps=100)}


def softmax_twice() -> Any:
    def loss(model: Any, x: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        return mean_cross_entropy(labels, tf.nn.softmax(model(x)))

    return {"overfits": check_overfits(net(tanh()), loss, (X, LABELS), steps=200)}


def learning_rate_of_zero() -> Any:
    found = losses(net(tanh()), cross_entropy, (X, LABELS), keras.optimizers.Adam(0.0))
    return {"loss moves": check_loss_moves(found)}


def collapse_to_a_point() -> Any:
    return {"spread": check_spread(collapsed()(ROWS), GROUPS)}


def hardest_triplets_at_their_margin() -> Any:
    found = losses(collapsed(), hardest, (HARD_ROWS, GROUPS), keras.optimizers.SGD(0.001))
    return {"loss moves": check_loss_moves(found, planted.MARGIN)}


def neural_grammar() -> Any:
    model = NeuralGrammar(5, 7, seed=1)
    batch = (tf.constant(planted.VECTORS, tf.float32), tf.constant(planted.BRACKETS))
    return verdicts(model, lambda model, *batch: model(*batch).loss, batch)


def experts(k: int) -> Any:
    model = MixtureOfExperts(5, 3, 3, k, seed=4)
    return verdicts(model, cross_entropy, (ROWS, GROUPS), lr=0.03)


def large_sparse_table() -> Any:
    keras.utils.set_random_seed(3)
    layers = [
        keras.Input((3,), dtype="int64"),
        keras.layers.Embedding(planted.VOCABULARY, 5),
        keras.layers.GlobalAveragePooling1D(),
        keras.layers.Dense(2),
    ]
    batch = (tf.constant(planted.IDS), tf.constant(planted.ANSWERS))
    return verdicts(keras.Sequential(layers), cross_entropy, batch, lr=0.1)


def clustering() -> Any:
    def loss(model: Any, x: tf.Tensor) -> tf.Tensor:
        return clustering_loss(tf.nn.softmax(model(x)))

    model = net(tanh(), n=5, width=7, outputs=3)
    return verdicts(model, loss, (ROWS,), lower_bound=-math.log(3), lr=0.1)


def smoothed_labels() -> Any:
    classes = planted.CLASSES_ASKED

    def loss(model: Any, x: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        target = (1 - planted.SMOOTHING) * tf.one_hot(labels, classes)
        target += planted.SMOOTHING / classes
        return tf.reduce_mean(tf.nn.softmax_cross_entropy_with_logits(target, model(x)))

    bound = planted.entropy_of_smoothed(classes)
    return verdicts(net(tanh()), loss, (X, LABELS), lower_bound=bound)


def deep_net() -> Any:
    hidden = [layer for _ in range(5) for layer in (tanh(), keras.layers.Dense(13))]

    def loss(model: Any, x: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        return 1e-6 * cross_entropy(model, x, labels)

    return verdicts(net(*hidden, tanh()), loss, (X, LABELS))


def batch_normalization() -> Any:
    model = net(keras.layers.BatchNormalization(), keras.layers.ReLU())
    return verdicts(model, cross_entropy, (X, LABELS))


SITUATIONS = {
    "dead relu": dead_relu,
    "saturated tanh": saturated_tanh,
    "detached branch": detached_branch,
    "outputs that a mask hides": outputs_that_a_mask_hides,
    "frozen parameters": frozen_parameters,
    "NaN in the batch": nan_in_the_batch,
    "too large weights": too_large_weights,
    "one input, two labels": one_input_two_labels,
    "softmax twice": softmax_twice,
    "learning rate of zero": learning_rate_of_zero,
    "collapse to a point": collapse_to_a_point,
    "hardest triplets at their margin": hardest_triplets_at_their_margin,
    "neural grammar": neural_grammar,
    "one expert for each row": lambda: experts(1),
    "two experts for each row": lambda: experts(2),
    "large sparse table": large_sparse_table,
    "clustering loss": clustering,
    "smoothed labels": smoothed_labels,
    "deep net, small gradients": deep_net,
    "bias before batch normalization": batch_normalization,
}


def test_all_are_planted():
    assert list(SITUATIONS) == [*planted.BAD, *planted.GOOD]


@pytest.mark.parametrize("name", SITUATIONS)
def test_a_situation_is_judged_rightly(name):
    planted.assert_judged(name, SITUATIONS[name]())


def test_triplets_that_learn_are_not_accused():
    """The same loss from a start that is not collapsed: it moves, and the embeddings stay apart."""
    rows = tf.constant(planted.MIXED_ROWS, tf.float32)
    model = net(tanh(), n=5, width=17, outputs=3)
    start = model(rows)
    assert check_loss_moves(losses(model, hardest, (rows, GROUPS), SMORMS3(0.01)), planted.MARGIN)
    assert check_spread(model(rows), GROUPS, start=start)
