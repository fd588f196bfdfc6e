"""What changes the size of space, and computes nothing but copies and means of its entries."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from tf2_impl.support.checks import (
    check_choice,
    check_ends,
    check_number,
    check_sampling,
    check_space_sizes,
    check_values,
    size,
)
from tf2_impl.support.layer import Layer
from tf2_impl.support.precision import in_compute_dtype

MODES = ("constant", "reflect", "edge")
Shape = tuple[int | None, ...]


@keras.saving.register_keras_serializable("fourfold")
class Pad(Layer):
    """Entries are added at both ends of each axis of space, or cut off.

    padding: [before, after] for each of 1 to 3 axes; a negative number cuts off so many. mode:
    "constant" adds `value`, "reflect" the entries next to the end, mirrored, without the end
    itself, and "edge" repeats the end: 1 2 3 becomes 2 1 2 3 2, or 1 1 2 3 3.
    """

    def __init__(
        self,
        padding: Sequence[Sequence[int]],
        mode: str = "constant",
        value: float = 0.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(autocast=False, **kwargs)
        self.padding = check_ends("padding", padding)
        check_choice("mode", mode, MODES)
        self.mode = mode
        self.value = check_number("value", value)
        if mode != "constant" and self.value:
            raise ValueError(f"value: expected 0 with mode {mode}, got {self.value}")
        self.input_spec = keras.layers.InputSpec(ndim=2 + len(self.padding))

    @in_compute_dtype
    def call(self, x: tf.Tensor) -> tf.Tensor:
        """x: (batch, *space, channels). Returns (batch, *extended, channels)."""
        for axis, ends in enumerate(self.padding, start=1):
            n, least = size(x, axis), 1 - sum(min(end, 0) for end in ends)
            if self.mode == "reflect":
                least = max(least, max(ends) + 1)
            what = f"at least {least} places along axis {axis}"
            if not isinstance(n, int):
                check_values(n >= least, "x", what, tf.shape(x))
            elif n < least:
                raise ValueError(f"x: expected {what}, got shape {x.shape}")
        if self.mode == "constant":
            kept = [slice(max(-before, 0), min(after, 0) or None) for before, after in self.padding]
            added = [[max(end, 0) for end in ends] for ends in self.padding]
            x = x[(slice(None), *kept)]
            return tf.pad(x, [[0, 0], *added, [0, 0]], constant_values=self.value)
        for axis, (before, after) in enumerate(self.padding, start=1):
            if before or after:
                n = size(x, axis)
                index = tf.range(-before, n + after)  # from where each place is taken
                if self.mode == "reflect":
                    index = n - 1 - tf.abs(n - 1 - tf.abs(index))
                x = tf.gather(x, tf.clip_by_value(index, 0, n - 1), axis=axis)
        return x

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        space = zip(input_shape[1:-1], self.padding, strict=True)
        sizes = (None if n is None else n + sum(ends) for n, ends in space)
        return input_shape[0], *sizes, input_shape[-1]

    def get_config(self) -> dict[str, Any]:
        own = {"padding": self.padding, "mode": self.mode, "value": self.value}
        return {**super().get_config(), **own}


@keras.saving.register_keras_serializable("fourfold")
class Upsample(Layer):
    """Space becomes `scale` times as large along each of 1 to 3 axes.

    mode: "nearest" repeats each entry, "linear" is the mean of two neighbors along each axis,
    weighted by their distances from ((i + 1/2) · n / m) − 1/2 for place i of m, or with `corners`
    from i · (n − 1) / (m − 1).
    """

    def __init__(
        self, scale: Sequence[int], mode: str = "nearest", corners: bool = False, **kwargs: Any
    ) -> None:
        super().__init__(autocast=False, **kwargs)
        self.scale = check_space_sizes("scale", scale)
        self.mode, self.corners = check_sampling(mode, corners)
        self.input_spec = keras.layers.InputSpec(ndim=2 + len(self.scale))

    @in_compute_dtype
    def call(self, x: tf.Tensor) -> tf.Tensor:
        """x: (batch, *space, channels). Returns (batch, *scaled, channels)."""
        sizes = [size(x, axis) * times for axis, times in enumerate(self.scale, start=1)]
        return resized(x, sizes, self.mode, self.corners)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        space = zip(input_shape[1:-1], self.scale, strict=True)
        sizes = (None if n is None else n * times for n, times in space)
        return input_shape[0], *sizes, input_shape[-1]

    def get_config(self) -> dict[str, Any]:
        own = {"scale": self.scale, "mode": self.mode, "corners": self.corners}
        return {**super().get_config(), **own}


@keras.saving.register_keras_serializable("fourfold")
class Resize(Layer):
    """Space becomes as large as `size` says, along each of 1 to 3 axes.

    mode: "nearest" takes the entry at floor(i · n / m) for place i of m, "linear" as `Upsample`.
    """

    def __init__(
        self, size: Sequence[int], mode: str = "nearest", corners: bool = False, **kwargs: Any
    ) -> None:
        super().__init__(autocast=False, **kwargs)
        self.size = check_space_sizes("size", size)
        self.mode, self.corners = check_sampling(mode, corners)
        self.input_spec = keras.layers.InputSpec(ndim=2 + len(self.size))

    @in_compute_dtype
    def call(self, x: tf.Tensor) -> tf.Tensor:
        """x: (batch, *space, channels). Returns (batch, *size, channels)."""
        return resized(x, self.size, self.mode, self.corners)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return input_shape[0], *self.size, input_shape[-1]

    def get_config(self) -> dict[str, Any]:
        own = {"size": self.size, "mode": self.mode, "corners": self.corners}
        return {**super().get_config(), **own}


def resized(x: tf.Tensor, sizes: Sequence[Any], mode: str, corners: bool) -> tf.Tensor:
    """x, (batch, *space, channels), with the given sizes of space."""
    for axis, m in enumerate(sizes, start=1):
        n, i = size(x, axis), tf.range(m)
        if mode == "nearest":
            x = tf.gather(x, i * n // m, axis=axis)
            continue
        # From where each place is taken, as a fraction of whole numbers: no place is rounded.
        if corners:
            place, unit = i * (n - 1), tf.maximum(m - 1, 1)
        else:
            place, unit = tf.clip_by_value((2 * i + 1) * n - m, 0, 2 * m * (n - 1)), 2 * m
        lower = place // unit
        share = tf.cast(place % unit, x.dtype) / tf.cast(unit, x.dtype)
        share = tf.reshape(share, (-1, *[1] * (x.shape.rank - 1 - axis)))
        left = tf.gather(x, lower, axis=axis)
        right = tf.gather(x, tf.minimum(lower + 1, n - 1), axis=axis)
        x = left + (right - left) * share
    return x
