"""Activations that PyTorch does not have as layers."""

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


class TopKGating(nn.Module):
    """Softmax over the k largest entries of the last axis, zeros elsewhere."""

    def __init__(self, k: int) -> None:
        super().__init__()
        k = check_count("k", k)
        self.k = k

    def forward(self, x: Tensor) -> Tensor:
        """x: (..., n), n at least k. Returns the same shape."""
        return top_k_gating(x, self.k).to(x.dtype)

    def extra_repr(self) -> str:
        return f"k={self.k}"
