"""Convolutions and pools with a padding for each end, which PyTorch has as one operation in none.

They tell PyTorch's modes of their calls, as its own operations do: `fourfold.ports.hypotheses` sees
and changes them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import handle_torch_function, has_torch_function_unary

Padding = int | Sequence[int]  # the same at all ends, or as F.pad has it, the last axis first

_CONVOLUTIONS = {3: F.conv1d, 4: F.conv2d, 5: F.conv3d}
_POOLS: dict[tuple[str, int], Callable[..., Tensor]] = {
    ("max", 3): F.max_pool1d,
    ("max", 4): F.max_pool2d,
    ("avg", 3): F.avg_pool1d,
    ("avg", 4): F.avg_pool2d,
}


def padded(x: Tensor, padding: Padding, fill: float = 0.0) -> Tensor:
    """An input (batch, channels, *space) with this much more space."""
    ends = [padding] * 2 * (x.ndim - 2) if isinstance(padding, int) else list(padding)
    return F.pad(x, ends, value=fill) if any(ends) else x


def convolution(rank: int) -> Callable[..., Tensor]:
    """A convolution of inputs with so many axes, (batch, channels, *space)."""

    def convolve(
        input: Tensor,
        weight: Tensor,
        bias: Tensor | None = None,
        stride: Any = 1,
        padding: Padding = 0,
        dilation: Any = 1,
        groups: int = 1,
    ) -> Tensor:
        if has_torch_function_unary(input):
            found: Tensor = handle_torch_function(
                convolve, (input,), input, weight, bias, stride, padding, dilation, groups
            )
            return found
        x = padded(input, padding)
        return _CONVOLUTIONS[rank](x, weight, bias, stride, 0, dilation, groups)

    convolve.__name__ = f"conv{rank - 2}d"
    return convolve


def pool(kind: str, rank: int) -> Callable[..., Tensor]:
    """A maximum or an average ("max", "avg") over windows; the padding does not count."""

    def over_windows(
        input: Tensor, kernel_size: Any, stride: Any = None, padding: Padding = 0
    ) -> Tensor:
        if has_torch_function_unary(input):
            found: Tensor = handle_torch_function(
                over_windows, (input,), input, kernel_size, stride, padding
            )
            return found
        native = _POOLS[kind, rank]
        if kind == "max":
            return native(padded(input, padding, -torch.inf), kernel_size, stride)
        sums = native(padded(input, padding), kernel_size, stride)
        return sums / native(padded(torch.ones_like(input), padding), kernel_size, stride)

    over_windows.__name__ = f"{kind}_pool{rank - 2}d"
    return over_windows


CONVOLUTIONS = {rank: convolution(rank) for rank in (3, 4, 5)}
POOLS = {(kind, rank): pool(kind, rank) for kind, rank in _POOLS}


def ends(
    padding: str | Sequence[tuple[int, int]],
    sizes: Sequence[int],
    windows: Sequence[int],
    strides: Sequence[int],
    dilations: Sequence[int],
) -> list[int]:
    """The padding "same", "valid" or (start, end) of each axis, as F.pad has it."""
    if isinstance(padding, str) and padding.upper() == "VALID":
        return [0] * 2 * len(sizes)
    found: list[int] = []
    for axis, (size, window) in enumerate(zip(sizes, windows, strict=True)):
        if isinstance(padding, str):
            reach = dilations[axis] * (window - 1) + 1
            total = max((-(-size // strides[axis]) - 1) * strides[axis] + reach - size, 0)
            start, end = total // 2, total - total // 2
        else:
            start, end = padding[axis]
        found = [start, end, *found]
    return found


def numbers(value: Any, count: int) -> tuple[int, ...]:
    """One number for each axis."""
    return (int(value),) * count if isinstance(value, int) else tuple(map(int, value))


def convolved(
    x: Tensor, kernel: Tensor, strides: Any, padding: Any, dilations: Any, groups: int = 1
) -> Tensor:
    """A convolution of x, (batch, *space, in), with a kernel (*space, in / groups, out)."""
    space = x.ndim - 2
    strides, dilations = numbers(strides, space), numbers(dilations, space)
    sizes, windows = x.shape[1:-1], kernel.shape[:-2]
    flat = ends(padding, sizes, windows, strides, dilations)
    turned = kernel.permute(-1, -2, *range(space))  # (out, in / groups, *space)
    moved = x.movedim(-1, 1)
    found = CONVOLUTIONS[x.ndim](moved, turned, None, strides, flat, dilations, groups)
    return found.movedim(1, -1)


def pooled(kind: str, x: Tensor, windows: Any, strides: Any, padding: Any) -> Tensor:
    """A maximum or average over windows of x, (batch, *space, channels)."""
    space = x.ndim - 2
    windows = numbers(windows, space)
    strides = windows if strides is None else numbers(strides, space)
    flat = ends(padding, x.shape[1:-1], windows, strides, (1,) * space)
    return POOLS[kind, x.ndim](x.movedim(-1, 1), windows, strides, flat).movedim(1, -1)


def reduced(name: str, x: Tensor, axis: Any, keepdims: bool, correction: int = 0) -> Tensor:
    """mean, sum, var or std of x over an axis, several, or all."""
    if axis is None:
        axes = tuple(range(x.ndim))
    else:
        axes = (axis,) if isinstance(axis, int) else tuple(axis)
    if name in ("var", "std"):
        function = torch.var if name == "var" else torch.std
        return function(x, axes, correction=correction, keepdim=keepdims)
    if axis is None and not keepdims:
        return getattr(x, name)()
    found: Tensor = getattr(torch, name)(x, axes, keepdims)
    return found


def attended(query: Tensor, key: Tensor, value: Tensor, causal: bool, scale: Any) -> Tensor:
    """Attention over (batch, time, heads, size)."""
    turned = (one.transpose(1, 2) for one in (query, key, value))
    found = F.scaled_dot_product_attention(*turned, is_causal=causal, scale=scale)
    return found.transpose(1, 2)


def scalar(s: Any, value: Any) -> Any:
    """A number as it is, anything else as the tensor that the stand-ins have for it."""
    return float(value) if isinstance(value, int | float) else s.tensor(value)
