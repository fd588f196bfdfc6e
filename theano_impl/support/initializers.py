"""The start of every weight: the same distributions in all packages."""

from __future__ import annotations

import math

import numpy as np


def glorot_uniform(*shape: int, rng: np.random.Generator) -> np.ndarray:
    """Uniform in ±√(6 / (in + out)); leading axes are separate matrices (Glorot, Bengio 2010)."""
    bound = (6 / (shape[-2] + shape[-1])) ** 0.5
    return rng.uniform(-bound, bound, shape)


def embedding_table(vocabulary_size: int, dim: int, *, rng: np.random.Generator) -> np.ndarray:
    """Normal vectors of about unit length, and zero for the padding in row 0."""
    table = rng.normal(scale=dim**-0.5, size=(vocabulary_size, dim))
    table[0] = 0
    return table


def convolution_kernel(*shape: int, rng: np.random.Generator) -> np.ndarray:
    """Uniform in ±√(6 / (in + out)), where each channel counts once for each kernel place.

    shape: (out, in, *kernel), or (in, out, *kernel).
    """
    bound = (6 / (sum(shape[:2]) * math.prod(shape[2:]))) ** 0.5
    return rng.uniform(-bound, bound, shape)
