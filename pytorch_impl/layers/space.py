"""What changes the size of space, where PyTorch's own modules do it otherwise."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pytorch_impl.support.checks import check_sampling, check_space_sizes

LINEAR = ("linear", "bilinear", "trilinear")  # over 1, 2 and 3 axes


class Upsample(nn.Module):
    """Space becomes `scale` times as large along each of 1 to 3 axes.

    mode: "nearest" repeats each entry, "linear" is the mean of two neighbors along each axis,
    weighted by their distances from ((i + 1/2) · n / m) − 1/2 for place i of m, or with `corners`
    from i · (n − 1) / (m − 1). `nn.Upsample` rounds the places of "nearest" to float32: from a
    scale of 41 on it may take the entry before.
    """

    def __init__(self, scale: Sequence[int], mode: str = "nearest", corners: bool = False) -> None:
        super().__init__()
        self.scale = check_space_sizes("scale", scale)
        self.mode, self.corners = check_sampling(mode, corners)

    def forward(self, x: Tensor) -> Tensor:
        """x: (batch, channels, *space). Returns (batch, channels, *scaled)."""
        if x.ndim != 2 + len(self.scale):
            raise ValueError(f"x: expected {2 + len(self.scale)} axes, got shape {tuple(x.shape)}")
        sizes = [n * times for n, times in zip(x.shape[2:], self.scale, strict=True)]
        return resized(x, sizes, self.mode, self.corners)

    def extra_repr(self) -> str:
        return f"{self.scale}, mode={self.mode!r}, corners={self.corners}"


class Resize(nn.Module):
    """Space becomes as large as `size` says, along each of 1 to 3 axes.

    mode: "nearest" takes the entry at floor(i · n / m) for place i of m, "linear" as `Upsample`.
    """

    def __init__(self, size: Sequence[int], mode: str = "nearest", corners: bool = False) -> None:
        super().__init__()
        self.size = check_space_sizes("size", size)
        self.mode, self.corners = check_sampling(mode, corners)

    def forward(self, x: Tensor) -> Tensor:
        """x: (batch, channels, *space). Returns (batch, channels, *size)."""
        if x.ndim != 2 + len(self.size):
            raise ValueError(f"x: expected {2 + len(self.size)} axes, got shape {tuple(x.shape)}")
        return resized(x, self.size, self.mode, self.corners)

    def extra_repr(self) -> str:
        return f"{self.size}, mode={self.mode!r}, corners={self.corners}"


def resized(x: Tensor, sizes: Sequence[int], mode: str, corners: bool) -> Tensor:
    """x, (batch, channels, *space), with the given sizes of space."""
    if mode == "linear":
        return F.interpolate(x, list(sizes), mode=LINEAR[len(sizes) - 1], align_corners=corners)
    for axis, m in enumerate(sizes, start=2):
        i = torch.arange(m, device=x.device)
        x = x.index_select(axis, i * x.shape[axis] // m)
    return x
