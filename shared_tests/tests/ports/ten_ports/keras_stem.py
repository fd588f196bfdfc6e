"""The stem of a ResNet, PyTorch to Keras, and right: the padding is a layer of its own."""

from __future__ import annotations

import keras
import numpy as np
import torch
from torch import nn

FRAMEWORK = "keras"
CHANNELS = 5


class Stem(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, CHANNELS, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(CHANNELS)
        self.classes = nn.Linear(CHANNELS, 11)

    def forward(self, x):
        return self.classes(torch.relu(self.bn1(self.conv1(x))).mean((2, 3)))


def original() -> nn.Module:
    torch.manual_seed(0)
    stem = Stem()
    with torch.no_grad():  # as after a training
        stem.bn1.running_mean.normal_()
        stem.bn1.running_var.uniform_(0.5, 2)
        stem.bn1.weight.normal_()
        stem.bn1.bias.normal_()
    return stem.eval()


def port(stem: nn.Module) -> keras.Model:
    state = {name: value.detach().numpy() for name, value in stem.state_dict().items()}
    layers = keras.layers
    x = keras.Input((3, 26, 22))
    y = layers.ZeroPadding2D(3)(layers.Permute((2, 3, 1))(x))
    y = layers.Conv2D(CHANNELS, 7, strides=2, use_bias=False, name="conv1")(y)
    y = layers.ReLU()(layers.BatchNormalization(epsilon=1e-5, name="bn1")(y))
    model = keras.Model(x, layers.Dense(11, name="classes")(layers.GlobalAveragePooling2D()(y)))
    model.get_layer("conv1").set_weights([state["conv1.weight"].transpose(2, 3, 1, 0)])
    model.get_layer("bn1").set_weights(
        [
            state["bn1.weight"],
            state["bn1.bias"],
            state["bn1.running_mean"],
            state["bn1.running_var"],
        ]
    )
    model.get_layer("classes").set_weights([state["classes.weight"].T, state["classes.bias"]])
    return model


def inputs(generator: np.random.Generator) -> dict[str, np.ndarray]:
    return {"x": generator.normal(size=(2, 3, 26, 22))}
