"""Where the channels stand."""

from __future__ import annotations

from torch import Tensor, nn


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
