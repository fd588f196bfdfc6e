"""What moves axes, or keeps a part of one, and leaves the entries as they are."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor, nn

from pytorch_impl.support.checks import check_count, check_order, check_row_shape


class ChannelsFirst(nn.Module):
    """Moves the last axis to place 1: (batch, *space, channels) to (batch, channels, *space)."""

    def forward(self, x: Tensor) -> Tensor:
        """x: at least two axes."""
        return x.movedim(-1, 1)


class ChannelsLast(nn.Module):
    """Moves axis 1 to the end: (batch, channels, *space) to (batch, *space, channels)."""

    def forward(self, x: Tensor) -> Tensor:
        """x: at least two axes."""
        return x.movedim(1, -1)


class Reshape(nn.Module):
    """The entries of each row, in their order, on other axes: (batch, ...) to (batch, *shape).

    shape: one of its sizes may be −1, for what is left. `nn.Unflatten` splits a single axis.
    """

    def __init__(self, shape: Sequence[int]) -> None:
        super().__init__()
        self.shape = check_row_shape("shape", shape)

    def forward(self, x: Tensor) -> Tensor:
        """x: (batch, ...). Returns (batch, *shape)."""
        total, known = math.prod(x.shape[1:]), math.prod(n for n in self.shape if n != -1)
        if total % known if -1 in self.shape else total != known:
            raise ValueError(f"x: expected rows of shape {self.shape}, got shape {tuple(x.shape)}")
        return x.reshape(len(x), *(total // known if n == -1 else n for n in self.shape))

    def extra_repr(self) -> str:
        return f"{self.shape}"


class Permute(nn.Module):
    """The axes behind the batch in another order: order[i] is the one that comes to place i + 1."""

    def __init__(self, order: Sequence[int]) -> None:
        super().__init__()
        self.order = check_order("order", order)

    def forward(self, x: Tensor) -> Tensor:
        """x: as many axes behind the batch as there are in the order."""
        if x.ndim != 1 + len(self.order):
            raise ValueError(f"x: expected {1 + len(self.order)} axes, got shape {tuple(x.shape)}")
        return x.permute(0, *self.order)

    def extra_repr(self) -> str:
        return f"{self.order}"


class Slice(nn.Module):
    """What stands from `start` up to, but not including, `stop` along the last axis, or axis 1."""

    def __init__(self, start: int, stop: int, axis: int = -1) -> None:
        super().__init__()
        self.start = check_count("start", start, least=0)
        self.stop = check_count("stop", stop, least=self.start + 1)
        self.axis = check_count("axis", axis, least=-1, most=1)
        if self.axis == 0:
            raise ValueError("axis: expected -1 or 1, got 0")

    def forward(self, x: Tensor) -> Tensor:
        """x: at least `stop` places along the axis."""
        if x.shape[self.axis] < self.stop:
            wanted = f"at least {self.stop} places along axis {self.axis}"
            raise ValueError(f"x: expected {wanted}, got shape {tuple(x.shape)}")
        return x.narrow(self.axis, self.start, self.stop - self.start)

    def extra_repr(self) -> str:
        return f"{self.start}, {self.stop}, axis={self.axis}"
