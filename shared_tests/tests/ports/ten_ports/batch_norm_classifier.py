"""A classifier with batch normalization, PyTorch to Keras, with a trap: what momentum means.

PyTorch's momentum of 0.1 is the share of the new batch. Keras's is the share of the old average, so
that 0.1 keeps almost nothing of it. Nothing is to be seen until the port is trained and evaluated.

Source: https://github.com/huggingface/transformers/pull/19454
"""

from __future__ import annotations

import copy

import keras
import numpy as np
import torch
from torch import nn

FRAMEWORK = "keras"
FEATURES, HIDDEN, CLASSES = 5, 7, 3


class Classifier(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.hidden = nn.Linear(FEATURES, HIDDEN)
        self.norm = nn.BatchNorm1d(HIDDEN, momentum=0.1)
        self.classes = nn.Linear(HIDDEN, CLASSES)

    def forward(self, x):
        return self.classes(torch.tanh(self.norm(self.hidden(x))))


def start() -> Classifier:
    torch.manual_seed(0)
    return Classifier()


def original():
    classifier = start()

    def trained_and_evaluated(x):
        model = copy.deepcopy(classifier).to(x.dtype).train()
        for step in range(3):
            model(x * (step + 1))
        return model.eval()(x)

    return trained_and_evaluated


def port(original):
    state = {name: value.detach().numpy() for name, value in start().state_dict().items()}

    def trained_and_evaluated(x):
        model = keras_classifier(state)
        for step in range(3):
            model(x * (step + 1), training=True)
        return model(x, training=False)

    return trained_and_evaluated


def keras_classifier(state) -> keras.Model:
    x = keras.Input((FEATURES,))
    hidden = keras.layers.Dense(HIDDEN, name="hidden")(x)
    norm = keras.layers.BatchNormalization(momentum=0.1, epsilon=1e-5, name="norm")(hidden)
    classes = keras.layers.Dense(CLASSES, name="classes")(keras.ops.tanh(norm))
    model = keras.Model(x, classes)
    model.get_layer("hidden").set_weights([state["hidden.weight"].T, state["hidden.bias"]])
    model.get_layer("norm").set_weights(
        [
            state["norm.weight"],
            state["norm.bias"],
            state["norm.running_mean"],
            state["norm.running_var"],
        ]
    )
    model.get_layer("classes").set_weights([state["classes.weight"].T, state["classes.bias"]])
    return model


def inputs(generator: np.random.Generator) -> dict[str, np.ndarray]:
    return {"x": generator.normal(size=(29, FEATURES)) * 2 + 1}
