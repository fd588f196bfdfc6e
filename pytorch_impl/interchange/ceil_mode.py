"""Pools with `ceil_mode`, as pools of model files: the size of the input tells how much to pad.

A window that overhangs the end counts with `ceil_mode`. Model files have none: there such a pool
is padded by what the last window needs, with −∞ for a maximum and uncounted zeros for a mean.
"""

from __future__ import annotations

import copy
from typing import Any

from torch import nn

from numpy_infer.format.shapes import Shape
from pytorch_impl.interchange.record import UnsupportedError, for_each_axis
from pytorch_impl.layers.convolution import Padded
from pytorch_impl.layers.pooling import AVERAGE_POOLS, MAX_POOLS


def padded(module: nn.Module, shape: Shape | None) -> nn.Module:
    """The same pool without `ceil_mode`, for an input of this shape; any other module as it is."""
    if not isinstance(module, (*MAX_POOLS, *AVERAGE_POOLS)) or not module.ceil_mode:
        return module
    name = f"{type(module).__name__}(ceil_mode=True)"
    if shape is None or None in shape[2:]:
        raise UnsupportedError(f"{name} of a size that no input tells: give inputs={{...}},")
    pool: Any = copy.copy(module)
    pool.ceil_mode = False
    sizes, strides = for_each_axis(module, "kernel_size"), for_each_axis(module, "stride")
    ends = for_each_axis(module, "padding")
    axes = zip(shape[2:], sizes, strides, ends, strict=True)
    more = [_overhang(n or 0, size, step, end) for n, size, step, end in axes]
    if not any(more):
        return pool
    if isinstance(module, AVERAGE_POOLS):
        if module.count_include_pad and any(ends):
            raise UnsupportedError(f"{name} with padding that counts")
        pool.count_include_pad = False
    pool.padding = 0 if len(ends) == 1 else (0, 0)
    return Padded(pool, [(end, end + extra) for end, extra in zip(ends, more, strict=True)])


def _overhang(n: int, size: int, stride: int, end: int) -> int:
    """By how much the last window reaches beyond the padded axis; it begins before the end."""
    rest = n + 2 * end - size
    last = -(-rest // stride) * stride
    if last >= n + end:
        last -= stride
    return max(0, last - rest)
