"""Normalization over the batch, features, groups or to unit norm; a scale for each channel."""

from __future__ import annotations

import numpy as np
import theano.tensor as T
from theano.tensor.var import TensorVariable

from theano_impl.distances import l2_normalize
from theano_impl.support.checks import (
    check_channels,
    check_count,
    check_dtype,
    check_flag,
    check_floating,
    check_groups,
    check_number,
    check_values,
    check_width,
)
from theano_impl.support.layer import Layer


class BatchNorm(Layer):
    """(x − mean) / √(variance + epsilon) · scale + shift, for each feature or channel, axis 1.

    x: (batch, channels, ...); `.output` has its shape. All arrays are (channels,). The mean and
    the variance are the running ones; when training they are the batch's, the variance biased,
    and `.updates` moves the running ones by the share `momentum` towards them, the variance
    unbiased. AssertionError, when it runs, for a wrong number of channels, and when training for
    a single entry per channel. Source: Ioffe, Szegedy 2015.
    """

    def __init__(
        self,
        x: TensorVariable,
        channels: int,
        *,
        epsilon: float = 1e-5,
        momentum: float = 0.1,
        training: bool = False,
    ) -> None:
        channels = check_count("channels", channels)
        epsilon = check_number("epsilon", epsilon, least=0)
        momentum = check_number("momentum", momentum, least=0)
        training = check_flag("training", training)
        config = {"channels": channels, "epsilon": epsilon, "momentum": momentum}
        super().__init__(x, config=config)
        self.scale = self.add_param("scale", np.ones(channels))
        self.shift = self.add_param("shift", np.zeros(channels))
        self.mean = self.add_buffer("mean", np.zeros(channels))
        self.variance = self.add_buffer("variance", np.ones(channels))

        check_floating("x", x)
        check_count("x.ndim", x.ndim, least=2)
        check_dtype("x", x, self.scale.dtype)
        x = check_channels("x", x, channels)
        mean, variance = self.mean, self.variance
        if training:
            axes = (0, *range(2, x.ndim))
            n = T.cast(x.size // channels, x.dtype)
            x = check_values(x, n > 1, "x", "more than one entry per channel")
            mean, variance = T.mean(x, axis=axes), T.var(x, axis=axes)
            share = np.asarray(momentum, x.dtype)
            self.updates = [
                (self.mean, (1 - share) * self.mean + share * mean),
                (self.variance, (1 - share) * self.variance + share * variance * n / (n - 1)),
            ]
        factor = self.scale / T.sqrt(variance + np.asarray(epsilon, x.dtype))

        def per_channel(values: TensorVariable) -> TensorVariable:
            return values.dimshuffle("x", 0, *["x"] * (x.ndim - 2))

        self.output = (x - per_channel(mean)) * per_channel(factor) + per_channel(self.shift)


class LayerNorm(Layer):
    """(x − mean of x) / √(variance of x + epsilon) · scale + shift, over the last axis.

    x: (..., features); `.output` has its shape. scale, shift: (features,). AssertionError, when
    it runs, for a wrong number of features. Source: Ba, Kiros, Hinton 2016.
    """

    def __init__(self, x: TensorVariable, features: int, *, epsilon: float = 1e-5) -> None:
        features = check_count("features", features)
        epsilon = check_number("epsilon", epsilon, least=0)
        super().__init__(x, config={"features": features, "epsilon": epsilon})
        self.scale = self.add_param("scale", np.ones(features))
        self.shift = self.add_param("shift", np.zeros(features))

        check_floating("x", x)
        check_dtype("x", x, self.scale.dtype)
        x = check_width("x", x, features)
        centered = x - T.mean(x, axis=-1, keepdims=True)
        variance = T.mean(centered * centered, axis=-1, keepdims=True)
        factor = T.sqrt(variance + np.asarray(epsilon, x.dtype))
        self.output = centered / factor * self.scale + self.shift


class GroupNorm(Layer):
    """(x − mean of x) / √(variance of x + epsilon) · scale + shift, over each group of channels.

    Mean and variance are those of the channels of a group, axis 1, at all places. As many groups as
    channels are an instance normalization. x: (batch, channels, ...); `.output` has its shape.
    scale, shift: (channels,). AssertionError, when it runs, for a wrong number of channels or no
    place. Source: Wu, He 2018.
    """

    def __init__(
        self, x: TensorVariable, channels: int, groups: int, *, epsilon: float = 1e-5
    ) -> None:
        channels = check_count("channels", channels)
        groups = check_groups(groups, channels)
        epsilon = check_number("epsilon", epsilon, least=0)
        super().__init__(x, config={"channels": channels, "groups": groups, "epsilon": epsilon})
        self.scale = self.add_param("scale", np.ones(channels))
        self.shift = self.add_param("shift", np.zeros(channels))

        check_floating("x", x)
        check_count("x.ndim", x.ndim, least=2)
        check_dtype("x", x, self.scale.dtype)
        x = check_channels("x", x, channels)
        places = T.prod(x.shape[2:], dtype="int64")
        x = check_values(x, places > 0, "x", "at least one place")
        grouped = x.reshape((x.shape[0], groups, channels // groups * places), ndim=3)
        centered = grouped - T.mean(grouped, axis=-1, keepdims=True)
        variance = T.mean(centered * centered, axis=-1, keepdims=True)
        unit = centered / T.sqrt(variance + np.asarray(epsilon, x.dtype))
        scale, shift = (
            one.dimshuffle("x", 0, *["x"] * (x.ndim - 2)) for one in (self.scale, self.shift)
        )
        self.output = unit.reshape(x.shape, ndim=x.ndim) * scale + shift


class Affine(Layer):
    """x · scale + shift, for each channel, axis 1.

    x: (batch, channels, ...); `.output` has its shape. scale, shift: (channels,). fixed: whether
    they are buffers, which training leaves alone. AssertionError, when it runs, for a wrong number
    of channels.
    """

    def __init__(
        self, x: TensorVariable, channels: int, *, bias: bool = True, fixed: bool = False
    ) -> None:
        channels = check_count("channels", channels)
        bias = check_flag("bias", bias)
        fixed = check_flag("fixed", fixed)
        super().__init__(x, config={"channels": channels, "bias": bias, "fixed": fixed})
        add = self.add_buffer if fixed else self.add_param
        self.scale = add("scale", np.ones(channels))
        self.shift = add("shift", np.zeros(channels)) if bias else None

        check_floating("x", x)
        check_count("x.ndim", x.ndim, least=2)
        check_dtype("x", x, self.scale.dtype)
        x = check_channels("x", x, channels)
        axes = ("x", 0, *["x"] * (x.ndim - 2))
        self.output = x * self.scale.dimshuffle(*axes)
        if self.shift is not None:
            self.output = self.output + self.shift.dimshuffle(*axes)


class RMSNorm(Layer):
    """x / √(mean of x² + epsilon) · scale, over the last axis.

    x: (..., features); `.output` has its shape. scale: (features,). AssertionError, when it runs,
    for a wrong number of features. Source: Zhang, Sennrich 2019.
    """

    def __init__(self, x: TensorVariable, features: int, *, epsilon: float = 1e-5) -> None:
        features = check_count("features", features)
        epsilon = check_number("epsilon", epsilon, least=0)
        super().__init__(x, config={"features": features, "epsilon": epsilon})
        self.scale = self.add_param("scale", np.ones(features))

        check_floating("x", x)
        check_dtype("x", x, self.scale.dtype)
        x = check_width("x", x, features)
        square = T.mean(x * x, axis=-1, keepdims=True)
        self.output = x / T.sqrt(square + np.asarray(epsilon, x.dtype)) * self.scale


class L2Normalize(Layer):
    """x / max(‖x‖, epsilon) over the last axis."""

    def __init__(self, x: TensorVariable, *, epsilon: float = 1e-12) -> None:
        epsilon = check_number("epsilon", epsilon, above=0)
        super().__init__(x, config={"epsilon": epsilon})
        self.output = l2_normalize(x, epsilon=epsilon)
