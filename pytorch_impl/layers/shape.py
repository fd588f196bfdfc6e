"""Where the channels stand."""

from __future__ import annotations
import math
from collections.abc import Sequence
from typing import Any
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from pytorch_impl.support.checks import (
    check_choice,
    check_count,
    check_flag,
    check_floating,
    check_number,
    check_width,
)
from pytorch_impl.distances import l2_normalize
from pytorch_impl.support.precision import check_layer_dtype
from pytorch_impl.layers.recurrent import differentiable_kernels, plain_gru
from pytorch_impl.top_k_gating import top_k_gating
from pytorch_impl.support.transforms import transformed


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
