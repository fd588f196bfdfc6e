"""A dense layer of 2048 inputs, PyTorch to Flax, and right: its sums are rounded in another order.

Its author saw 10 numbers that were not equal, in a layer that could not be simpler, and looked for
a mistake. There is none in it: in float32 each framework rounds, and the question is how much of
what is seen is rounding.

Source: https://github.com/google/flax/issues/963
"""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import torch
from flax import linen
from torch import nn

FRAMEWORK = "jax"
WIDTH = 2048


def original() -> nn.Module:
    torch.manual_seed(0)
    return nn.Linear(WIDTH, 10)


def port(dense: nn.Module):
    weight, bias = (jnp.asarray(one.detach().numpy()) for one in (dense.weight, dense.bias))
    return linen.Dense(10), {"params": {"kernel": weight.T, "bias": bias}}


def inputs(generator: np.random.Generator) -> dict[str, np.ndarray]:
    return {"x": generator.normal(size=(3, WIDTH))}
