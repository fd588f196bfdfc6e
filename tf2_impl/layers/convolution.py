"""Convolutions that Keras's own arguments cannot say, on (batch, *space, channels)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf

from tf2_impl.support.checks import check_count, check_flag, check_groups, size
from tf2_impl.support.layer import Layer
from tf2_impl.support.precision import in_compute_dtype

Shape = tuple[int | None, ...]


class _Kernel(Layer):
    """What both convolutions below are made of; `kernel` and `bias` as in Keras's own."""

    def __init__(
        self,
        filters: int,
        kernel_size: Sequence[int],
        *,
        strides: Sequence[int],
        dilation_rate: Sequence[int],
        use_bias: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        filters = check_count("filters", filters)
        self.filters = filters
        self.kernel_size = tuple(kernel_size)
        self.strides = tuple(strides)
        self.dilation_rate = tuple(dilation_rate)
        self.use_bias = check_flag("use_bias", use_bias)
        self.input_spec = keras.InputSpec(ndim=len(self.kernel_size) + 2)

    def _add_weights(self, *channels: int | None) -> None:
        self.kernel = self.add_weight(shape=(*self.kernel_size, *channels), name="kernel")
        self.bias = (
            self.add_weight(shape=(self.filters,), initializer="zeros", name="bias")
            if self.use_bias
            else None
        )

    def get_config(self) -> dict[str, Any]:
        names = ("filters", "kernel_size", "strides", "dilation_rate", "use_bias")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}


@keras.saving.register_keras_serializable("fourfold")
class Convolution(_Kernel):
    """A convolution, 1-d or 2-d, with what TensorFlow refuses: strides and dilation at once.

    Of a depthwise convolution, as many groups as channels, also strides that differ. It is computed
    at stride 1: what the strides leave out is computed too. groups: into how many parts the
    channels are divided, each of which sees its part of the input's alone.
    """

    def __init__(
        self, filters: int, kernel_size: Sequence[int], *, groups: int = 1, **kwargs: Any
    ) -> None:
        super().__init__(filters, kernel_size, **kwargs)
        self.groups = check_groups(groups, self.filters)

    def build(self, input_shape: Shape) -> None:
        channels = input_shape[-1]
        assert channels is not None
        check_groups(self.groups, channels)
        self._add_weights(channels // self.groups, self.filters)

    @in_compute_dtype
    def call(self, x: tf.Tensor) -> tf.Tensor:
        """x: (batch, *space, channels). Returns (batch, *less, filters)."""
        kernel = tf.cast(self.kernel, x.dtype)
        if self.groups == 1:
            y = on_rows(lambda x: tf.nn.convolution(x, kernel, dilations=self.dilation_rate), x)
        else:
            y = on_rows(lambda x: _grouped(x, kernel, self.groups, self.dilation_rate), x)
        steps = (slice(None, None, stride) for stride in self.strides)
        y = y[(slice(None), *steps)]
        return y if self.bias is None else y + tf.cast(self.bias, x.dtype)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "groups": self.groups}


@keras.saving.register_keras_serializable("fourfold")
class TransposedConvolution(_Kernel):
    """A transposed convolution, 1-d or 2-d, with any cut, strides and dilation.

    cut: (before, after) for each axis, taken off the full output of (n − 1) · stride +
    dilation · (kernel − 1) + 1 places; a negative "after" extends it. Dilation is made by zeros
    in the kernel: TensorFlow's own does not run on every device.
    """

    def __init__(
        self, filters: int, kernel_size: Sequence[int], cut: Sequence[Sequence[int]], **kwargs: Any
    ) -> None:
        super().__init__(filters, kernel_size, **kwargs)
        self.cut = tuple((before, after) for before, after in cut)

    def build(self, input_shape: Shape) -> None:
        self._add_weights(self.filters, input_shape[-1])

    @in_compute_dtype
    def call(self, x: tf.Tensor) -> tf.Tensor:
        """x: (batch, *space, channels). Returns (batch, *more, filters)."""
        kernel = tf.cast(self.kernel, x.dtype)
        for axis, step in enumerate(self.dilation_rate):
            kernel = _spread(kernel, axis, step)
        axes = range(len(self.strides))
        full = [(size(x, 1 + i) - 1) * self.strides[i] + kernel.shape[i] for i in axes]
        shape = (size(x, 0), *full, self.filters)
        y = tf.nn.conv_transpose(x, kernel, shape, self.strides, padding="VALID")
        for axis, (before, after) in enumerate(self.cut, start=1):
            y = resize(y, axis, -before, -after)
        return y if self.bias is None else y + tf.cast(self.bias, x.dtype)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "cut": self.cut}


