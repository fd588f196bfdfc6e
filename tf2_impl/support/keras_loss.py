"""What the package's Keras losses share."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from tf2_impl.support.precision import single


class FloatingLoss(keras.losses.Loss):
    """A Keras loss that refuses what Keras would cast in silence.

    Keras casts y_pred to the loss's own dtype, float32 unless told otherwise. That is the rule
    for half precision; for float64 it would lose digits unseen, and for integers it would
    give a loss for labels passed as predictions. Both are a TypeError here. A loss whose own dtype
    or policy is a half computes in float32.
    """

    def __init__(self, *, name: str, reduction: str, dtype: Any = None) -> None:
        policy = keras.dtype_policies.get(dtype or keras.config.floatx())
        dtype = single(policy.compute_dtype).name
        super().__init__(name=name, reduction=reduction, dtype=dtype)

    def __call__(
        self, y_true: tf.Tensor, y_pred: tf.Tensor, sample_weight: tf.Tensor | None = None
    ) -> tf.Tensor:
        y_pred = tf.convert_to_tensor(y_pred)
        y_true = y_pred if y_true is None else y_true  # no loss here looks at it
        if not y_pred.dtype.is_floating:
            raise TypeError(f"y_pred: expected floating point numbers, got {y_pred.dtype.name}")
        if y_pred.dtype.size > tf.as_dtype(self.dtype).size:
            raise TypeError(
                f"y_pred: expected {self.dtype}, got {y_pred.dtype.name}; "
                f"{type(self).__name__}(dtype={y_pred.dtype.name!r}) keeps it"
            )
        return super().__call__(y_true, y_pred, sample_weight=sample_weight)

    def get_config(self) -> dict[str, Any]:
        """What Keras saves of the loss: its dtype and, in `config`, a subclass's arguments."""
        return {**super().get_config(), "dtype": self.dtype, **getattr(self, "config", {})}
