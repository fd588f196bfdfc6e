"""A gradient that arrives as a tensor where TensorFlow would send IndexedSlices."""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf


@tf.custom_gradient
def with_dense_gradient(x: tf.Tensor) -> tuple[tf.Tensor, Callable]:
    """x itself. What comes back through it is dense: repeated rows are summed in its dtype.

    `tf.gather` sends IndexedSlices back, which some gradients refuse, and which a cast to another
    dtype rounds before they are summed.
    """
    return tf.identity(x), tf.convert_to_tensor
