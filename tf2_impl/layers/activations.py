"""Activations that Keras does not have, or has with other constants."""

from __future__ import annotations

import math
from typing import Any

import keras
import tensorflow as tf

from numpy_infer.support.plain_checks import LARGEST
from tf2_impl.support.checks import check_count, check_number, check_seed
from tf2_impl.support.layer import Layer
from tf2_impl.support.precision import in_compute_dtype
from tf2_impl.top_k_gating import top_k_gating

Shape = tuple[int | None, ...]


@keras.saving.register_keras_serializable("fourfold")
def gelu(x: tf.Tensor) -> tf.Tensor:
    """GELU, as an activation. TensorFlow's own has its constants in float32, off by 1e-9."""
    x = tf.convert_to_tensor(x)
    return 0.5 * x * (1 + tf.math.erf(x / math.sqrt(2)))


@keras.saving.register_keras_serializable("fourfold")
def gelu_tanh(x: tf.Tensor) -> tf.Tensor:
    """GELU by its tanh formula, as an activation."""
    x = tf.convert_to_tensor(x)
    return 0.5 * x * (1 + tf.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def relu(x: tf.Tensor) -> tf.Tensor:
    """max(x, 0). Graphs fuse tf.nn.relu with a float32 layer, and so fused it turns NaN to 0."""
    return tf.where(x <= 0, tf.zeros_like(x), x)


@keras.saving.register_keras_serializable("fourfold")
class LeakyReLU(Layer):
    """x where it is positive, slope · x elsewhere.

    Keras's own keeps its slope in float32: in float64, 0.1 is off by 1.5e-9.
    """

    def __init__(self, slope: float, **kwargs: Any) -> None:
        super().__init__(autocast=False, **kwargs)
        self.slope = check_number("slope", slope)

    @in_compute_dtype
    def call(self, x: tf.Tensor) -> tf.Tensor:
        """x: any shape. Returns the same."""
        return tf.where(x > 0, x, self.slope * x)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "slope": self.slope}


@keras.saving.register_keras_serializable("fourfold")
class ScaleShift(Layer):
    """x · scale + shift, by two numbers.

    `keras.layers.Rescaling` keeps them in float32: in float64, 0.1 is off by 1.5e-9.
    """

    def __init__(self, scale: float = 1.0, shift: float = 0.0, **kwargs: Any) -> None:
        super().__init__(autocast=False, **kwargs)
        self.scale = check_number("scale", scale)
        self.shift = check_number("shift", shift)

    @in_compute_dtype
    def call(self, x: tf.Tensor) -> tf.Tensor:
        """x: any shape. Returns the same."""
        return x * self.scale + self.shift

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "scale": self.scale, "shift": self.shift}


@keras.saving.register_keras_serializable("fourfold")
class StochasticDepth(Layer):
    """Zeros in the place of a share `rate` of the rows when training, the others scaled up.

    `keras.layers.Dropout` with the noise_shape (None, 1, 1, 1), for data of any rank. Source: Huang
    et al. 2016, who drop whole residual branches.
    """

    def __init__(self, rate: float, seed: int | None = None, **kwargs: Any) -> None:
        super().__init__(autocast=False, **kwargs)
        self.rate = check_number("rate", rate, least=0)
        if not self.rate < 1:
            raise ValueError(f"rate: expected a number below 1, got {rate}")
        self.seed = check_seed("seed", seed)
        self.seed_generator = keras.random.SeedGenerator(self.seed)

    @in_compute_dtype
    def call(self, x: tf.Tensor, training: bool = False) -> tf.Tensor:
        """x: (batch, ...). Returns the same shape."""
        if not training or self.rate == 0:
            return x
        shape = (tf.shape(x)[0], *[1] * (x.shape.rank - 1))
        return keras.random.dropout(x, self.rate, noise_shape=shape, seed=self.seed_generator)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "rate": self.rate, "seed": self.seed}


@keras.saving.register_keras_serializable("fourfold")
class Clip(Layer):
    """min(max(x, minimum), maximum), with gradient 0 at both: TensorFlow's own has 1 there."""

    def __init__(self, minimum: float, maximum: float, **kwargs: Any) -> None:
        super().__init__(autocast=False, **kwargs)
        self.minimum = check_number("minimum", minimum)
        self.maximum = check_number("maximum", maximum, above=self.minimum)

    @in_compute_dtype
    def call(self, x: tf.Tensor) -> tf.Tensor:
        """x: any shape. Returns the same."""
        low, high = tf.cast(self.minimum, x.dtype), tf.cast(self.maximum, x.dtype)
        return tf.where(x <= low, low, tf.where(x >= high, high, x))

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "minimum": self.minimum, "maximum": self.maximum}


@keras.saving.register_keras_serializable("fourfold")
class PReLU(Layer):
    """x above 0, slope · x elsewhere, of data of any rank; at 0 the gradient is the slope's.

    Keras's own is built for one rank, and has gradient 0 at 0. slopes: the number of channels, or
    1 for a slope of all channels. axis: −1, of channels or features, or 1, as a model file means it
    where no layer of channels came before.
    """

    def __init__(self, slopes: int = 1, axis: int = -1, **kwargs: Any) -> None:
        super().__init__(autocast=False, **kwargs)
        self.slopes = check_count("slopes", slopes)
        self.place = check_count("axis", axis, least=-1, most=1)
        if self.place == 0:
            raise ValueError("axis: expected -1 or 1, got 0")

    def build(self, input_shape: Shape) -> None:
        self.slope = self.add_weight(
            shape=(self.slopes,), initializer=keras.initializers.Constant(0.25), name="slope"
        )
        axes = {self.place: self.slopes} if self.slopes > 1 else None
        self.input_spec = keras.InputSpec(min_ndim=2, axes=axes)

    @in_compute_dtype
    def call(self, x: tf.Tensor) -> tf.Tensor:
        """x: (batch, ..., channels), or (batch, channels, ...) for axis 1. Returns its shape."""
        slope = tf.cast(self.slope, x.dtype)
        if self.place == 1 and x.shape.rank > 2:
            slope = tf.reshape(slope, (-1, *[1] * (x.shape.rank - 2)))
        return tf.where(x > 0, x, slope * x)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "slopes": self.slopes, "axis": self.place}


@keras.saving.register_keras_serializable("fourfold")
class LogSoftmax(Layer):
    """The logarithm of a softmax over any axis; Keras's own activation takes the last."""

    def __init__(self, axis: int, **kwargs: Any) -> None:
        super().__init__(autocast=False, **kwargs)
        self.axis = check_count("axis", axis, least=-LARGEST)

    @in_compute_dtype
    def call(self, x: tf.Tensor) -> tf.Tensor:
        """x: any shape that has the axis. Returns the same."""
        return tf.nn.log_softmax(x, axis=self.axis)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "axis": self.axis}


@keras.saving.register_keras_serializable("fourfold")
class TopKGating(Layer):
    """Softmax over the k largest entries of the last axis, zeros elsewhere."""

    def __init__(self, k: int, **kwargs: Any) -> None:
        super().__init__(autocast=False, **kwargs)
        k = check_count("k", k)
        self.k = k

    @in_compute_dtype
    def call(self, x: tf.Tensor) -> tf.Tensor:
        """x: (..., n), n at least k. Returns the same shape."""
        return tf.cast(top_k_gating(x, self.k), x.dtype)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "k": self.k}
