"""Layers that chains need and PyTorch does not have, and those of its own that it says otherwise.

Every one takes one tensor and returns one, so that it can stand in an `nn.Sequential`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pytorch_impl.checks import (
    check_choice,
    check_count,
    check_flag,
    check_floating,
    check_number,
    check_width,
)
from pytorch_impl.distances import l2_normalize
from pytorch_impl.precision import check_layer_dtype
from pytorch_impl.recurrent import differentiable_kernels, plain_gru
from pytorch_impl.top_k_gating import top_k_gating
from pytorch_impl.transforms import transformed

DIRECTIONS = ("forward", "backward", "both")
CONVOLUTIONS = (nn.Conv1d, nn.Conv2d)
TRANSPOSED_CONVOLUTIONS = (nn.ConvTranspose1d, nn.ConvTranspose2d)
MAX_POOLS = (nn.MaxPool1d, nn.MaxPool2d)
MAX_UNPOOLS = (nn.MaxUnpool1d, nn.MaxUnpool2d)
AVERAGE_POOLS = (nn.AvgPool1d, nn.AvgPool2d)
PADDED = (*CONVOLUTIONS, *TRANSPOSED_CONVOLUTIONS, *MAX_POOLS, *MAX_UNPOOLS, *AVERAGE_POOLS)


class Hourglass(nn.Sequential):
    """An `nn.Sequential` in which every max-unpool undoes the last max-pool not yet undone.

    The pools that are to be undone have `return_indices=True`. Their positions and the sizes of
    what they were given are kept for the unpools, so that odd sizes come back exactly.
    """

    def forward(self, x: Tensor) -> Tensor:
        """x: what the first layer takes. ValueError for an unpool without a pool before it."""
        pools: list[tuple[Tensor, torch.Size]] = []
        for module in self:
            layer = module.layer if isinstance(module, Padded) else module
            if isinstance(layer, MAX_POOLS) and layer.return_indices:
                size = x.shape
                x, positions = module(x)
                pools.append((positions, size))
            elif isinstance(layer, MAX_UNPOOLS):
                if not pools:
                    raise ValueError("model: expected a pool to undo, got an unpool without one")
                x = module(x, *pools.pop())
            else:
                x = module(x)
        return x


class Padded(nn.Module):
    """A convolution or pool with padding that its own arguments cannot say.

    layer: one of PyTorch's own, 1-d or 2-d, without padding. padding: (before, after) for each
    spatial axis: zeros that a convolution or an average pool is given (the pool's
    `count_include_pad` says whether they count), −∞ for a max-pool. A transposed convolution's
    full output is cut by it; there a negative "after" extends the output.
    """

    def __init__(self, layer: nn.Module, padding: Sequence[Sequence[int]]) -> None:
        super().__init__()
        if not isinstance(layer, PADDED):
            names = ", ".join(one.__name__ for one in PADDED)
            raise TypeError(f"layer: expected one of {names}, got {type(layer).__name__}")
        own = (layer.padding, getattr(layer, "output_padding", 0))
        if not all(one in (0, (0,), (0, 0)) for one in own):
            raise ValueError(f"layer: expected no padding of its own, got {layer}")
        extends = isinstance(layer, TRANSPOSED_CONVOLUTIONS)
        axes = 1 if type(layer).__name__.endswith("1d") else 2
        good = len(padding) == axes and all(
            before >= 0 and (after >= 0 or extends) for before, after in padding
        )
        if not good:
            raise ValueError(f"padding: expected {axes} pairs of sizes, got {padding}")
        self.layer = layer
        self.padding = tuple((before, after) for before, after in padding)
        # F.pad begins with the last axis.
        self._ends = [end for pair in reversed(self.padding) for end in pair]

    def forward(self, x: Tensor, *undo: Any) -> Tensor:
        """x: (batch, channels, *space). An unpool takes a pool's positions and input size too."""
        layer: Any = self.layer
        cut = [-end for end in self._ends]
        if isinstance(layer, MAX_UNPOOLS):
            positions, size = undo
            grown = [n + sum(pair) for n, pair in zip(size[2:], self.padding, strict=True)]
            return F.pad(layer(x, positions, [*size[:2], *grown]), cut)
        if isinstance(layer, TRANSPOSED_CONVOLUTIONS):
            transpose = F.conv_transpose1d if layer.weight.ndim == 3 else F.conv_transpose2d
            options = {"stride": layer.stride, "groups": layer.groups, "dilation": layer.dilation}
            y = transpose(x, layer.weight, **options)
            y = F.pad(y, cut)
            # Added last, because what the output is extended by has the bias too.
            return y if layer.bias is None else y + layer.bias.view(-1, *[1] * (y.ndim - 2))
        if isinstance(layer, MAX_POOLS):
            return layer(F.pad(x, self._ends, value=-math.inf))
        y = layer(F.pad(x, self._ends))
        if isinstance(layer, AVERAGE_POOLS) and not layer.count_include_pad:
            return y / layer(F.pad(torch.ones_like(x[:1, :1]), self._ends))
        return y

    def extra_repr(self) -> str:
        return f"padding={self.padding}"


class GRU(nn.GRU):
    """One layer of `nn.GRU`, batch first, with one tensor as its output.

    direction: forward, backward, or both joined along the last axis. A backward state stands at
    the time of the input that it has just read; the last one is that at time 0.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        bias: bool = True,
        direction: str = "forward",
        return_sequences: bool = False,
    ) -> None:
        input_size = check_count("input_size", input_size)
        hidden_size = check_count("hidden_size", hidden_size)
        bias = check_flag("bias", bias)
        return_sequences = check_flag("return_sequences", return_sequences)
        check_choice("direction", direction, DIRECTIONS)
        both = direction == "both"
        super().__init__(input_size, hidden_size, bias=bias, batch_first=True, bidirectional=both)
        self.direction = direction
        self.return_sequences = return_sequences

    def forward(self, x: Tensor) -> Tensor:
        """x: (batch, time, input_size). Returns (batch, hidden_size), or twice that for both.

        With `return_sequences` (batch, time, ...). The state before the first input is zero.
        """
        check_floating("x", x, ndim=3)
        check_layer_dtype("x", x, self.weight_ih_l0.dtype)
        check_width("x", x, self.input_size)
        backward = self.direction == "backward"
        x = x.flip(1) if backward else x
        if transformed(x, self.weight_ih_l0):
            states, last = plain_gru(self, x)
        else:
            with differentiable_kernels(self, x):
                states, last = super().forward(x)
        if not self.return_sequences:
            return torch.cat(last.unbind(), dim=-1)
        return states.flip(1) if backward else states

    def extra_repr(self) -> str:
        options = f"direction={self.direction!r}, return_sequences={self.return_sequences}"
        return f"{self.input_size}, {self.hidden_size}, bias={self.bias}, {options}"


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


def _spatial_axes(x: Tensor) -> tuple[int, ...]:
    check_floating("x", x)
    if x.ndim < 3:
        raise ValueError(f"x: expected (batch, channels, *space), got shape {tuple(x.shape)}")
    return tuple(range(2, x.ndim))
