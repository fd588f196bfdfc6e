"""Batch and layer normalization, the scale and shift of each channel, and vectors of unit norm."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pytorch_impl.distances import l2_normalize
from pytorch_impl.support.checks import check_count, check_flag, check_number
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


class Affine(nn.Module):
    """x · scale + shift, for each channel, axis 1, of data of any rank.

    fixed: whether scale and shift are buffers, which training leaves alone, as those that
    standardize pixels.
    """

    scale: Tensor
    shift: Tensor | None

    def __init__(self, channels: int, *, bias: bool = True, fixed: bool = False) -> None:
        super().__init__()
        channels = check_count("channels", channels)
        self.fixed = check_flag("fixed", fixed)
        self._add("scale", torch.ones(channels))
        self._add("shift", torch.zeros(channels) if check_flag("bias", bias) else None)

    def _add(self, name: str, value: Tensor | None) -> None:
        if self.fixed:
            self.register_buffer(name, value)
        else:
            self.register_parameter(name, None if value is None else nn.Parameter(value))

    def forward(self, x: Tensor) -> Tensor:
        """x: (batch, channels, ...). Returns the same shape."""
        if x.ndim < 2 or x.shape[1] != len(self.scale):
            wanted = f"(batch, {len(self.scale)}, ...)"
            raise ValueError(f"x: expected {wanted}, got shape {tuple(x.shape)}")
        shape = (-1, *[1] * (x.ndim - 2))
        y = x * self.scale.view(shape)
        return y if self.shift is None else y + self.shift.view(shape)

    def extra_repr(self) -> str:
        return f"{len(self.scale)}, bias={self.shift is not None}, fixed={self.fixed}"


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
