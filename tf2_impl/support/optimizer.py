"""What every optimizer here adds to Keras's: slices stay slices, whatever is done to them.

`tf.IndexedSlices` are the gradient of a lookup: rows, and the ids where they are added. An id may
come twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import keras
import tensorflow as tf

from tf2_impl.support.precision import single

Gradient: TypeAlias = tf.Tensor | tf.IndexedSlices


class Optimizer(keras.optimizers.Optimizer):
    """Base of the optimizers.

    Keras's own clipping makes some slices dense, and counts a row that comes twice as two. Here
    slices are clipped as the dense gradient that they stand for, and stay slices.

    The state of a half variable is in float32: a count in half precision stops.
    """

    def add_variable(
        self, shape: Any, initializer: Any = "zeros", dtype: Any = None, **kwargs: Any
    ) -> keras.Variable:
        """A variable of the state."""
        if dtype in ("float16", "bfloat16"):
            dtype = single(dtype).name
        return super().add_variable(shape, initializer, dtype, **kwargs)

    def _clip_gradients(self, grads: Sequence[Gradient]) -> list[Gradient]:
        if not (self.clipnorm or self.global_clipnorm or self.clipvalue):
            return list(grads)
        summed = [sum_rows(one) if isinstance(one, tf.IndexedSlices) else one for one in grads]
        values = [one.values if isinstance(one, tf.IndexedSlices) else one for one in summed]
        return [
            tf.IndexedSlices(value, one.indices, one.dense_shape)
            if isinstance(one, tf.IndexedSlices)
            else value
            for one, value in zip(summed, super()._clip_gradients(values), strict=True)
        ]


def sum_rows(slices: tf.IndexedSlices) -> tf.IndexedSlices:
    """The same gradient with every id once."""
    ids, places = tf.unique(slices.indices)
    values = tf.math.unsorted_segment_sum(slices.values, places, tf.size(ids))
    return tf.IndexedSlices(values, ids, slices.dense_shape)
