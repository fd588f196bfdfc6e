"""Layers that chains need and Keras does not have, and those of its own that it says otherwise.

Data is channels-last, as everywhere in TensorFlow: (batch, *space, channels). Convolutions and
pools are in files of their own.
"""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tf2_impl.checks import LARGEST, check_count, check_ids, check_number, check_seed, size
from tf2_impl.distances import l2_normalize
from tf2_impl.ids import IdLayer, filled_up
from tf2_impl.initializers import EmbeddingTable
from tf2_impl.layer import Layer
from tf2_impl.precision import in_compute_dtype
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
class Embedding(IdLayer):
    """The vectors of ids, of which 0 is padding: its row is zero and gets no gradient.

    vocabulary_size counts row 0. In a `keras.Sequential` a `keras.Input` must say that ids are
    integers. The gradient of the table is an IndexedSlices.
    """

    def __init__(
        self, vocabulary_size: int, dim: int, *, seed: int | None = None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        vocabulary_size = check_count("vocabulary_size", vocabulary_size)
        dim = check_count("dim", dim)
        seed = check_seed("seed", seed)
        self.vocabulary_size = vocabulary_size
        self.dim = dim
        self.table = self.add_weight(
            shape=(vocabulary_size, dim),
            initializer=EmbeddingTable(seed),
            autocast=False,  # a cast of the whole table would make its gradient dense
            name="table",
        )

    def call(self, ids: tf.Tensor | tf.RaggedTensor) -> tf.Tensor:
        """ids: (batch, time) integers in 0..vocabulary_size−1. Returns (batch, time, dim)."""
        ids = filled_up(ids)
        check_ids("ids", ids, self.vocabulary_size)
        vectors = tf.gather(self.table, tf.cast(ids, tf.int64))
        vectors = tf.where((ids == 0)[..., None], tf.stop_gradient(vectors), vectors)
        return tf.cast(vectors, self.compute_dtype)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return *input_shape, self.dim

    def get_config(self) -> dict[str, Any]:
        sizes = {"vocabulary_size": self.vocabulary_size, "dim": self.dim}
        return {**super().get_config(), **sizes}


@keras.saving.register_keras_serializable("fourfold")
class BackwardGRU(keras.layers.GRU):
    """A GRU from right to left whose every state stands at the input that it has just read.

    `keras.layers.GRU` with go_backwards and return_sequences gives them in reversed order.
    """

    def __init__(self, units: int, **kwargs: Any) -> None:
        units = check_count("units", units)
        super().__init__(units, go_backwards=True, return_sequences=True, **kwargs)

    def call(
        self,
        sequences: tf.Tensor,
        initial_state: tf.Tensor | None = None,
        mask: tf.Tensor | None = None,
        training: bool = False,
    ) -> tf.Tensor:
        """sequences: (batch, time, features). Returns (batch, time, units)."""
        states = super().call(sequences, initial_state, mask=mask, training=training)
        return tf.reverse(states, axis=[1])

    def get_config(self) -> dict[str, Any]:
        fixed = ("go_backwards", "return_sequences")
        return {key: value for key, value in super().get_config().items() if key not in fixed}
