"""The linear map and the convolution with the start that all packages share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import theano.tensor as T
from theano.compile.sharedvalue import SharedVariable
from theano.tensor.var import TensorVariable

from theano_impl.support.initializers import convolution_kernel, glorot_uniform
from theano_impl.support.layer import Layer


class Linear(NamedTuple):
    """x·weight + bias over the last axis. weight: (in_features, out_features)."""

    weight: SharedVariable
    bias: Any  # a shared variable, or None

    def __call__(self, x: TensorVariable) -> TensorVariable:
        y = T.dot(x, self.weight)
        return y if self.bias is None else y + self.bias


def make_linear(
    layer: Layer,
    name: str | None,
    in_features: int,
    out_features: int,
    *,
    bias: bool = True,
    rng: np.random.Generator,
) -> Linear:
    """A linear map whose weight starts Glorot-uniform and whose bias starts at zero.

    Its arrays become parameters of the layer, `weight` and `bias`, behind `name.` if it has a name.
    """
    prefix = "" if name is None else f"{name}."
    start = glorot_uniform(in_features, out_features, rng=rng)
    weight = layer.add_param(f"{prefix}weight", start)
    return Linear(
        weight, layer.add_param(f"{prefix}bias", np.zeros(out_features)) if bias else None
    )


class ConvolutionArrays(NamedTuple):
    """What `convolution` and `transposed_convolution` multiply by and add."""

    weight: SharedVariable
    bias: SharedVariable


def make_convolution(
    layer: Layer,
    name: str,
    in_channels: int,
    out_channels: int,
    *,
    kernel_size: Sequence[int],
    transposed: bool = False,
    rng: np.random.Generator,
) -> ConvolutionArrays:
    """The arrays of a convolution whose kernel starts Glorot-uniform and whose bias starts at zero.

    They become parameters of the layer, `name.weight` and `name.bias`. The weight is
    (out, in, *kernel_size), or (in, out, *kernel_size) of a transposed convolution.
    """
    channels = (in_channels, out_channels) if transposed else (out_channels, in_channels)
    weight = layer.add_param(f"{name}.weight", convolution_kernel(*channels, *kernel_size, rng=rng))
    return ConvolutionArrays(weight, layer.add_param(f"{name}.bias", np.zeros(out_channels)))
