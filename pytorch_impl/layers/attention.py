"""What reads sequences as a whole: attention, positions, single steps and means over time.

    attention:  softmax(q·kᵀ / √d + m)·v for each head, whose features stand side by side

m is −∞ where a key is padding, or with `causal` where it comes after the query. A query that sees
no key at all gives zeros.

Source: Vaswani et al. 2017.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from numpy_infer.support.plain_checks import LARGEST
from pytorch_impl.support.checks import check_count, check_flag, check_floating, check_rank


class Attention(nn.Module):
    """Attention of queries to keys, whose values are averaged.

    heads: how many equal parts the features have. causal: whether a query sees the keys at its
    own time and before it alone.
    """

    def __init__(self, heads: int, *, causal: bool = False) -> None:
        super().__init__()
        self.heads = check_count("heads", heads)
        self.causal = check_flag("causal", causal)

    def forward(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """query: (batch, times, d), key and value: (batch, keys, d or d'). Returns like query."""
        return attention(query, key, value, None, heads=self.heads, causal=self.causal)

    def extra_repr(self) -> str:
        return f"{self.heads}, causal={self.causal}"


class MaskedAttention(nn.Module):
    """`Attention` that leaves out keys by a mask.

    padding: whether the mask is not 0 where a key is left out; otherwise it is 0 there.
    """

    def __init__(self, heads: int, *, causal: bool = False, padding: bool = False) -> None:
        super().__init__()
        self.heads = check_count("heads", heads)
        self.causal = check_flag("causal", causal)
        self.padding = check_flag("padding", padding)

    def forward(self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor) -> Tensor:
        """As for `Attention`; the mask is (batch, keys), integers or bool."""
        real = _real(mask, key, padding=self.padding)
        return attention(query, key, value, real, heads=self.heads, causal=self.causal)

    def extra_repr(self) -> str:
        return f"{self.heads}, causal={self.causal}, padding={self.padding}"


class PositionEmbedding(nn.Module):
    """x + weight[t] at each time t. weight: (positions, dim)."""

    def __init__(self, positions: int, dim: int) -> None:
        super().__init__()
        positions = check_count("positions", positions)
        dim = check_count("dim", dim)
        self.weight = nn.Parameter(torch.randn(positions, dim))

    def forward(self, x: Tensor) -> Tensor:
        """x: (batch, time, dim), of at most as many times as positions."""
        check_floating("x", x, ndim=3)
        times, positions = x.shape[1], len(self.weight)
        if times > positions:
            shape = tuple(x.shape)
            raise ValueError(f"x: expected at most {positions} times, got shape {shape}")
        return x + self.weight[:times]

    def extra_repr(self) -> str:
        return ", ".join(map(str, self.weight.shape))


class TimeStep(nn.Module):
    """The features at one time, (batch, features). index: of the time, −1 for the last one."""

    def __init__(self, index: int) -> None:
        super().__init__()
        self.index = check_count("index", index, least=-LARGEST)

    def forward(self, x: Tensor) -> Tensor:
        """x: (batch, time, features)."""
        check_floating("x", x, ndim=3)
        return x[:, self.index]

    def extra_repr(self) -> str:
        return str(self.index)


class MaskedMean(nn.Module):
    """The mean over the times that a mask leaves, (batch, features); zeros where it leaves none.

    padding: whether the mask is not 0 where a time is left out; otherwise it is 0 there.
    """

    def __init__(self, *, padding: bool = False) -> None:
        super().__init__()
        self.padding = check_flag("padding", padding)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """x: (batch, time, features); mask: (batch, time), integers or bool."""
        check_floating("x", x, ndim=3)
        real = _real(mask, x, padding=self.padding).to(x.dtype)
        total = (real[:, None] @ x)[:, 0]
        return total / real.sum(1, keepdim=True).clamp(min=1)

    def extra_repr(self) -> str:
        return f"padding={self.padding}"


def attention(
    query: Tensor, key: Tensor, value: Tensor, real: Tensor | None, *, heads: int, causal: bool
) -> Tensor:
    """Attention by one product of all scores and one of all means.

    real: (batch, keys) bool, the keys that count; all when None.
    """
    for name, one in (("query", query), ("key", key), ("value", value)):
        check_floating(name, one, ndim=3)
        if one.shape[2] % heads:
            raise ValueError(f"{name}: expected {heads} equal heads, got {one.shape[2]} features")
    width = query.shape[2] // heads
    q, k, v = (
        one.reshape(len(one), one.shape[1], heads, one.shape[2] // heads).transpose(1, 2)
        for one in (query * (1 / math.sqrt(width)), key, value)
    )
    scores = q @ k.transpose(2, 3)  # (batch, heads, times, keys)
    seen = None if real is None else real[:, None, None]
    if causal:
        before = torch.ones(scores.shape[2:], dtype=torch.bool, device=scores.device).tril()
        seen = before if seen is None else seen & before
    if seen is None:
        shares = scores.softmax(3)
    else:
        # A row of −∞ alone would be NaN: there all scores are equal, and all shares 0.
        shares = scores.masked_fill(~seen, torch.finfo(scores.dtype).min).softmax(3)
        shares = shares.masked_fill(~seen, 0)
    return (shares @ v).transpose(1, 2).flatten(2)


def _real(mask: Tensor, beside: Tensor, *, padding: bool) -> Tensor:
    """Which times a mask leaves, bool."""
    if mask.dtype.is_floating_point:
        raise TypeError(f"mask: expected integers or bool, got {mask.dtype}")
    check_rank("mask", mask, ndim=2)
    if mask.shape != beside.shape[:2]:
        shape = tuple(beside.shape[:2])
        raise ValueError(f"mask: expected shape {shape}, got {tuple(mask.shape)}")
    return mask == 0 if padding else mask != 0
