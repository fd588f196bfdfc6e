"""What moves axes, or keeps a part of one, and leaves the entries as they are."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from numpy_infer.layers.activations import check_axis
from numpy_infer.support.checks import check_count, check_floating, check_order, check_row_shape
from numpy_infer.support.layer import Layer


class Flatten(Layer):
    """(batch, channels, *space) to (batch, channels · space), channels slowest."""

    def forward(self, x: np.ndarray) -> np.ndarray:
        _check_channels(x)
        return x.reshape(len(x), math.prod(x.shape[1:]))


class ChannelsFirst(Layer):
    """(batch, *space, channels) to (batch, channels, *space)."""

    def forward(self, x: np.ndarray) -> np.ndarray:
        _check_channels(x)
        return x.transpose(0, -1, *range(1, x.ndim - 1))


class ChannelsLast(Layer):
    """(batch, channels, *space) to (batch, *space, channels)."""

    def forward(self, x: np.ndarray) -> np.ndarray:
        _check_channels(x)
        return x.transpose(0, *range(2, x.ndim), 1)


class Reshape(Layer):
    """The entries of each row, in their order, on other axes: (batch, ...) to (batch, *shape).

    shape: one of its sizes may be −1, for what is left.
    """

    def __init__(self, previous: Layer, *, shape: Sequence[int]) -> None:
        super().__init__(previous)
        self.shape = check_row_shape("shape", shape)

    def forward(self, x: np.ndarray) -> np.ndarray:
        """x: (batch, ...). Returns (batch, *shape)."""
        _check_channels(x)
        total = math.prod(x.shape[1:])
        known = math.prod(one for one in self.shape if one != -1)
        if total % known if -1 in self.shape else total != known:
            raise ValueError(f"x: expected rows of shape {self.shape}, got shape {x.shape}")
        return x.reshape(len(x), *(total // known if one == -1 else one for one in self.shape))


class Permute(Layer):
    """The axes behind the batch in another order: order[i] is the one that comes to place i + 1."""

    def __init__(self, previous: Layer, *, order: Sequence[int]) -> None:
        super().__init__(previous)
        self.order = check_order("order", order)

    def forward(self, x: np.ndarray) -> np.ndarray:
        """x: as many axes behind the batch as there are in the order."""
        check_floating("x", x, ndim=1 + len(self.order))
        return x.transpose(0, *self.order)


class Slice(Layer):
    """What stands from `start` up to, but not including, `stop` along the last axis, or axis 1."""

    def __init__(self, previous: Layer, *, start: int, stop: int, axis: int = -1) -> None:
        super().__init__(previous)
        self.start = check_count("start", start, least=0)
        self.stop = check_count("stop", stop, least=self.start + 1)
        self.axis = check_axis(axis)

    def forward(self, x: np.ndarray) -> np.ndarray:
        """x: at least `stop` places along the axis."""
        _check_channels(x)
        if x.shape[self.axis] < self.stop:
            wanted = f"at least {self.stop} places along axis {self.axis}"
            raise ValueError(f"x: expected {wanted}, got shape {x.shape}")
        part = slice(self.start, self.stop)
        return x[:, part] if self.axis == 1 else x[..., part]


def _check_channels(x: np.ndarray) -> None:
    check_floating("x", x)
    if x.ndim < 2:
        raise ValueError(f"x: expected a batch and at least one more axis, got shape {x.shape}")
