"""Pooling that Keras's own arguments cannot say, on (batch, *space, channels), and its undoing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from tf2_impl.layers.convolution import on_rows, resize
from tf2_impl.support.checks import check_flag, check_floating, size
from tf2_impl.support.layer import Layer
from tf2_impl.support.precision import in_compute_dtype, widened

Shape = tuple[int | None, ...]


class Pooled(NamedTuple):
    """The largest entries, and where each stands in its plane, numbered row after row (int64)."""

    values: tf.Tensor
    positions: tf.Tensor


def max_pool(x: tf.Tensor, pool_size: int) -> Pooled:
    """The largest entry of each window, the first of equals, and its position; no overlaps.

    x: (batch, *space, channels), of one or two spatial axes, each at least pool_size; both
    results are (batch, *windows, channels). A window that overhangs is left out. NaN counts as
    infinity.
    """
    plane = x if x.shape.rank == 4 else x[:, :, None]
    window = (pool_size, pool_size if plane is x else 1)
    # TensorFlow's own takes 3 for the largest of 3 and NaN.
    ranked = tf.where(tf.math.is_nan(plane), tf.constant(math.inf, x.dtype), plane)
    found = on_rows(
        lambda x: (
            tf.nn.max_pool_with_argmax(
                x, window, window, "VALID", include_batch_in_index=True
            ).argmax
        ),
        ranked,
    )
    found = found if plane is x else found[:, :, 0]
    # It numbers the entries of the whole batch, channels fastest; other frameworks those of a
    # plane.
    places = math.prod(tf.cast(n, found.dtype) for n in space_of(x))
    positions = found // tf.cast(size(x, -1), found.dtype) % places
    return Pooled(tf.gather(tf.reshape(x, (-1,)), found), positions)


def max_unpool(
    values: tf.Tensor, positions: tf.Tensor, space: Sequence[int | tf.Tensor]
) -> tf.Tensor:
    """Each value at its position, zeros elsewhere: what `max_pool` gave, and the space it had.

    values, positions: (batch, *windows, channels). Returns (batch, *space, channels).
    """
    shape = [size(values, 0), *space, size(values, -1)]
    batch, *sizes, channels = (tf.cast(n, positions.dtype) for n in shape)
    items = tf.reshape(tf.range(batch), (-1, *[1] * (len(sizes) + 1)))
    places = (items * math.prod(sizes) + positions) * channels + tf.range(channels)
    total = batch * math.prod(sizes) * channels
    return tf.reshape(tf.scatter_nd(places[..., None], values, total[None]), shape)


def max_over_time(x: tf.Tensor) -> tf.Tensor:
    """The maximum of each channel over time; the first of equal entries gets the gradient.

    x: (batch, time, channels), at least one time step. Returns (batch, channels), NaN where there
    is a NaN. `tf.reduce_max` divides the gradient among equal entries.
    """
    nan = tf.math.is_nan(x)
    first = tf.argmax(tf.where(nan, tf.constant(math.inf, x.dtype), x), axis=1)
    return tf.gather(tf.transpose(x, (0, 2, 1)), first, batch_dims=2)


def space_of(x: tf.Tensor) -> list[int | tf.Tensor]:
    """The sizes of the spatial axes, each a number where it is known while tracing."""
    return [size(x, axis) for axis in range(1, x.shape.rank - 1)]


class _Pool(Layer):
    """pool_size and strides: one number for each spatial axis; padding: (before, after)."""

    def __init__(
        self,
        pool_size: Sequence[int],
        strides: Sequence[int],
        padding: Sequence[Sequence[int]],
        **kwargs: Any,
    ) -> None:
        super().__init__(autocast=False, **kwargs)
        self.pool_size = tuple(pool_size)
        self.strides = tuple(strides)
        self.padding = tuple((before, after) for before, after in padding)

    def _padded(self, x: tf.Tensor, value: float) -> tf.Tensor:
        check_floating("x", x, ndim=len(self.pool_size) + 2)
        for axis, (before, after) in enumerate(self.padding, start=1):
            x = resize(x, axis, before, after, value)
        return x

    def get_config(self) -> dict[str, Any]:
        names = ("pool_size", "strides", "padding")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}


@keras.saving.register_keras_serializable("fourfold")
class MaxPool(_Pool):
    """Max-pooling, 1-d or 2-d, with any padding, of −∞; of equal entries the first is taken."""

    @in_compute_dtype
    def call(self, x: tf.Tensor) -> tf.Tensor:
        """x: (batch, *space, channels). Returns (batch, *windows, channels)."""
        x = self._padded(x, -math.inf)
        return tf.nn.max_pool(x, self.pool_size, self.strides, "VALID")


@keras.saving.register_keras_serializable("fourfold")
class AveragePool(_Pool):
    """Average-pooling, 1-d or 2-d, with any padding, which does not count.

    Where it counts, a ZeroPadding before Keras's own AveragePooling says the same.
    """

    @in_compute_dtype
    def call(self, x: tf.Tensor) -> tf.Tensor:
        """x: (batch, *space, channels). Returns (batch, *windows, channels)."""
        wide = widened(x)
        share = self._averages(self._padded(tf.ones_like(wide[:1, ..., :1]), 0))
        return tf.cast(self._averages(self._padded(wide, 0)) / share, x.dtype)

    def _averages(self, x: tf.Tensor) -> tf.Tensor:
        return tf.nn.avg_pool(x, self.pool_size, self.strides, "VALID")


@keras.saving.register_keras_serializable("fourfold")
class MaxUnpool(_Pool):
    """Puts pooled values back to where they were the largest; everything else is zero.

    Arguments as those of the pool, whose windows do not overlap: strides are at least pool_size.
    It finds the positions anew in what the pool was given, so that it goes with any pool.
    """

    def __init__(
        self,
        pool_size: Sequence[int],
        strides: Sequence[int],
        padding: Sequence[Sequence[int]],
        **kwargs: Any,
    ) -> None:
        super().__init__(pool_size, strides, padding, **kwargs)
        if any(step < n for n, step in zip(self.pool_size, self.strides, strict=True)):
            raise ValueError(f"strides: expected at least {self.pool_size}, got {self.strides}")

    @in_compute_dtype
    def call(self, inputs: Sequence[tf.Tensor]) -> tf.Tensor:
        """inputs: [values (batch, *windows, channels), x (batch, *space, channels), as the pool
        took it]. Returns the shape of x.
        """
        values, x = inputs
        padded = self._padded(x, -math.inf)
        rank = len(self.pool_size)
        # Every window becomes axes of its own: (batch, windows, stride, ..., channels).
        shape = [size(padded, 0)]
        for axis in range(1, rank + 1):
            windows, step = size(values, axis), self.strides[axis - 1]
            padded = resize(padded, axis, 0, windows * step - size(padded, axis), -math.inf)
            shape += [windows, step]
        split = tf.reshape(padded, [*shape, size(padded, -1)])
        for axis, width in enumerate(self.pool_size):
            split = split[(slice(None),) * (2 + 2 * axis) + (slice(width),)]
        # The places within a window come last, as one axis, and go back to where they were.
        within = range(2, 2 * rank + 1, 2)
        across = (0, *range(1, 2 * rank, 2), 2 * rank + 1)
        flat = tf.transpose(split, (*across, *within))
        flat = tf.reshape(flat, [*_shape(values), math.prod(self.pool_size)])
        first = tf.one_hot(tf.argmax(flat, axis=-1), flat.shape[-1], True, False)
        spread = tf.where(first, values[..., None], tf.zeros((), values.dtype))
        spread = tf.reshape(spread, [*_shape(values), *self.pool_size])
        back = sorted(range(2 * rank + 2), key=(*across, *within).__getitem__)
        spread = tf.transpose(spread, back)
        for axis, (width, step) in enumerate(zip(self.pool_size, self.strides, strict=True)):
            spread = resize(spread, 2 + 2 * axis, 0, step - width)
        y = tf.reshape(spread, _shape(padded))
        for axis, (before, _) in enumerate(self.padding, start=1):
            y = resize(y, axis, -before, before + size(x, axis) - size(y, axis))
        return tf.ensure_shape(y, x.shape)

    def compute_output_shape(self, input_shape: Any) -> Any:
        return input_shape[1]


class _GlobalPool(Layer):
    """keepdims: whether the spatial axes stay, with length 1."""

    def __init__(self, *, keepdims: bool = False, **kwargs: Any) -> None:
        super().__init__(autocast=False, **kwargs)
        self.keepdims = check_flag("keepdims", keepdims)
        self.input_spec = keras.InputSpec(min_ndim=3)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "keepdims": self.keepdims}


@keras.saving.register_keras_serializable("fourfold")
class GlobalAveragePool(_GlobalPool):
    """The mean over all spatial axes, of data of any rank; Keras's own is made for one."""

    @in_compute_dtype
    def call(self, x: tf.Tensor) -> tf.Tensor:
        """x: (batch, *space, channels). Returns (batch, channels), with 1s under keepdims."""
        means = tf.reduce_mean(widened(x), range(1, x.shape.rank - 1), keepdims=self.keepdims)
        return tf.cast(means, x.dtype)


@keras.saving.register_keras_serializable("fourfold")
class GlobalMaxPool(_GlobalPool):
    """The largest entry over all spatial axes, of data of any rank."""

    @in_compute_dtype
    def call(self, x: tf.Tensor) -> tf.Tensor:
        """x: (batch, *space, channels). Returns (batch, channels), with 1s under keepdims."""
        return tf.reduce_max(x, range(1, x.shape.rank - 1), keepdims=self.keepdims)


def _shape(x: tf.Tensor) -> list[int | tf.Tensor]:
    return [size(x, axis) for axis in range(x.shape.rank)]
