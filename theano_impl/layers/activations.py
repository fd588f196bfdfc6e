"""Element by element, or over one axis: what stands between two layers with weights."""

from __future__ import annotations

import numpy as np
import theano.tensor as T
from theano.gradient import disconnected_grad
from theano.tensor.random.utils import RandomStream
from theano.tensor.var import TensorVariable

from theano_impl.support.checks import (
    check_channels,
    check_count,
    check_dtype,
    check_flag,
    check_floating,
    check_number,
    check_rank,
    check_rate,
    check_seed,
)
from theano_impl.support.layer import Layer
from theano_impl.top_k_gating import top_k_gating

__all__ = [
    "ELU",
    "GELU",
    "SELU",
    "Clip",
    "Dropout",
    "HardSigmoid",
    "HardSwish",
    "LeakyReLU",
    "LogSigmoid",
    "LogSoftmax",
    "Mish",
    "PReLU",
    "ReLU",
    "ReLU6",
    "ScaleShift",
    "SiLU",
    "Sigmoid",
    "Softmax",
    "Softplus",
    "Softsign",
    "StochasticDepth",
    "Tanh",
    "TopKGating",
]
SELU_SCALE = 1.0507009873554805
SELU_ALPHA = 1.6732632423543772


class ReLU(Layer):
    """max(x, 0), with gradient 0 at 0."""

    def __init__(self, x: TensorVariable) -> None:
        super().__init__(x, config={})
        check_floating("x", x)
        self.output = T.switch(x <= 0, _typed(0, x), x)  # T.nnet.relu: gradient ½ at zero


class ReLU6(Layer):
    """min(max(x, 0), 6), with gradient 0 at 0 and at 6."""

    def __init__(self, x: TensorVariable) -> None:
        super().__init__(x, config={})
        check_floating("x", x)
        self.output = T.switch(x <= 0, _typed(0, x), T.switch(x >= 6, _typed(6, x), x))


class LeakyReLU(Layer):
    """x above 0, slope · x elsewhere."""

    def __init__(self, x: TensorVariable, *, slope: float = 0.01) -> None:
        slope = check_number("slope", slope)
        super().__init__(x, config={"slope": slope})
        check_floating("x", x)
        self.output = T.switch(x > 0, x, _typed(slope, x) * x)


class ScaleShift(Layer):
    """x · scale + shift, by two numbers."""

    def __init__(self, x: TensorVariable, *, scale: float = 1.0, shift: float = 0.0) -> None:
        scale, shift = check_number("scale", scale), check_number("shift", shift)
        super().__init__(x, config={"scale": scale, "shift": shift})
        check_floating("x", x)
        self.output = x * _typed(scale, x) + _typed(shift, x)


class ELU(Layer):
    """x above 0, alpha · (exp(x) − 1) elsewhere."""

    def __init__(self, x: TensorVariable, *, alpha: float = 1.0) -> None:
        alpha = check_number("alpha", alpha)
        super().__init__(x, config={"alpha": alpha})
        check_floating("x", x)
        self.output = _elu(x, alpha)


class SELU(Layer):
    """ELU with the alpha and the scale that keep mean and variance (Klambauer et al. 2017)."""

    def __init__(self, x: TensorVariable) -> None:
        super().__init__(x, config={})
        check_floating("x", x)
        self.output = _typed(SELU_SCALE, x) * _elu(x, SELU_ALPHA)


class GELU(Layer):
    """x · Φ(x), Φ the normal distribution's; approximate: by a tanh (Hendrycks, Gimpel 2016)."""

    def __init__(self, x: TensorVariable, *, approximate: bool = False) -> None:
        approximate = check_flag("approximate", approximate)
        super().__init__(x, config={"approximate": approximate})
        check_floating("x", x)
        if approximate:
            cubic = x + _typed(0.044715, x) * x * x * x
            share = 1 + T.tanh(_typed((2 / np.pi) ** 0.5, x) * cubic)
        else:
            share = 1 + T.erf(x * _typed(0.5**0.5, x))
        self.output = _typed(0.5, x) * x * share


