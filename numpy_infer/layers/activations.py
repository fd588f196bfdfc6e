"""Element by element, or over one axis: what stands between two layers with weights."""

from __future__ import annotations

import math

import numpy as np

from numpy_infer.support.checks import (
    check_count,
    check_dtype,
    check_flag,
    check_floating,
    check_not_empty,
    check_number,
)
from numpy_infer.support.layer import Layer
from numpy_infer.support.normal_cdf import normal_cdf

SELU_SCALE = 1.0507009873554805
SELU_ALPHA = 1.6732632423543772


class ReLU(Layer):
    """max(x, 0)."""

    def forward(self, x: np.ndarray) -> np.ndarray:
        check_floating("x", x)
        y: np.ndarray = np.maximum(x, 0)
        return y


class ReLU6(Layer):
    """min(max(x, 0), 6)."""

    def forward(self, x: np.ndarray) -> np.ndarray:
        check_floating("x", x)
        return x.clip(0, 6)


class LeakyReLU(Layer):
    """x above 0, slope · x elsewhere."""

    def __init__(self, previous: Layer, *, slope: float) -> None:
        super().__init__(previous)
        slope = check_number("slope", slope)
        self.slope = slope

    def forward(self, x: np.ndarray) -> np.ndarray:
        check_floating("x", x)
        y: np.ndarray = np.minimum(x, 0)
        y *= x.dtype.type(self.slope)
        y += np.maximum(x, 0)
        return y


class ELU(Layer):
    """x above 0, alpha · (exp(x) − 1) elsewhere."""

    def __init__(self, previous: Layer, *, alpha: float) -> None:
        super().__init__(previous)
        alpha = check_number("alpha", alpha)
        self.alpha = alpha

    def forward(self, x: np.ndarray) -> np.ndarray:
        check_floating("x", x)
        return _elu(x, self.alpha)


class SELU(Layer):
    """ELU with the alpha and the scale that keep mean and variance (Klambauer et al. 2017)."""

    def forward(self, x: np.ndarray) -> np.ndarray:
        check_floating("x", x)
        y = _elu(x, SELU_ALPHA)
        y *= x.dtype.type(SELU_SCALE)
        return y


class GELU(Layer):
    """x · Φ(x), Φ the normal distribution's; approximate: by a tanh (Hendrycks, Gimpel 2016)."""

    def __init__(self, previous: Layer, *, approximate: bool) -> None:
        super().__init__(previous)
        approximate = check_flag("approximate", approximate)
        self.approximate = approximate

    def forward(self, x: np.ndarray) -> np.ndarray:
        check_floating("x", x)
        share = _tanh_share(x) if self.approximate else normal_cdf(x)
        share *= x
        return share


class SiLU(Layer):
    """x · sigmoid(x)."""

    def forward(self, x: np.ndarray) -> np.ndarray:
        check_floating("x", x)
        y = _sigmoid(x)
        y *= x
        return y


class Sigmoid(Layer):
    """1 / (1 + exp(−x)), without overflow at either end."""

    def forward(self, x: np.ndarray) -> np.ndarray:
        check_floating("x", x)
        return _sigmoid(x)


class Softplus(Layer):
    """log(1 + exp(x)), without overflow, and without loss where it is small."""

    def forward(self, x: np.ndarray) -> np.ndarray:
        check_floating("x", x)
        return _softplus(x)


class Tanh(Layer):
    """The hyperbolic tangent."""

    def forward(self, x: np.ndarray) -> np.ndarray:
        check_floating("x", x)
        y: np.ndarray = np.tanh(x)
        return y


class ScaleShift(Layer):
    """x · scale + shift, by two numbers."""

    def __init__(self, previous: Layer, *, scale: float = 1.0, shift: float = 0.0) -> None:
        super().__init__(previous)
        self.scale = check_number("scale", scale)
        self.shift = check_number("shift", shift)

    def forward(self, x: np.ndarray) -> np.ndarray:
        check_floating("x", x)
        y: np.ndarray = x * x.dtype.type(self.scale)
        y += x.dtype.type(self.shift)
        return y


class HardSigmoid(Layer):
    """min(max(x + 3, 0), 6) / 6."""

    def forward(self, x: np.ndarray) -> np.ndarray:
        check_floating("x", x)
        return _hard_sigmoid(x)


class HardSwish(Layer):
    """x · min(max(x + 3, 0), 6) / 6 (Howard et al. 2019)."""

    def forward(self, x: np.ndarray) -> np.ndarray:
        check_floating("x", x)
        y = _hard_sigmoid(x)
        y *= x
        return y


class Mish(Layer):
    """x · tanh(log(1 + exp(x))) (Misra 2019)."""

    def forward(self, x: np.ndarray) -> np.ndarray:
        check_floating("x", x)
        y = _softplus(x)
        np.tanh(y, out=y)
        y *= x
        return y


class LogSigmoid(Layer):
    """−log(1 + exp(−x)), without overflow, and without loss where it is small."""

    def forward(self, x: np.ndarray) -> np.ndarray:
        check_floating("x", x)
        y = _softplus(-x)
        np.negative(y, out=y)
        return y


