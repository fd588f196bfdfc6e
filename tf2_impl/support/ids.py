"""Padded ids, as layers read them: integers from any Keras model, ragged or filled up."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from tf2_impl.support.checks import (
    check_count,
    check_ids,
    check_integers,
    check_right_padded,
    check_values,
)
from tf2_impl.support.layer import Layer


class IdLayer(Layer):
    """Base of the layers that look ids up.

    A `keras.Sequential` that is called without a `keras.Input` would make one of the layer's
    compute dtype and cast ids to it: float32 holds those up to 2²⁴, bfloat16 those up to 256. It
    takes NotImplementedError for a layer whose shapes are known only when it runs, and then calls
    the layers one after the other on the ids as they are.
    """

    symbolic_dtype = "int64"

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(autocast=False, **kwargs)
        self.supports_jit = False  # XLA would drop the check of the ids

    def compute_output_spec(self, ids: Any, *args: Any, **kwargs: Any) -> Any:
        """What Keras asks in a symbolic call."""
        if "int" not in ids.dtype:
            raise NotImplementedError(
                f"ids: expected integers, got {ids.dtype}: say keras.Input(..., dtype='int64')"
            )
        return super().compute_output_spec(ids, *args, **kwargs)


def filled_up(ids: tf.Tensor | tf.RaggedTensor) -> tf.Tensor:
    """Ragged ids with the padding 0 behind each row, other ids as they are."""
    return ids.to_tensor() if isinstance(ids, tf.RaggedTensor) else ids


def right_padded_ids(
    ids: tf.Tensor | tf.RaggedTensor, vocabulary_size: int, *, minimum_length: int
) -> tuple[tf.Tensor, tf.Tensor]:
    """The ids, checked and padded to a minimum length, and which of them are no padding.

    Args:
        ids: (batch, longest) integers in 0..vocabulary_size−1, ragged, or each row padded on the
            right with 0.
        vocabulary_size: rows of the embedding table.
        minimum_length: shorter rows are padded to this length.
    Returns:
        ids (batch, length) int64, and real (batch, length) bool, False for padding.
    Raises:
        TypeError: ids that are not integers.
        ValueError: other than two axes, an id outside the table, or padding before an id.
    """
    ids = filled_up(ids)
    check_ids("ids", ids, vocabulary_size)
    missing = tf.maximum(minimum_length - tf.shape(ids)[1], 0)
    ids = tf.pad(tf.cast(ids, tf.int64), [[0, 0], [0, missing]])  # tf.gather needs int32 or int64
    real = ids != 0
    check_right_padded("ids", real)
    return ids, real


def padded_ragged(token_lists: tf.RaggedTensor, padding_id: int) -> tf.Tensor:
    """`pad_token_lists` of a RaggedTensor, which works in a tf.function too."""
    check_integers("token_lists", token_lists, ndim=2)
    check_values(token_lists.nrows() > 0, "token_lists", "at least one list", token_lists.nrows())
    padding_id = check_count("padding_id", padding_id, least=0)
    ids = tf.cast(token_lists.flat_values, tf.int64)
    check_values(tf.reduce_all(ids >= 0), "token_lists", "ids of at least 0", ids)
    return tf.cast(token_lists, tf.int64).to_tensor(padding_id)
