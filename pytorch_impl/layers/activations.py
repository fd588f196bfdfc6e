"""Activations that PyTorch does not have as layers."""

from __future__ import annotations

from torch import Tensor, nn

from pytorch_impl.support.checks import (
    check_count,
)
from pytorch_impl.top_k_gating import top_k_gating


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
