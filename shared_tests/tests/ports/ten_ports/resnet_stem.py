"""The stem of a ResNet, PyTorch to Flax, with a trap: "SAME" is not padding=3 under a stride.

Source: the padding of a strided convolution in https://github.com/google/flax/issues/2993
"""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import torch
from flax import linen
from torch import nn

FRAMEWORK = "jax"
CHANNELS = 5


class Stem(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, CHANNELS, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(CHANNELS)
        self.pool = nn.MaxPool2d(3, stride=2)

    def forward(self, x):
        return self.pool(torch.relu(self.bn1(self.conv1(x))))


class FlaxStem(linen.Module):
    @linen.compact
    def __call__(self, x):
        x = jnp.transpose(x, (0, 2, 3, 1))
        x = linen.Conv(CHANNELS, (7, 7), (2, 2), padding="SAME", use_bias=False, name="conv1")(x)
        x = linen.BatchNorm(use_running_average=True, epsilon=1e-5, name="bn1")(x)
        x = linen.max_pool(linen.relu(x), (3, 3), (2, 2))
        return jnp.transpose(x, (0, 3, 1, 2))


def original() -> nn.Module:
    torch.manual_seed(0)
    stem = Stem()
    with torch.no_grad():  # as after a training
        stem.bn1.running_mean.normal_()
        stem.bn1.running_var.uniform_(0.5, 2)
        stem.bn1.weight.normal_()
        stem.bn1.bias.normal_()
    return stem.eval()


def port(stem: nn.Module):
    state = {name: jnp.asarray(value.detach().numpy()) for name, value in stem.state_dict().items()}
    variables = {
        "params": {
            "conv1": {"kernel": jnp.transpose(state["conv1.weight"], (2, 3, 1, 0))},
            "bn1": {"scale": state["bn1.weight"], "bias": state["bn1.bias"]},
        },
        "batch_stats": {
            "bn1": {"mean": state["bn1.running_mean"], "var": state["bn1.running_var"]}
        },
    }
    return FlaxStem(), variables


def inputs(generator: np.random.Generator) -> dict[str, np.ndarray]:
    return {"x": generator.normal(size=(2, 3, 26, 22))}
