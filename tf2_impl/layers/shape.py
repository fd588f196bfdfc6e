"""Flattening, moving the channels, a part of an axis. Data is (batch, *space, channels)."""

from __future__ import annotations

import math
from typing import Any

import keras
import tensorflow as tf

from tf2_impl.support.checks import check_count, size
from tf2_impl.support.layer import Layer
from tf2_impl.support.precision import in_compute_dtype

Shape = tuple[int | None, ...]


@keras.saving.register_keras_serializable("fourfold")
class Flatten(Layer):
    """(batch, *space, channels) to (batch, channels · space), channels slowest.

    This is the order of every other framework: a projection behind it has its rows as they have
    them. Keras's own Flatten puts the channels last.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(autocast=False, **kwargs)

    @in_compute_dtype
    def call(self, x: tf.Tensor) -> tf.Tensor:
        """x: (batch, *space, channels)."""
        rank = x.shape.rank
        x = tf.transpose(x, (0, rank - 1, *range(1, rank - 1)))
        return tf.reshape(x, (size(x, 0), math.prod(size(x, axis) for axis in range(1, rank))))

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        sizes = input_shape[1:]
        return input_shape[0], None if None in sizes else math.prod(sizes)  # type: ignore[arg-type]


@keras.saving.register_keras_serializable("fourfold")
class RowMajorFlatten(Layer):
    """(batch, ...) to (batch, everything), in the order in which it lies.

    What the Flatten of a model file does with data of which no layer has said that it has
    channels. `keras.layers.Flatten` computes the same; of pictures, it is saved as if they came
    channels-first elsewhere.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(autocast=False, **kwargs)

    @in_compute_dtype
    def call(self, x: tf.Tensor) -> tf.Tensor:
        """x: (batch, ...)."""
        sizes = [size(x, axis) for axis in range(x.shape.rank)]
        return tf.reshape(x, (sizes[0], math.prod(sizes[1:])))

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        sizes = input_shape[1:]
        return input_shape[0], None if None in sizes else math.prod(sizes)  # type: ignore[arg-type]


@keras.saving.register_keras_serializable("fourfold")
class MoveChannelsFirst(Layer):
    """Moves the last axis to place 1, before a layer that means the axes of a model file.

    A file has (batch, channels, *space), of which a projection takes the last axis of space:
    here channels are last. In the file there is nothing in its place.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(autocast=False, **kwargs)

    @in_compute_dtype
    def call(self, x: tf.Tensor) -> tf.Tensor:
        """x: (batch, *space, channels). Returns (batch, channels, *space)."""
        rank = x.shape.rank
        return tf.transpose(x, (0, rank - 1, *range(1, rank - 1)))

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return input_shape[0], input_shape[-1], *input_shape[1:-1]


@keras.saving.register_keras_serializable("fourfold")
class MoveChannelsLast(Layer):
    """Moves axis 1 to the end: what undoes `MoveChannelsFirst`."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(autocast=False, **kwargs)

    @in_compute_dtype
    def call(self, x: tf.Tensor) -> tf.Tensor:
        """x: (batch, channels, *space). Returns (batch, *space, channels)."""
        return tf.transpose(x, (0, *range(2, x.shape.rank), 1))

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return input_shape[0], *input_shape[2:], input_shape[1]


@keras.saving.register_keras_serializable("fourfold")
class ChannelsFirst(Layer):
    """Nothing here, where channels are last throughout; in a model file the last axis moves to 1.

    Saving adds it where a layer needs it. What else a file has of them must not get lost.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(autocast=False, **kwargs)

    @in_compute_dtype
    def call(self, x: tf.Tensor) -> tf.Tensor:
        """x: any shape. Returns x."""
        return x


@keras.saving.register_keras_serializable("fourfold")
class ChannelsLast(ChannelsFirst):
    """Nothing here, as `ChannelsFirst`; in a model file axis 1 moves to the end."""


@keras.saving.register_keras_serializable("fourfold")
class Slice(Layer):
    """What stands from `start` up to, but not including, `stop` along the last axis, or axis 1."""

    def __init__(self, start: int, stop: int, axis: int = -1, **kwargs: Any) -> None:
        super().__init__(autocast=False, **kwargs)
        self.start = check_count("start", start, least=0)
        self.stop = check_count("stop", stop, least=self.start + 1)
        self.axis = check_count("axis", axis, least=-1, most=1)
        if self.axis == 0:
            raise ValueError("axis: expected -1 or 1, got 0")

    @in_compute_dtype
    def call(self, x: tf.Tensor) -> tf.Tensor:
        """x: at least `stop` places along the axis."""
        places = x.shape[self.axis]
        if places is not None and places < self.stop:
            wanted = f"at least {self.stop} places along axis {self.axis}"
            raise ValueError(f"x: expected {wanted}, got shape {tuple(x.shape)}")
        return x[:, self.start : self.stop] if self.axis == 1 else x[..., self.start : self.stop]

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        shape = list(input_shape)
        shape[self.axis] = self.stop - self.start
        return tuple(shape)

    def get_config(self) -> dict[str, Any]:
        own = {"start": self.start, "stop": self.stop, "axis": self.axis}
        return {**super().get_config(), **own}
