"""Pools over all spatial axes, and which of PyTorch's own are pools."""

from __future__ import annotations

from torch import Tensor, nn

from pytorch_impl.support.checks import (
    check_flag,
    check_floating,
)

MAX_POOLS = (nn.MaxPool1d, nn.MaxPool2d)


MAX_UNPOOLS = (nn.MaxUnpool1d, nn.MaxUnpool2d)


AVERAGE_POOLS = (nn.AvgPool1d, nn.AvgPool2d)


class GlobalAveragePool(nn.Module):
    """The mean over all spatial axes."""

    def __init__(self, *, keepdims: bool = False) -> None:
        super().__init__()
        self.keepdims = check_flag("keepdims", keepdims)

    def forward(self, x: Tensor) -> Tensor:
        """x: (batch, channels, *space). Returns (batch, channels), with 1s under keepdims."""
        return x.mean(_spatial_axes(x), keepdim=self.keepdims)

    def extra_repr(self) -> str:
        return f"keepdims={self.keepdims}"


class GlobalMaxPool(nn.Module):
    """The largest entry over all spatial axes; of equal ones the first gets the gradient."""

    def __init__(self, *, keepdims: bool = False) -> None:
        super().__init__()
        self.keepdims = check_flag("keepdims", keepdims)

    def forward(self, x: Tensor) -> Tensor:
        """x: (batch, channels, *space). Returns (batch, channels), with 1s under keepdims."""
        axes = _spatial_axes(x)
        y = x.flatten(2).max(2).values  # amax would share the gradient out among equals
        return y[(..., *[None] * len(axes))] if self.keepdims else y

    def extra_repr(self) -> str:
        return f"keepdims={self.keepdims}"


def _spatial_axes(x: Tensor) -> tuple[int, ...]:
    check_floating("x", x)
    if x.ndim < 3:
        raise ValueError(f"x: expected (batch, channels, *space), got shape {tuple(x.shape)}")
    return tuple(range(2, x.ndim))
