"""Attention of two heads, PyTorch to JAX, and right: a function of the arrays and the weights."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import torch
from torch import nn

FRAMEWORK = "jax"
HEADS, SIZE = 2, 5
WIDTH = HEADS * SIZE


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.qkv = nn.Linear(WIDTH, 3 * WIDTH)
        self.out = nn.Linear(WIDTH, WIDTH)

    def forward(self, x):
        batch, time, _ = x.shape
        qkv = self.qkv(x).view(batch, time, 3, HEADS, SIZE).permute(2, 0, 3, 1, 4)
        q, k, v = qkv  # (batch, heads, time, size)
        shares = torch.softmax(q @ k.transpose(-1, -2) / SIZE**0.5, dim=-1)
        return self.out((shares @ v).transpose(1, 2).reshape(batch, time, WIDTH))


def original() -> nn.Module:
    torch.manual_seed(0)
    return Attention()


def attend(weights, x):
    batch, time, _ = x.shape
    qkv = x @ weights["qkv.weight"].T + weights["qkv.bias"]
    q, k, v = jnp.moveaxis(qkv.reshape(batch, time, 3, HEADS, SIZE), 2, 0)
    scores = jnp.einsum("bqhs,bkhs->bhqk", q, k) / SIZE**0.5
    read = jnp.einsum("bhqk,bkhs->bqhs", jax.nn.softmax(scores), v)
    return read.reshape(batch, time, WIDTH) @ weights["out.weight"].T + weights["out.bias"]


def port(attention: nn.Module):
    return attend, {name: one.detach().numpy() for name, one in attention.state_dict().items()}


def inputs(generator: np.random.Generator) -> dict[str, np.ndarray]:
    return {"x": generator.normal(size=(3, 7, WIDTH))}
