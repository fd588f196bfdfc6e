"""The linear map of Keras with the start that all packages share."""

from __future__ import annotations

from typing import Any

import keras

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
