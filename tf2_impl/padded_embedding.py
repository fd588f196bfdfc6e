"""One vector for each list of token ids: the sum or mean of their embeddings.

    sum     Σ_t table[id_t], over the tokens t of a list that are not padding (id 0)
    mean    the sum, divided by the number of those tokens

The lists are padded with id 0 to one rectangular array. Row 0 of the table is zero, gets no
gradient, and never counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from numpy_infer import text
from tf2_impl.distances import l2_normalize
from tf2_impl.support.checks import (
    check_choice,
    check_count,
    check_flag,
    check_ids,
    check_seed,
)
from tf2_impl.support.ids import IdLayer, filled_up, padded_ragged
from tf2_impl.support.initializers import embedding_table
from tf2_impl.support.precision import widened

REDUCTIONS = ("mean", "sum")


def pad_token_lists(
    token_lists: Sequence[Sequence[int]] | tf.RaggedTensor, *, padding_id: int = 0
) -> tf.Tensor:
    """Ragged lists of ids as one array, short rows filled up on the right.

    Args:
        token_lists: lists of integers from 0 up, or a RaggedTensor.
        padding_id: what the rows are filled up with.
    Returns:
        A (batch, longest) int64 tensor.
    Raises:
        TypeError: for ids that are no integers. ValueError: for no lists, or a negative id.
    Example:
        >>> pad_token_lists([[3, 1, 2], [7]]).numpy().tolist()
        [[3, 1, 2], [7, 0, 0]]
    """
    if isinstance(token_lists, tf.RaggedTensor):
        return padded_ragged(token_lists, padding_id)
    return tf.constant(text.pad_token_lists(token_lists, padding_id=padding_id))


@keras.saving.register_keras_serializable("fourfold")
class PaddedEmbedding(IdLayer):
    """Sum or mean of the embeddings of each row's tokens.

    Args:
        vocabulary_size: rows of the table, the padding's row 0 included.
        dim: width of the table.
        reduce: "mean" or "sum".
        unit_norm: whether each result is scaled to length 1.
        seed: of the table's start.
    The table's gradient is an IndexedSlices, with the rows of the batch's tokens only.
    Example:
        >>> embedding = PaddedEmbedding(vocabulary_size=9, dim=5)
        >>> embedding(pad_token_lists([[3, 1, 2], [7]])).shape
        TensorShape([2, 5])
    """

    def __init__(
        self,
        vocabulary_size: int,
        dim: int,
        *,
        reduce: str = "mean",
        unit_norm: bool = False,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        vocabulary_size = check_count("vocabulary_size", vocabulary_size)
        dim = check_count("dim", dim)
        check_choice("reduce", reduce, REDUCTIONS)
        unit_norm = check_flag("unit_norm", unit_norm)
        seed = check_seed("seed", seed)
        self.config = {
            "vocabulary_size": vocabulary_size,
            "dim": dim,
            "reduce": reduce,
            "unit_norm": unit_norm,
        }
        self.reduce = reduce
        self.unit_norm = unit_norm
        self.table = embedding_table(self, vocabulary_size, dim, seed=seed)

    def call(self, ids: tf.Tensor | tf.RaggedTensor) -> tf.Tensor:
        """ids: (batch, longest) integers in 0..vocabulary_size−1. Returns (batch, dim).

        A row of padding only gives zeros. ValueError for an id outside the table.
        """
        ids = filled_up(ids)
        check_ids("ids", ids, self.table.shape[0])
        ids = tf.cast(ids, tf.int64)  # gather takes no narrower ids
        # Only real tokens are looked up: padding costs nothing, and row 0 gets no gradient.
        indices = tf.where(ids != 0)  # (tokens, 2)
        rows, tokens = indices[:, 0], tf.gather_nd(ids, indices)
        batch = tf.shape(ids, out_type=tf.int64)[0]
        vectors = widened(tf.gather(self.table, tokens))  # (tokens, dim)
        vectors = tf.math.unsorted_segment_sum(vectors, rows, batch)  # (batch, dim)
        if self.reduce == "mean":
            count = tf.math.count_nonzero(ids, axis=1, keepdims=True, dtype=vectors.dtype)
            vectors /= tf.maximum(count, 1)
        vectors = l2_normalize(vectors) if self.unit_norm else vectors
        return tf.cast(vectors, self.compute_dtype)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), **self.config}
