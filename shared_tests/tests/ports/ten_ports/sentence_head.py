"""A layer norm and a linear head, PyTorch to Flax, with a trap: the argument of the layer norm.

The first argument of `torch.nn.LayerNorm` is the size of a row, that of `flax.linen.LayerNorm` is
epsilon: the port divides by the root of the variance plus 12.

Source: https://github.com/google/flax/issues/2195
"""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import torch
from flax import linen
from torch import nn

FRAMEWORK = "jax"
WIDTH = 12


class Head(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(WIDTH)
        self.linear = nn.Linear(WIDTH, 5)

    def forward(self, x):
        return self.linear(self.norm(x))


class FlaxHead(linen.Module):
    @linen.compact
    def __call__(self, x):
        x = linen.LayerNorm(WIDTH, name="norm")(x)
        return linen.Dense(5, name="linear")(x)


def original() -> nn.Module:
    torch.manual_seed(0)
    return Head()


def port(head: nn.Module):
    state = {name: jnp.asarray(value.detach().numpy()) for name, value in head.state_dict().items()}
    params = {
        "norm": {"scale": state["norm.weight"], "bias": state["norm.bias"]},
        "linear": {"kernel": state["linear.weight"].T, "bias": state["linear.bias"]},
    }
    return FlaxHead(), {"params": params}


def inputs(generator: np.random.Generator) -> dict[str, np.ndarray]:
    return {"x": generator.normal(size=(7, WIDTH))}
