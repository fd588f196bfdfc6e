"""The feed-forward half of a transformer block, PyTorch to Flax, with a trap: which GELU.

`torch.nn.GELU` computes with the error function, `flax.linen.gelu` with a tanh unless it is told
`approximate=False`: 4.7e-4 apart at the worst input, in every block.

Source: https://github.com/goodfire-ai/spd/issues/624
"""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import torch
from flax import linen
from torch import nn

FRAMEWORK = "jax"
WIDTH, HIDDEN = 7, 17


class FeedForward(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(WIDTH)
        self.up = nn.Linear(WIDTH, HIDDEN)
        self.act = nn.GELU()
        self.down = nn.Linear(HIDDEN, WIDTH)

    def forward(self, x):
        return x + self.down(self.act(self.up(self.norm(x))))


class FlaxFeedForward(linen.Module):
    @linen.compact
    def __call__(self, x):
        y = linen.LayerNorm(epsilon=1e-5, name="norm")(x)
        y = linen.gelu(linen.Dense(HIDDEN, name="up")(y))
        return x + linen.Dense(WIDTH, name="down")(y)


def original() -> nn.Module:
    torch.manual_seed(0)
    return FeedForward()


def port(block: nn.Module):
    state = {
        name: jnp.asarray(value.detach().numpy()) for name, value in block.state_dict().items()
    }
    params = {"norm": {"scale": state["norm.weight"], "bias": state["norm.bias"]}}
    for name in ("up", "down"):
        params[name] = {"kernel": state[f"{name}.weight"].T, "bias": state[f"{name}.bias"]}
    return FlaxFeedForward(), {"params": params}


def inputs(generator: np.random.Generator) -> dict[str, np.ndarray]:
    return {"x": generator.normal(size=(2, 5, WIDTH))}
