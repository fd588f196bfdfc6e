"""Batch and group normalization, a scale of each channel, and vectors of unit norm."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tf2_impl.distances import l2_normalize
from tf2_impl.support.checks import check_count, check_flag, check_groups, check_number
from tf2_impl.support.layer import Layer
from tf2_impl.support.precision import in_compute_dtype, widened

Shape = tuple[int | None, ...]


@keras.saving.register_keras_serializable("fourfold")
class L2Normalize(Layer):
    """x / max(‖x‖, epsilon) over the last axis."""

    def __init__(self, *, epsilon: float = 1e-12, **kwargs: Any) -> None:
        super().__init__(autocast=False, **kwargs)
        epsilon = check_number("epsilon", epsilon, above=0)
        self.epsilon = epsilon

    @in_compute_dtype
    def call(self, x: tf.Tensor) -> tf.Tensor:
        """x: (..., features). Returns the same shape."""
        return tf.cast(l2_normalize(x, epsilon=self.epsilon), x.dtype)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "epsilon": self.epsilon}


def layer_norm(norm: keras.layers.LayerNormalization, x: tf.Tensor) -> tf.Tensor:
    """norm(x) for x of (batch, features), with right derivatives of derivatives too.

    Keras's own has wrong second derivatives: `tf.nn.moments` holds the mean constant within the
    variance.
    """
    wide = widened(x)
    centered = wide - tf.reduce_mean(wide, axis=1, keepdims=True)
    variance = tf.reduce_mean(centered**2, axis=1, keepdims=True)
    unit = centered * tf.math.rsqrt(variance + norm.epsilon)
    scale, shift = (tf.cast(one, wide.dtype) for one in (norm.gamma, norm.beta))
    return tf.cast(unit * scale + shift, x.dtype)


@keras.saving.register_keras_serializable("fourfold")
class Affine(Layer):
    """x · scale + shift, for each channel, of data of any rank.

    fixed: whether training leaves scale and shift alone, as in `keras.layers.Normalization`. axis:
    −1, of channels or features, or 1, as a model file means it where no layer of channels came
    before.
    """

    def __init__(
        self, *, use_bias: bool = True, fixed: bool = False, axis: int = -1, **kwargs: Any
    ) -> None:
        super().__init__(autocast=False, **kwargs)
        self.use_bias = check_flag("use_bias", use_bias)
        self.fixed = check_flag("fixed", fixed)
        self.place = check_count("axis", axis, least=-1, most=1)
        if self.place == 0:
            raise ValueError("axis: expected -1 or 1, got 0")

    def build(self, input_shape: Shape) -> None:
        shape, trained = (input_shape[self.place],), not self.fixed
        self.scale = self.add_weight(
            shape=shape, initializer="ones", trainable=trained, name="scale"
        )
        self.shift = None
        if self.use_bias:
            self.shift = self.add_weight(
                shape=shape, initializer="zeros", trainable=trained, name="shift"
            )
        self.input_spec = keras.InputSpec(min_ndim=2, axes={self.place: shape[0]})

    @in_compute_dtype
    def call(self, x: tf.Tensor) -> tf.Tensor:
        """x: (batch, ..., channels), or (batch, channels, ...) for axis 1. Returns its shape."""
        ones = [1] * (x.shape.rank - 2) if self.place == 1 else []
        y = x * tf.reshape(tf.cast(self.scale, x.dtype), (-1, *ones))
        if self.shift is None:
            return y
        return y + tf.reshape(tf.cast(self.shift, x.dtype), (-1, *ones))

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        own = {"use_bias": self.use_bias, "fixed": self.fixed, "axis": self.place}
        return {**super().get_config(), **own}


@keras.saving.register_keras_serializable("fourfold")
class GroupNorm(Layer):
    """(x − mean of x) / √(variance of x + epsilon) · scale + shift, over each group of channels.

    Keras's own is built for one rank, and loses digits where the mean is large. As many groups as
    channels are an instance normalization. axis: −1, of channels or features, or 1, as a model file
    means it where no layer of channels came before. Source: Wu, He 2018.
    """

    def __init__(
        self, groups: int, *, epsilon: float = 1e-5, axis: int = -1, **kwargs: Any
    ) -> None:
        super().__init__(autocast=False, **kwargs)
        self.groups = check_count("groups", groups)
        self.epsilon = check_number("epsilon", epsilon, least=0)
        self.place = check_count("axis", axis, least=-1, most=1)
        if self.place == 0:
            raise ValueError("axis: expected -1 or 1, got 0")

    def build(self, input_shape: Shape) -> None:
        channels = input_shape[self.place]
        assert channels is not None
        check_groups(self.groups, channels)
        self.gamma = self.add_weight(shape=(channels,), initializer="ones", name="gamma")
        self.beta = self.add_weight(shape=(channels,), initializer="zeros", name="beta")
        self.input_spec = keras.InputSpec(min_ndim=2, axes={self.place: channels})

    @in_compute_dtype
    def call(self, x: tf.Tensor) -> tf.Tensor:
        """x: (batch, ..., channels), or (batch, channels, ...) for axis 1. Returns its shape."""
        wide = widened(x)
        rank, channels = x.shape.rank, self.gamma.shape[0]
        last = (0, *range(2, rank), 1) if self.place == 1 else range(rank)
        moved = tf.transpose(wide, last)
        places = tf.reduce_prod(tf.shape(moved)[1:-1])
        parts = (tf.shape(x)[0], places, self.groups, channels // self.groups)
        grouped = tf.reshape(moved, parts)
        centered = grouped - tf.reduce_mean(grouped, axis=(1, 3), keepdims=True)
        variance = tf.reduce_mean(centered**2, axis=(1, 3), keepdims=True)
        unit = tf.reshape(centered / tf.sqrt(variance + self.epsilon), tf.shape(moved))
        scale, shift = (tf.cast(one, wide.dtype) for one in (self.gamma, self.beta))
        y = tf.transpose(unit * scale + shift, np.argsort(last))
        return tf.cast(tf.ensure_shape(y, x.shape), x.dtype)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        own = {"groups": self.groups, "epsilon": self.epsilon, "axis": self.place}
        return {**super().get_config(), **own}


@keras.saving.register_keras_serializable("fourfold")
class BatchNorm(keras.layers.BatchNormalization):
    """Batch normalization of data of any rank; Keras's own is built for one.

    axis: −1, of channels or features, or 1, as a model file means it where no layer of channels
    came before: of rows it is the same.
    """

    def __init__(self, axis: int = -1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.place = check_count("axis", axis, least=-1, most=1)
        if self.place == 0:
            raise ValueError("axis: expected -1 or 1, got 0")

    def build(self, input_shape: Shape) -> None:
        channels = input_shape[self.place]
        super().build((None, channels))
        self.input_spec = keras.InputSpec(min_ndim=2, axes={self.place: channels})

    def call(self, x: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        """x: (batch, ..., channels), or (batch, channels, ...) for axis 1. Returns its shape."""
        rank = x.shape.rank
        last = (0, *range(2, rank), 1) if self.place == 1 else range(rank)
        moved = tf.transpose(x, last)
        flat = tf.reshape(moved, (-1, self.moving_mean.shape[0]))
        y = tf.reshape(super().call(flat, training=training), tf.shape(moved))
        return tf.ensure_shape(tf.transpose(y, np.argsort(last)), x.shape)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "axis": self.place}
