"""Linear and convolution layers of Keras with the start that all packages share."""

from __future__ import annotations

from typing import Any

import keras

from tf2_impl.support.checks import check_seed
from tf2_impl.support.initializers import GlorotUniform


def make_linear(
    in_features: int, out_features: int, *, bias: bool = True, glorot: GlorotUniform, **kwargs: Any
) -> keras.layers.Dense:
    """A built `keras.layers.Dense` with a Glorot-uniform kernel and a bias of zeros.

    Args:
        in_features, out_features: the widths of its input and of its output.
        bias: whether it adds a bias.
        glorot: draws the kernel. Layers that share one draw one after the other from its seed.
        kwargs: `name` and `dtype`, as every Keras layer takes them.
    """
    dense = keras.layers.Dense(out_features, use_bias=bias, kernel_initializer=glorot, **kwargs)
    dense.build((None, in_features))
    return dense


def make_convolution(
    kind: type[keras.Layer],
    in_channels: int,
    out_channels: int,
    kernel_size: int,
    *,
    glorot: keras.initializers.Initializer,
    **kwargs: Any,
) -> keras.Layer:
    """A built convolution of this kind with a Glorot-uniform kernel and a bias of zeros.

    Args:
        kind: such as `keras.layers.Conv1D` or `keras.layers.Conv2DTranspose`.
        in_channels, out_channels: the channels of its input and of its output.
        kernel_size: along each spatial axis.
        glorot: a `convolution_start`. Layers that share one draw one after the other from its seed.
        kwargs: `name` and `dtype`, as every Keras layer takes them.
    """
    layer = kind(out_channels, kernel_size, kernel_initializer=glorot, **kwargs)
    layer.build((None, *[None] * layer.rank, in_channels))
    return layer


def convolution_start(seed: int | None) -> keras.initializers.Initializer:
    """Draws kernels from ±√(6 / (in + out)), each channel counted once for each kernel position."""
    return keras.initializers.GlorotUniform(keras.random.SeedGenerator(check_seed("seed", seed)))
