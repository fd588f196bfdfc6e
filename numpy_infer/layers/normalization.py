"""Normalization as it is at inference, and the scale and shift of each channel by itself."""

from __future__ import annotations

import math

import numpy as np

from numpy_infer.distances import l2_normalize
from numpy_infer.support.checks import (
    check_dtype,
    check_floating,
    check_groups,
    check_like,
    check_not_empty,
    check_number,
    check_shape,
)
from numpy_infer.support.layer import Layer


class BatchNorm(Layer):
    """(x − mean) / √(variance + epsilon) · scale + shift, for each feature or channel.

    scale, shift, mean, variance: (features,). Source: Ioffe, Szegedy 2015.
    """

    def __init__(
        self,
        previous: Layer,
        scale: np.ndarray,
        shift: np.ndarray,
        mean: np.ndarray,
        variance: np.ndarray,
        *,
        epsilon: float = 1e-5,
    ) -> None:
        super().__init__(previous)
        check_floating("scale", scale, ndim=1)
        for name, array in (("shift", shift), ("mean", mean), ("variance", variance)):
            check_like(name, array, "scale", scale)
        epsilon = check_number("epsilon", epsilon, least=0)
        if (variance < 0).any():
            raise ValueError(f"variance: expected no entry below 0, got {variance.min()}")
        # One product and one sum are left to do for each entry.
        self.factor = scale / np.sqrt(variance + scale.dtype.type(epsilon))
        self.offset = shift - mean * self.factor

    def forward(self, x: np.ndarray) -> np.ndarray:
        """x: (batch, features) or (batch, channels, ...). Returns the same shape."""
        check_floating("x", x)
        check_dtype("x", x, self.factor.dtype)
        check_shape("x", x, (*x.shape[:1], *self.factor.shape, *x.shape[2:]))
        shape = (-1,) + (1,) * (x.ndim - 2)
        y: np.ndarray = x * self.factor.reshape(shape)
        y += self.offset.reshape(shape)
        return y


class LayerNorm(Layer):
    """(x − mean of x) / √(variance of x + epsilon) · scale + shift, over the last axis.

    scale, shift: (features,). Source: Ba, Kiros, Hinton 2016.
    """

    def __init__(
        self, previous: Layer, scale: np.ndarray, shift: np.ndarray, *, epsilon: float = 1e-5
    ) -> None:
        super().__init__(previous)
        check_floating("scale", scale, ndim=1)
        check_not_empty("scale", scale)
        check_like("shift", shift, "scale", scale)
        epsilon = check_number("epsilon", epsilon, least=0)
        self.scale = scale
        self.shift = shift
        self.epsilon = scale.dtype.type(epsilon)

    def forward(self, x: np.ndarray) -> np.ndarray:
        """x: (..., features). Returns the same shape."""
        check_floating("x", x)
        check_dtype("x", x, self.scale.dtype)
        check_shape("x", x, (*x.shape[:-1], *self.scale.shape))
        y: np.ndarray = x - x.mean(axis=-1, keepdims=True)
        variance = np.mean(y * y, axis=-1, keepdims=True)
        y /= np.sqrt(variance + self.epsilon)
        y *= self.scale
        y += self.shift
        return y


class GroupNorm(Layer):
    """(x − mean of x) / √(variance of x + epsilon) · scale + shift, over each group of channels.

    Mean and variance are those of the channels of a group at all places. As many groups as channels
    are an instance normalization. scale, shift: (channels,). Source: Wu, He 2018.
    """

    def __init__(
        self,
        previous: Layer,
        scale: np.ndarray,
        shift: np.ndarray,
        *,
        groups: int,
        epsilon: float = 1e-5,
    ) -> None:
        super().__init__(previous)
        check_floating("scale", scale, ndim=1)
        check_not_empty("scale", scale)
        check_like("shift", shift, "scale", scale)
        epsilon = check_number("epsilon", epsilon, least=0)
        self.scale = scale
        self.shift = shift
        self.groups = check_groups(groups, len(scale))
        self.epsilon = scale.dtype.type(epsilon)

    def forward(self, x: np.ndarray) -> np.ndarray:
        """x: (batch, channels, ...). Returns the same shape."""
        check_floating("x", x)
        check_dtype("x", x, self.scale.dtype)
        check_shape("x", x, (*x.shape[:1], *self.scale.shape, *x.shape[2:]))
        if 0 in x.shape[2:]:
            raise ValueError(f"x: expected at least one place, got shape {x.shape}")
        # (batch, groups, channels of a group and places)
        grouped = x.reshape(len(x), self.groups, math.prod(x.shape[1:]) // self.groups)
        y: np.ndarray = grouped - grouped.mean(axis=-1, keepdims=True)
        variance = np.mean(y * y, axis=-1, keepdims=True)
        y /= np.sqrt(variance + self.epsilon)
        y = y.reshape(x.shape)
        shape = (-1,) + (1,) * (x.ndim - 2)
        y *= self.scale.reshape(shape)
        y += self.shift.reshape(shape)
        return y


class RMSNorm(Layer):
    """x / √(mean of x² + epsilon) · scale, over the last axis.

    scale: (features,). Source: Zhang, Sennrich 2019.
    """

    def __init__(self, previous: Layer, scale: np.ndarray, *, epsilon: float = 1e-5) -> None:
        super().__init__(previous)
        check_floating("scale", scale, ndim=1)
        check_not_empty("scale", scale)
        epsilon = check_number("epsilon", epsilon, least=0)
        self.scale = scale
        self.epsilon = scale.dtype.type(epsilon)

    def forward(self, x: np.ndarray) -> np.ndarray:
        """x: (..., features). Returns the same shape."""
        check_floating("x", x)
        check_dtype("x", x, self.scale.dtype)
        check_shape("x", x, (*x.shape[:-1], *self.scale.shape))
        y: np.ndarray = x / np.sqrt(np.mean(x * x, axis=-1, keepdims=True) + self.epsilon)
        y *= self.scale
        return y


class Affine(Layer):
    """x · scale + shift, for each feature or channel.

    scale: (channels,); shift: (channels,) or None. Source: the scale of a residual branch is that
    of Touvron et al. 2021.
    """

    def __init__(self, previous: Layer, scale: np.ndarray, shift: np.ndarray | None = None) -> None:
        super().__init__(previous)
        check_floating("scale", scale, ndim=1)
        check_not_empty("scale", scale)
        if shift is not None:
            check_like("shift", shift, "scale", scale)
        self.scale = scale
        self.shift = shift

    def forward(self, x: np.ndarray) -> np.ndarray:
        """x: (batch, channels, ...). Returns the same shape."""
        check_floating("x", x)
        check_dtype("x", x, self.scale.dtype)
        check_shape("x", x, (*x.shape[:1], *self.scale.shape, *x.shape[2:]))
        shape = (-1,) + (1,) * (x.ndim - 2)
        y: np.ndarray = x * self.scale.reshape(shape)
        if self.shift is not None:
            y += self.shift.reshape(shape)
        return y


class L2Normalize(Layer):
    """x / max(‖x‖, epsilon) over the last axis."""

    def __init__(self, previous: Layer, *, epsilon: float = 1e-12) -> None:
        super().__init__(previous)
        epsilon = check_number("epsilon", epsilon, above=0)
        self.epsilon = epsilon

    def forward(self, x: np.ndarray) -> np.ndarray:
        """x: (..., features). Returns the same shape."""
        return l2_normalize(x, epsilon=self.epsilon)
