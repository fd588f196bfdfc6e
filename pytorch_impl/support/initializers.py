"""The start of every weight: the same distributions in all packages."""

from __future__ import annotations

import math

import torch
from torch import nn

from pytorch_impl.support.checks import check_seed


def generator(seed: int | None) -> torch.Generator | None:
    """A generator of its own for a seed; None leaves it to `torch.manual_seed`."""
    seed = check_seed("seed", seed)
    return None if seed is None else torch.Generator(torch.get_default_device()).manual_seed(seed)


def glorot_uniform(*shape: int, generator: torch.Generator | None) -> nn.Parameter:
    """Uniform in ±√(6 / (in + out)); leading axes are separate matrices (Glorot, Bengio 2010)."""
    bound = (6 / (shape[-2] + shape[-1])) ** 0.5
    return nn.Parameter(nn.init.uniform_(torch.empty(shape), -bound, bound, generator=generator))


def embedding_table(
    vocabulary_size: int, dim: int, *, generator: torch.Generator | None
) -> nn.Parameter:
    """Normal vectors of about unit length, and zero for the padding in row 0."""
    table = nn.init.normal_(torch.empty(vocabulary_size, dim), std=dim**-0.5, generator=generator)
    table[0] = 0
    return nn.Parameter(table)


def convolution_kernel(*shape: int, generator: torch.Generator | None) -> nn.Parameter:
    """Uniform in ±√(6 / (in + out)), where each channel counts once for each kernel place.

    shape: (out, in, *kernel), or (in, out, *kernel).
    """
    bound = (6 / (sum(shape[:2]) * math.prod(shape[2:]))) ** 0.5
    return nn.Parameter(nn.init.uniform_(torch.empty(shape), -bound, bound, generator=generator))
