"""The training in plain Theano, which has a default in batch normalization alone.

It has neither initializers nor optimizers: both are written here, as they are pinned.
"""

from __future__ import annotations

import theano_impl  # noqa: F401  (prepares what the first import of theano needs)

# isort: split
from functools import cache

import numpy as np
import theano
import theano.tensor as T
from theano.tensor.nnet.bn import batch_normalization_test, batch_normalization_train
from theano.tensor.sharedvar import TensorSharedVariable
from theano.tensor.var import TensorVariable

from shared_tests.defaults import (
    BATCH,
    DECAY,
    HIDDEN,
    MOMENTUM_RATES,
    OTHERS,
    SMALL,
    STEPS,
    WIDTH,
    Run,
    Variant,
    start,
)

# C would take a minute to compile, and rewriting takes longer than it saves in a hundred steps.
PYTHON = theano.Mode("py", "merge")

Updates = list[tuple[TensorSharedVariable, TensorVariable]]


class Network:
    """The weights, and the loss of a batch while training and in evaluation."""

    def __init__(self, variant: Variant) -> None:
        dtype = theano.config.floatX if variant.has("default-dtypes") else "float64"
        self.epsilon = variant.pin("batch-norm-epsilon", epsilon=1e-5)
        self.share = variant.pin("batch-norm-running", running_average_factor=0.1)
        self.weights = {name: shared(array, dtype) for name, array in start().items()}
        self.layer_scale, self.layer_shift = (
            shared(array, dtype) for array in (np.ones(WIDTH), np.zeros(WIDTH))
        )
        # Batch normalization takes one row for the whole batch.
        ones, zeros = np.ones((1, HIDDEN)), np.zeros((1, HIDDEN))
        self.scale, self.mean, self.variance, self.shift = (
            shared(array, dtype) for array in (ones, zeros, ones, zeros)
        )
        self.params = [
            *self.weights.values(),
            self.layer_scale,
            self.layer_shift,
            self.scale,
            self.shift,
        ]

    def hidden(self, ids: np.ndarray) -> TensorVariable:
        x = self.weights["table"][ids].mean(1)
        x = x - x.mean(1, keepdims=True)
        x = x / T.sqrt((x * x).mean(1, keepdims=True) + np.asarray(1e-5, x.dtype))
        x = x * self.layer_scale + self.layer_shift
        return T.tanh(T.dot(x, self.weights["hidden.weight"]) + self.weights["hidden.bias"])

    def loss(self, x: TensorVariable, labels: np.ndarray) -> TensorVariable:
        logits = T.dot(x, self.weights["output.weight"]) + self.weights["output.bias"]
        shifted = logits - logits.max(1, keepdims=True)
        logs = shifted - T.log(T.exp(shifted).sum(1, keepdims=True))
        return -logs[np.arange(len(labels)), labels].mean()

    def training(self) -> tuple[TensorVariable, Updates]:
        """The loss of the batch, and how the running statistics move."""
        ids, labels = BATCH
        x, _, _, mean, variance = batch_normalization_train(
            self.hidden(ids),
            self.scale,
            self.shift,
            running_mean=self.mean,
            running_var=self.variance,
            **self.epsilon,
            **self.share,
        )
        return self.loss(x, labels), [(self.mean, mean), (self.variance, variance)]

    def evaluation(self) -> TensorVariable:
        ids, labels = OTHERS
        statistics = (self.scale, self.shift, self.mean, self.variance)
        x = batch_normalization_test(self.hidden(ids), *statistics, **self.epsilon)
        return self.loss(x, labels)


def shared(array: np.ndarray, dtype: str) -> TensorSharedVariable:
    return theano.shared(array.astype(dtype), broadcastable=[size == 1 for size in array.shape])


def kept(w: TensorSharedVariable) -> TensorSharedVariable:
    """What a rule remembers of a weight; from 0."""
    return shared(np.zeros_like(w.get_value()), w.dtype)


def sgd(w: TensorSharedVariable, g: TensorVariable, step: TensorVariable) -> Updates:
    return [(w, w - 0.1 * g)]


def momentum(w: TensorSharedVariable, g: TensorVariable, step: TensorVariable) -> Updates:
    velocity = kept(w)
    moved = 0.9 * velocity + g
    return [(velocity, moved), (w, w - T.constant(MOMENTUM_RATES)[step - 1] * moved)]


def adam(
    w: TensorSharedVariable, g: TensorVariable, step: TensorVariable, *, decay: float = 0.0
) -> Updates:
    mean, square = kept(w), kept(w)
    new_mean = 0.9 * mean + 0.1 * g
    new_square = 0.999 * square + 0.001 * g**2
    root = T.sqrt(new_square / (1 - 0.999**step)) + SMALL
    moved = w - 0.001 * decay * w - 0.001 * new_mean / (1 - 0.9**step) / root
    return [(mean, new_mean), (square, new_square), (w, moved)]


def decayed_adam(w: TensorSharedVariable, g: TensorVariable, step: TensorVariable) -> Updates:
    return adam(w, g, step, decay=DECAY)


def rmsprop(w: TensorSharedVariable, g: TensorVariable, step: TensorVariable) -> Updates:
    square = kept(w)
    new_square = 0.99 * square + 0.01 * g**2
    return [(square, new_square), (w, w - 0.01 * g / (T.sqrt(new_square) + 1e-8))]


def adagrad(w: TensorSharedVariable, g: TensorVariable, step: TensorVariable) -> Updates:
    total = kept(w)
    new_total = total + g**2
    return [(total, new_total), (w, w - 0.01 * g / (T.sqrt(new_total) + 1e-10))]


RULES = {
    "sgd": sgd,
    "momentum": momentum,
    "adam": adam,
    "rmsprop": rmsprop,
    "adagrad": adagrad,
    "decay": decayed_adam,
}


@cache
def run(variant: str) -> Run:
    """`losses` and `evaluation`, both (steps,)."""
    chosen = Variant(variant)
    network = Network(chosen)
    loss, updates = network.training()
    step = theano.shared(1)
    updates.append((step, step + 1))
    for w, g in zip(network.params, T.grad(loss, network.params), strict=True):
        updates += RULES[chosen.optimizer](w, g, step)
    train = theano.function([], loss, updates=updates, mode=PYTHON)
    evaluate = theano.function([], network.evaluation(), mode=PYTHON)
    found = np.array([(train(), evaluate()) for _ in range(STEPS)])
    return {"losses": found[:, 0], "evaluation": found[:, 1]}
