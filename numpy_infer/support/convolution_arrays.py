"""The arrays of convolutions that follow one another: their names, their shapes, their kernels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np

from numpy_infer.support.checks import check_count, check_floating


def convolution_shapes(
    name: str, widths: Sequence[int], kernel: Sequence[int], *, transposed: bool = False
) -> dict[str, tuple[int, ...]]:
    """The shapes of `name.0.weight`, `name.0.bias`, `name.1.weight`, and so on.

    Args:
        name: of the stack of convolutions.
        widths: the channels of the input, then those of each convolution's output.
        kernel: its size along each spatial axis.
        transposed: whether a weight is (in, out, *kernel) rather than (out, in, *kernel).
    """
    kernel = [check_count("kernel_size", size) for size in kernel]
    shapes: dict[str, tuple[int, ...]] = {}
    for index, (before, after) in enumerate(pairwise(widths)):
        channels = (before, after) if transposed else (after, before)
        shapes[f"{name}.{index}.weight"] = (*channels, *kernel)
        shapes[f"{name}.{index}.bias"] = (after,)
    return shapes


def convolution_weights(name: str, arrays: Mapping[str, np.ndarray], rank: int) -> list[np.ndarray]:
    """The weights `name_0_weight`, `name_1_weight`, and so on among a constructor's arrays.

    Args:
        name: of the stack of convolutions.
        arrays: each by its name.
        rank: the number of spatial axes.
    Raises:
        TypeError: a weight that is not floating. ValueError: no weights, or another rank.
    """
    weights: list[np.ndarray] = []
    while (key := f"{name}_{len(weights)}_weight") in arrays:
        check_floating(key, arrays[key], ndim=2 + rank)
        weights.append(arrays[key])
    if not weights:
        raise ValueError(f"arrays: expected {name}_0_weight, got {list(arrays)}")
    return weights