def _grouped(
    x: tf.Tensor, kernel: tf.Tensor, groups: int, dilation_rate: Sequence[int]
) -> tf.Tensor:
    """A convolution in groups, at stride 1.

    A depthwise one gives what each channel adds to each filter of its group, and the sum over the
    group's channels follows: TensorFlow's own has no gradient on a CPU. kernel: (*kernel,
    channels / groups, filters).
    """
    *space, depth, filters = kernel.shape
    rank, each = len(space), filters // groups
    kernel = tf.reshape(kernel, (*space, depth, groups, each))
    kernel = tf.transpose(kernel, (*range(rank), rank + 1, rank, rank + 2))
    kernel = tf.reshape(kernel, (*space, groups * depth, each))
    if rank == 1:  # a depthwise convolution has two axes
        x, kernel, dilation_rate = x[:, None], kernel[None], (1, *dilation_rate)
    y = tf.nn.depthwise_conv2d(x, kernel, (1, 1, 1, 1), "VALID", dilations=tuple(dilation_rate))
    sizes = [size(y, axis) for axis in range(3)]
    y = tf.reduce_sum(tf.reshape(y, (*sizes, groups, depth, each)), axis=4)
    y = tf.reshape(y, (*sizes, filters))
    return y[:, 0] if rank == 1 else y


def on_rows(function: Callable[[tf.Tensor], tf.Tensor], x: tf.Tensor) -> tf.Tensor:
    """function(x), where an empty batch goes through it as one row of zeros that is cut off.

    TensorFlow's convolution, by oneDNN, gives an empty batch the shape of its input, and its
    max-pooling with positions refuses one.
    """
    rows = size(x, 0)
    if isinstance(rows, int) and rows > 0:
        return function(x)
    ends = [[0, tf.cast(tf.equal(rows, 0), tf.int32)], *[[0, 0]] * (x.shape.rank - 1)]
    return function(tf.ensure_shape(tf.pad(x, ends), (None, *x.shape[1:])))[:rows]


def resize(
    x: tf.Tensor, axis: int, before: int, after: int | tf.Tensor, value: float = 0
) -> tf.Tensor:
    """So many places more at the ends of an axis; negative numbers cut them off."""
    if isinstance(after, int):  # sizes that are known stay known
        more, fewer = max(after, 0), min(after, 0)
    else:
        more, fewer = tf.maximum(after, 0), tf.minimum(after, 0)
    ends: list[list[Any]] = [[0, 0] for _ in range(x.shape.rank)]
    ends[axis] = [max(before, 0), more]
    x = tf.pad(x, ends, constant_values=tf.constant(value, x.dtype))
    places = slice(max(-before, 0), size(x, axis) + fewer)
    return x[(slice(None),) * axis + (places,)]


def _spread(kernel: tf.Tensor, axis: int, step: int) -> tf.Tensor:
    """The kernel with step − 1 zeros between the entries along an axis."""
    if step == 1:
        return kernel
    n = kernel.shape[axis]
    spread = resize(tf.expand_dims(kernel, axis + 1), axis + 1, 0, step - 1)
    shape = list(kernel.shape)
    shape[axis] = n * step
    return resize(tf.reshape(spread, shape), axis, 0, 1 - step)
