"""Activations that PyTorch does not have as layers, or has with other constants."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pytorch_impl.support.checks import check_count, check_number
from pytorch_impl.top_k_gating import top_k_gating


class HardSigmoid(nn.Module):
    """min(max(x + 3, 0), 6) / 6. PyTorch's own has 1/6 in float32 in its gradient, off by 5e-9."""

    def forward(self, x: Tensor) -> Tensor:
        """x: any shape. Returns the same."""
        return F.relu6(x + 3) / 6


class StochasticDepth(nn.Module):
    """Zeros in the place of a share `rate` of the rows when training, the others scaled up.

    Otherwise x itself. Source: Huang et al. 2016, who drop whole residual branches.
    """

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = check_number("rate", rate, least=0)
        if not self.rate < 1:
            raise ValueError(f"rate: expected a number below 1, got {rate}")

    def forward(self, x: Tensor) -> Tensor:
        """x: (batch, ...). Returns the same shape."""
        if not self.training or self.rate == 0:
            return x
        kept = torch.rand(len(x), *[1] * (x.ndim - 1), device=x.device) >= self.rate
        return torch.where(kept, x / (1 - self.rate), torch.zeros_like(x))

    def extra_repr(self) -> str:
        return f"rate={self.rate}"


class TopKGating(nn.Module):
    """Softmax over the k largest entries of the last axis, zeros elsewhere."""

    def __init__(self, k: int) -> None:
        super().__init__()
        k = check_count("k", k)
        self.k = k

    def forward(self, x: Tensor) -> Tensor:
        """x: (..., n), n at least k. Returns the same shape."""
        return top_k_gating(x, self.k).to(x.dtype)

    def extra_repr(self) -> str:
        return f"k={self.k}"


class ScaleShift(nn.Module):
    """x · scale + shift, by two numbers."""

    def __init__(self, scale: float = 1.0, shift: float = 0.0) -> None:
        super().__init__()
        self.scale = check_number("scale", scale)
        self.shift = check_number("shift", shift)

    def forward(self, x: Tensor) -> Tensor:
        """x: of any shape, which is returned."""
        return x * self.scale + self.shift

    def extra_repr(self) -> str:
        return f"scale={self.scale}, shift={self.shift}"
