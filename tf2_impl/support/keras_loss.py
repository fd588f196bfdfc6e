"""What the package's Keras losses share."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from tf2_impl.support.checks import (
    check_dtype,
    check_floating,
    check_integers,
    check_size,
    check_values,
    size,
)
from tf2_impl.support.precision import single

# From this size on a floating dtype lacks integers.
LABEL_LIMITS = {tf.float16: 2**11, tf.bfloat16: 2**8, tf.float32: 2**24, tf.float64: 2**53}


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


class LabelLoss(FloatingLoss):
    """A Keras loss of embeddings, y_pred, (n, features), and the labels of their classes, y_true.

    A subclass has `anchor_sums(embeddings, labels)`: the losses of the anchors, (n,), and the count
    that the mean divides their sum by. What Keras takes for the loss of a row is n / count times
    the loss of the anchor: its mean over the batch is the loss of the batch.

        mean    Σ_a w_a · loss_a / count,    sum    Σ_a w_a · loss_a,    none    w_a · loss_a

    The sample weights w, (n,) or (n, 1), weigh anchors: all triplets of an anchor, and not the part
    that its row has in those of other anchors. The count is not weighted, as Keras divides by the
    size of the batch.

    Labels are (n,) or (n, 1), of integers or of floating point numbers without a fraction, as Keras
    casts them. A floating dtype from whose size on whole numbers are missing (2²⁴ in float32) may
    have merged labels before they come here: such labels are refused. XLA drops this check.

    A loop of one's own may give a reference, (m, features), with its reference_labels, (m,), and
    `same`, (n, m) bool, in the place of all labels: y_true is None then.
    """

    def __init__(self, *, name: str, dtype: Any, **config: Any) -> None:
        reduction = config["reduction"]
        self.config = config
        reduction = "mean" if reduction == "active" else reduction  # Keras has no such word
        super().__init__(name=name, reduction=reduction, dtype=dtype)

    def __call__(
        self,
        y_true: tf.Tensor | None,
        y_pred: tf.Tensor,
        sample_weight: tf.Tensor | None = None,
        *,
        reference: tf.Tensor | None = None,
        reference_labels: tf.Tensor | None = None,
        same: tf.Tensor | None = None,
    ) -> tf.Tensor:
        y_pred = tf.convert_to_tensor(y_pred)
        check_floating("y_pred", y_pred, ndim=2)
        n_rows = size(y_pred, 0)
        # All that is compared goes in the place of y_true, which Keras casts to float32: that holds
        # the numbers of the classes, but not all labels.
        compared = {}
        if reference is not None:
            compared["reference"] = tf.convert_to_tensor(reference)
            check_dtype("reference", compared["reference"], y_pred.dtype)
        if same is not None:
            compared["same"] = tf.convert_to_tensor(same)
            check_dtype("same", compared["same"], tf.bool)
        if same is None or y_true is not None:
            labels = _one_for_each_row("y_true", y_true, n_rows)
            if reference_labels is not None:
                others = tf.convert_to_tensor(reference_labels)
                check_integers("reference_labels", others, ndim=1)
                check_dtype("reference_labels", others, labels.dtype)
                labels = tf.concat([labels, others], axis=0)
            numbers = class_numbers(labels)
            compared["labels"] = numbers[:n_rows]
            if reference_labels is not None:
                compared["reference_labels"] = numbers[n_rows:]
        if sample_weight is not None and tf.convert_to_tensor(sample_weight).shape.rank != 0:
            sample_weight = _one_for_each_row("sample_weight", sample_weight, n_rows)
        return super().__call__(compared, y_pred, sample_weight)

    def call(self, y_true: dict[str, tf.Tensor], y_pred: tf.Tensor) -> tf.Tensor:
        dtypes = {"reference": y_pred.dtype, "same": tf.bool}
        given = {name: tf.cast(x, dtypes.get(name, tf.int64)) for name, x in y_true.items()}
        losses, count = self.anchor_sums(y_pred, given.pop("labels", None), **given)
        if self.reduction != "mean":
            return losses
        n_rows = tf.cast(tf.shape(losses)[0], losses.dtype)
        return losses * (n_rows / tf.maximum(tf.cast(count, losses.dtype), 1))

    def anchor_sums(
        self, embeddings: tf.Tensor, labels: tf.Tensor | None, **compared: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        raise NotImplementedError


def class_numbers(labels: tf.Tensor) -> tf.Tensor:
    """The rank of each label among the labels that occur, from 0 up, (n,) int64.

    TypeError for labels that are no numbers, ValueError for floating ones that are no integers.
    """
    if labels.dtype.is_floating:
        limit = LABEL_LIMITS[labels.dtype]
        trusted = (labels == tf.floor(labels)) & (tf.abs(labels) < limit)
        wanted = f"integers, or {labels.dtype.name} without a fraction and below {limit}"
        others = tf.boolean_mask(labels, ~trusted)
        check_values(tf.size(others) == 0, "y_true", wanted, others)
    elif not labels.dtype.is_integer:
        raise TypeError(f"y_true: expected integers, got {labels.dtype.name}")
    order = tf.argsort(labels)
    ordered = tf.gather(labels, order)
    steps = tf.cast(ordered[1:] != ordered[:-1], tf.int64)  # no tf.unique: XLA has none
    numbers = tf.pad(tf.cumsum(steps), [[1, 0]])
    return tf.gather(numbers, tf.argsort(order))


def _one_for_each_row(name: str, x: tf.Tensor, n_rows: int | tf.Tensor) -> tf.Tensor:
    """x, (n,) or (n, 1), as (n,)."""
    if x is None:
        raise ValueError(f"{name}: expected shape (n,) or (n, 1), got None")
    x = tf.convert_to_tensor(x)
    rank = x.shape.rank
    if rank is not None and rank != 1 and not (rank == 2 and x.shape[1] in (1, None)):
        raise ValueError(f"{name}: expected shape (n,) or (n, 1), got shape {x.shape}")
    x = tf.reshape(x, [-1])
    check_size(name, x, 0, n_rows, "rows")
    return x