class SiLU(Layer):
    """x · sigmoid(x)."""

    def __init__(self, x: TensorVariable) -> None:
        super().__init__(x, config={})
        check_floating("x", x)
        self.output = x * T.nnet.sigmoid(x)


class Sigmoid(Layer):
    """1 / (1 + exp(−x))."""

    def __init__(self, x: TensorVariable) -> None:
        super().__init__(x, config={})
        check_floating("x", x)
        self.output = T.nnet.sigmoid(x)


class Softplus(Layer):
    """log(1 + exp(x))."""

    def __init__(self, x: TensorVariable) -> None:
        super().__init__(x, config={})
        check_floating("x", x)
        self.output = T.nnet.softplus(x)


class Tanh(Layer):
    """The hyperbolic tangent."""

    def __init__(self, x: TensorVariable) -> None:
        super().__init__(x, config={})
        check_floating("x", x)
        self.output = T.tanh(x)


class HardSigmoid(Layer):
    """min(max(x + 3, 0), 6) / 6, with gradient 0 at −3 and at 3."""

    def __init__(self, x: TensorVariable) -> None:
        super().__init__(x, config={})
        check_floating("x", x)
        self.output = _hard_sigmoid(x)


class HardSwish(Layer):
    """x · min(max(x + 3, 0), 6) / 6, with gradient 0 at −3 and 1 at 3 (Howard et al. 2019)."""

    def __init__(self, x: TensorVariable) -> None:
        super().__init__(x, config={})
        check_floating("x", x)
        self.output = x * _hard_sigmoid(x)


class Mish(Layer):
    """x · tanh(log(1 + exp(x))) (Misra 2019)."""

    def __init__(self, x: TensorVariable) -> None:
        super().__init__(x, config={})
        check_floating("x", x)
        self.output = x * T.tanh(T.nnet.softplus(x))


class LogSigmoid(Layer):
    """−log(1 + exp(−x))."""

    def __init__(self, x: TensorVariable) -> None:
        super().__init__(x, config={})
        check_floating("x", x)
        self.output = -T.nnet.softplus(-x)


class Softsign(Layer):
    """x / (1 + |x|)."""

    def __init__(self, x: TensorVariable) -> None:
        super().__init__(x, config={})
        check_floating("x", x)
        self.output = x / (1 + T.abs_(x))


class Clip(Layer):
    """min(max(x, minimum), maximum), with gradient 0 at both."""

    def __init__(self, x: TensorVariable, *, minimum: float, maximum: float) -> None:
        minimum = check_number("minimum", minimum)
        maximum = check_number("maximum", maximum, above=minimum)
        super().__init__(x, config={"minimum": minimum, "maximum": maximum})
        check_floating("x", x)
        self.output = _clipped(x, minimum, maximum)


class PReLU(Layer):
    """x above 0, slope · x elsewhere; a slope for each channel, axis 1, or one for all.

    x: (batch, channels, ...); `.output` has its shape. slopes: the number of channels, or 1.
    AssertionError, when it runs, for a wrong number of channels. Source: He et al. 2015.
    """

    def __init__(self, x: TensorVariable, slopes: int = 1) -> None:
        slopes = check_count("slopes", slopes)
        super().__init__(x, config={"slopes": slopes})
        self.slope = self.add_param("slope", np.full(slopes, 0.25))

        check_floating("x", x)
        check_count("x.ndim", x.ndim, least=2)
        check_dtype("x", x, self.slope.dtype)
        if slopes > 1:
            x = check_channels("x", x, slopes)
            slope = self.slope.dimshuffle("x", 0, *["x"] * (x.ndim - 2))
        else:
            slope = self.slope[0]
        self.output = T.switch(x > 0, x, slope * x)


