"""Linear and convolution layers of PyTorch with the start that all packages share."""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import nn

from pytorch_impl.support.initializers import convolution_kernel, glorot_uniform

Convolution = TypeVar("Convolution", bound=nn.Module)


def make_linear(
    in_features: int, out_features: int, *, bias: bool = True, generator: torch.Generator | None
) -> nn.Linear:
    """An `nn.Linear` with a Glorot-uniform weight and a bias of zeros."""
    layer = nn.utils.skip_init(nn.Linear, in_features, out_features, bias=bias)
    layer.weight = glorot_uniform(out_features, in_features, generator=generator)
    if bias:
        nn.init.zeros_(layer.bias)
    return layer


def make_convolution(
    kind: type[Convolution], *sizes: int, generator: torch.Generator | None
) -> Convolution:
    """A convolution of this kind with a Glorot-uniform kernel and a bias of zeros.

    Args:
        kind: such as `nn.Conv1d` or `nn.ConvTranspose2d`.
        sizes: the channels of the input, those of the output, and the kernel size.
        generator: draws the kernel; None for the global one.
    """
    layer = nn.utils.skip_init(kind, *sizes)
    layer.weight = convolution_kernel(*layer.weight.shape, generator=generator)
    nn.init.zeros_(layer.bias)
    return layer
