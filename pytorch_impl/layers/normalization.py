"""Batch and layer normalization, and vectors of unit norm."""

from __future__ import annotations

from torch import Tensor, nn

from pytorch_impl.distances import l2_normalize
from pytorch_impl.support.checks import (
    check_number,
)
from pytorch_impl.support.transforms import transformed


class BatchNorm(nn.BatchNorm1d):
    """Batch normalization over axis 1 of data of any rank: (batch, channels, *space)."""

    def _check_input_dim(self, input: Tensor) -> None:
        if input.ndim < 2:
            raise ValueError(f"x: expected at least two axes, got shape {tuple(input.shape)}")


def layer_norm(norm: nn.LayerNorm, x: Tensor) -> Tensor:
    """norm(x) over the last axis, with right derivatives of derivatives under torch.func too.

    PyTorch's own gives another Hessian by `torch.func.hessian` than by backward through backward
    when x, weight and bias all move; differences of gradients agree with the latter.
    """
    if not transformed(x, norm.weight):
        return norm(x)
    centered = x - x.mean(-1, keepdim=True)
    variance = centered.square().mean(-1, keepdim=True)
    return centered / (variance + norm.eps).sqrt() * norm.weight + norm.bias


class L2Normalize(nn.Module):
    """x / max(‖x‖, epsilon) over the last axis."""

    def __init__(self, *, epsilon: float = 1e-12) -> None:
        super().__init__()
        epsilon = check_number("epsilon", epsilon, above=0)
        self.epsilon = epsilon

    def forward(self, x: Tensor) -> Tensor:
        """x: (..., features). Returns the same shape."""
        return l2_normalize(x, epsilon=self.epsilon).to(x.dtype)

    def extra_repr(self) -> str:
        return f"epsilon={self.epsilon}"
