"""A projection whose input is dense or sparse, at a cost that grows with the non-zeros.

y = x·weight + bias
"""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from tf2_impl.support.checks import (
    check_count,
    check_dtype,
    check_flag,
    check_floating,
    check_seed,
    check_width,
)
from tf2_impl.support.initializers import GlorotUniform
from tf2_impl.support.layer import Layer
from tf2_impl.support.precision import in_compute_dtype, widened


@keras.saving.register_keras_serializable("fourfold")
class SparseProjection(Layer):
    """Projects rows of features, y = x·weight + bias; zeros that are not stored cost nothing.

    Args:
        in_features, out_features: weight is (in_features, out_features), bias (out_features,).
            Their gradients are dense.
        bias: whether there is a bias.
        seed: of the weight's start.
    Example:
        >>> x = tf.sparse.from_dense(tf.eye(4, 7))
        >>> SparseProjection(7, 3)(x).shape
        TensorShape([4, 3])
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        bias: bool = True,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(autocast=False, **kwargs)
        in_features = check_count("in_features", in_features)
        out_features = check_count("out_features", out_features)
        bias = check_flag("bias", bias)
        seed = check_seed("seed", seed)
        self.config = {"in_features": in_features, "out_features": out_features, "bias": bias}
        self.weight = self.add_weight(
            shape=(in_features, out_features), initializer=GlorotUniform(seed), name="weight"
        )
        self.bias = (
            self.add_weight(shape=(out_features,), initializer="zeros", name="bias")
            if bias
            else None
        )

    @in_compute_dtype
    def call(self, x: tf.Tensor | tf.SparseTensor) -> tf.Tensor:
        """(batch, in_features) → (batch, out_features).

        Args:
            x: dense or a SparseTensor. Entries that are stored twice are summed. A sparse x is
                data and gets no gradient.
        Raises:
            TypeError: another dtype than the weight's, or than the policy's compute dtype.
            ValueError: another number of features.
        """
        check_floating("x", x, ndim=2)
        check_dtype("x", x, self.compute_dtype)
        check_width("x", x, self.weight.shape[0])
        if isinstance(x, tf.SparseTensor):
            values = tf.stop_gradient(widened(x.values))  # TensorFlow has no such product in halves
            wide = tf.SparseTensor(x.indices, values, x.dense_shape)
            weight = tf.cast(tf.cast(self.weight, x.dtype), values.dtype)
            y = tf.cast(tf.sparse.sparse_dense_matmul(wide, weight), x.dtype)
        else:
            y = tf.matmul(x, tf.cast(self.weight, x.dtype))
        return y if self.bias is None else y + tf.cast(self.bias, x.dtype)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), **self.config}
