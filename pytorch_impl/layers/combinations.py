"""What makes one tensor of several: sums, products and extremes, entry by entry, and joined ones.

Entry by entry, an axis of size 1 is repeated, as in a gate (batch, channels, 1, 1) of
(batch, channels, height, width).
"""

from __future__ import annotations

import functools
import operator

import torch
from torch import Tensor, nn

from pytorch_impl.support.checks import check_count


class Add(nn.Module):
    """The sum of two or more."""

    def forward(self, *values: Tensor) -> Tensor:
        """values: of one dtype and as many axes, sizes equal or 1."""
        return functools.reduce(operator.add, values)


class Multiply(nn.Module):
    """The product of two or more."""

    def forward(self, *values: Tensor) -> Tensor:
        """values: of one dtype and as many axes, sizes equal or 1."""
        return functools.reduce(operator.mul, values)


class Maximum(nn.Module):
    """The largest of two or more; NaN where one is NaN."""

    def forward(self, *values: Tensor) -> Tensor:
        """values: of one dtype and as many axes, sizes equal or 1."""
        return functools.reduce(_larger, values)


class Minimum(nn.Module):
    """The smallest of two or more; NaN where one is NaN."""

    def forward(self, *values: Tensor) -> Tensor:
        """values: of one dtype and as many axes, sizes equal or 1."""
        return -functools.reduce(_larger, [-one for one in values])


class Average(nn.Module):
    """The mean of two or more."""

    def forward(self, *values: Tensor) -> Tensor:
        """values: of one dtype and as many axes, sizes equal or 1."""
        return functools.reduce(operator.add, values) / len(values)


class Subtract(nn.Module):
    """The first less the second."""

    def forward(self, x: Tensor, subtracted: Tensor) -> Tensor:
        """x, subtracted: of one dtype and as many axes, sizes equal or 1."""
        return x - subtracted


class Concatenate(nn.Module):
    """Two or more, one behind the other along the last axis, or along the channels, axis 1."""

    def __init__(self, axis: int = -1) -> None:
        super().__init__()
        self.axis = check_count("axis", axis, least=-1, most=1)
        if self.axis == 0:
            raise ValueError("axis: expected -1 or 1, got 0")

    def forward(self, *values: Tensor) -> Tensor:
        """values: of one dtype and as many axes, sizes equal but on the axis."""
        return torch.cat(values, self.axis)

    def extra_repr(self) -> str:
        return f"axis={self.axis}"


def _larger(x: Tensor, y: Tensor) -> Tensor:
    """max(x, y), whose gradient at a tie goes to x alone: PyTorch's own halves it."""
    return torch.where((x >= y) | x.isnan(), x, y)
