"""What moves axes and leaves the entries as they are."""

from __future__ import annotations

import math

import numpy as np

from numpy_infer.support.checks import check_floating
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


def _check_channels(x: np.ndarray) -> None:
    check_floating("x", x)
    if x.ndim < 2:
        raise ValueError(f"x: expected a batch and at least one more axis, got shape {x.shape}")