class Softsign(Layer):
    """x / (1 + |x|)."""

    def forward(self, x: np.ndarray) -> np.ndarray:
        check_floating("x", x)
        y: np.ndarray = np.abs(x)
        y += 1
        np.divide(x, y, out=y)
        return y


class Clip(Layer):
    """min(max(x, minimum), maximum)."""

    def __init__(self, previous: Layer, *, minimum: float, maximum: float) -> None:
        super().__init__(previous)
        self.minimum = check_number("minimum", minimum)
        self.maximum = check_number("maximum", maximum, above=self.minimum)

    def forward(self, x: np.ndarray) -> np.ndarray:
        check_floating("x", x)
        return x.clip(x.dtype.type(self.minimum), x.dtype.type(self.maximum))


class PReLU(Layer):
    """x above 0, slope · x elsewhere; a slope for each channel, or one for all.

    slope: (channels,) or (1,). Source: He et al. 2015.
    """

    def __init__(self, previous: Layer, slope: np.ndarray) -> None:
        super().__init__(previous)
        check_floating("slope", slope, ndim=1)
        check_not_empty("slope", slope)
        self.slope = slope

    def forward(self, x: np.ndarray) -> np.ndarray:
        """x: (batch, channels, ...). Returns the same shape."""
        check_floating("x", x)
        check_dtype("x", x, self.slope.dtype)
        slopes = len(self.slope)
        if x.ndim < 2 or slopes not in (1, x.shape[1]):
            wanted = "" if slopes == 1 else f" with {slopes} channels"
            raise ValueError(f"x: expected (batch, channels, ...){wanted}, got shape {x.shape}")
        y: np.ndarray = np.minimum(x, 0)
        y *= self.slope.reshape(-1, *[1] * (x.ndim - 2))
        y += np.maximum(x, 0)
        return y


class Softmax(Layer):
    """exp(x) / Σ exp(x) over the last axis, or over the channels, axis 1; without overflow."""

    def __init__(self, previous: Layer, *, axis: int = -1) -> None:
        super().__init__(previous)
        self.axis = check_axis(axis)

    def forward(self, x: np.ndarray) -> np.ndarray:
        share = _below_largest(x, self.axis)
        np.exp(share, out=share)
        share /= share.sum(axis=self.axis, keepdims=True)
        return share


class LogSoftmax(Layer):
    """x − log Σ exp(x) over the last axis, or over the channels, axis 1; without overflow."""

    def __init__(self, previous: Layer, *, axis: int = -1) -> None:
        super().__init__(previous)
        self.axis = check_axis(axis)

    def forward(self, x: np.ndarray) -> np.ndarray:
        below = _below_largest(x, self.axis)
        below -= np.log(np.exp(below).sum(axis=self.axis, keepdims=True))
        return below


def _elu(x: np.ndarray, alpha: float) -> np.ndarray:
    y: np.ndarray = np.minimum(x, 0)
    np.expm1(y, out=y)
    y *= x.dtype.type(alpha)
    y += np.maximum(x, 0)
    return y


def _softplus(x: np.ndarray) -> np.ndarray:
    y: np.ndarray = np.abs(x)
    np.negative(y, out=y)
    np.exp(y, out=y)
    np.log1p(y, out=y)
    y += np.maximum(x, 0)
    return y


def _hard_sigmoid(x: np.ndarray) -> np.ndarray:
    y: np.ndarray = x + x.dtype.type(3)
    y.clip(0, 6, out=y)
    y /= 6
    return y


def _sigmoid(x: np.ndarray) -> np.ndarray:
    tail = np.abs(x)
    np.negative(tail, out=tail)
    np.exp(tail, out=tail)
    tail += 1
    y: np.ndarray = np.minimum(x, 0)
    np.exp(y, out=y)
    y /= tail
    return y


def _tanh_share(x: np.ndarray) -> np.ndarray:
    """½ (1 + tanh(√(2/π) (x + 0.044715 x³))): nearly the share of the normal distribution."""
    bounded = x.clip(-20, 20)  # where the tanh has long been −1 or 1
    y: np.ndarray = bounded * bounded
    y *= 0.044715
    y += 1
    y *= bounded
    y *= math.sqrt(2 / math.pi)
    np.tanh(y, out=y)
    y += 1
    y *= 0.5
    return y


def check_axis(axis: int) -> int:
    axis = check_count("axis", axis, least=-1, most=1)
    if axis == 0:
        raise ValueError("axis: expected -1 or 1, got 0")
    return axis


def _below_largest(x: np.ndarray, axis: int) -> np.ndarray:
    """x minus its largest entry on the axis: exp of it does not overflow."""
    check_floating("x", x)
    if axis >= x.ndim or x.shape[axis] == 0:
        raise ValueError(f"x: expected at least one entry on axis {axis}, got shape {x.shape}")
    below: np.ndarray = x - x.max(axis=axis, keepdims=True)
    return below