class Softmax(Layer):
    """exp(x) / Σ exp(x) over the last axis, or over the channels, axis 1."""

    def __init__(self, x: TensorVariable, *, axis: int = -1) -> None:
        axis = _checked_axis(axis)
        super().__init__(x, config={"axis": axis})
        share = T.exp(_below_largest(x, axis))
        self.output = share / T.sum(share, axis=axis, keepdims=True)


class LogSoftmax(Layer):
    """x − log Σ exp(x) over the last axis, or over the channels, axis 1."""

    def __init__(self, x: TensorVariable, *, axis: int = -1) -> None:
        axis = _checked_axis(axis)
        super().__init__(x, config={"axis": axis})
        below = _below_largest(x, axis)
        self.output = below - T.log(T.sum(T.exp(below), axis=axis, keepdims=True))


class TopKGating(Layer):
    """`top_k_gating` as a layer."""

    def __init__(self, x: TensorVariable, k: int) -> None:
        k = check_count("k", k)
        super().__init__(x, config={"k": k})
        self.output = top_k_gating(x, k)


class _Dropping(Layer):
    """Zeros in the place of a share `rate` of the entries, or of the rows, when training."""

    rows: bool  # whether whole rows of the batch are dropped

    def __init__(
        self, x: TensorVariable, rate: float, *, training: bool = False, seed: int | None = None
    ) -> None:
        rate = check_rate("rate", rate)
        training = check_flag("training", training)
        seed = check_seed("seed", seed)
        super().__init__(x, config={"rate": rate})
        check_floating("x", x)
        self.output = x
        if training and rate > 0:
            # Not uniform: its dtype is floatX, once when built and once when compiled.
            kept = RandomStream(seed).bernoulli(
                1 - rate, size=x.shape[:1] if self.rows else x.shape
            )
            kept = kept.dimshuffle(0, *["x"] * (x.ndim - 1)) if self.rows else kept
            self.output = T.switch(T.neq(kept, 0), x / _typed(1 - rate, x), _typed(0, x))


class Dropout(_Dropping):
    """Zeros in the place of a share `rate` of the entries when training, the others scaled up.

    Otherwise x itself. ValueError for a rate outside 0 up to, not including, 1.
    """

    rows = False


class StochasticDepth(_Dropping):
    """Zeros in the place of a share `rate` of the rows when training, the others scaled up.

    Otherwise x itself. ValueError for a rate outside 0 up to, not including, 1. Source: Huang et
    al. 2016, who drop whole residual branches.
    """

    rows = True


def _typed(value: float, x: TensorVariable) -> np.ndarray:
    """A constant of x's dtype: a Python float would upcast float32."""
    return np.asarray(value, x.dtype)


def _clipped(x: TensorVariable, minimum: float, maximum: float) -> TensorVariable:
    low, high = _typed(minimum, x), _typed(maximum, x)
    return T.switch(x <= low, low, T.switch(x >= high, high, x))


def _hard_sigmoid(x: TensorVariable) -> TensorVariable:
    return _clipped(x + _typed(3, x), 0, 6) / _typed(6, x)


def _elu(x: TensorVariable, alpha: float) -> TensorVariable:
    # exp of what is above 0 may overflow, and its gradient would be 0 · ∞.
    below = T.switch(x > 0, _typed(0, x), x)
    return T.switch(x > 0, x, _typed(alpha, x) * T.expm1(below))


def _checked_axis(axis: int) -> int:
    axis = check_count("axis", axis, least=-1, most=1)
    if axis == 0:
        raise ValueError("axis: expected -1 or 1, got 0")
    return axis


def _below_largest(x: TensorVariable, axis: int) -> TensorVariable:
    """x minus its largest entry on the axis: exp of it does not overflow."""
    check_floating("x", x)
    if x.ndim < 2:
        check_rank("x", x, ndim=2)
    # nnet.softmax takes matrices alone.
    return x - disconnected_grad(T.max(x, axis=axis, keepdims=True))
