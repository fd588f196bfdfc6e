"""Ragged lists of token ids, padded with id 0, to one vector each.

    sum     Σ_t table[id_t]
    mean    the sum, divided by the number of tokens that are not padding

Sources: seed topics, faster embedding lookups with padding; padded word indexes for embeddings.
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
    check_integers,
    check_seed,
    check_values,
)
from tf2_impl.support.ids import IdLayer, filled_up
from tf2_impl.support.initializers import EmbeddingTable
from tf2_impl.support.precision import widened

REDUCTIONS = ("mean", "sum")


def pad_token_lists(
    token_lists: Sequence[Sequence[int]] | tf.RaggedTensor, *, padding_id: int = 0
) -> tf.Tensor:
    """Ragged lists of ids as one (batch, longest) int64 tensor, filled up on the right.

    ValueError for an empty batch or a negative id, TypeError for ids that are not integers.
    """
    if isinstance(token_lists, tf.RaggedTensor):
        return _padded(token_lists, padding_id)
    return tf.constant(text.pad_token_lists(token_lists, padding_id=padding_id))


def _padded(token_lists: tf.RaggedTensor, padding_id: int) -> tf.Tensor:
    """The same of a RaggedTensor, also while a graph is traced."""
    check_integers("token_lists", token_lists, ndim=2)
    check_values(token_lists.nrows() > 0, "token_lists", "at least one list", token_lists.nrows())
    padding_id = check_count("padding_id", padding_id, least=0)
    ids = tf.cast(token_lists.flat_values, tf.int64)
    check_values(tf.reduce_all(ids >= 0), "token_lists", "ids of at least 0", ids)
    return tf.cast(token_lists, tf.int64).to_tensor(padding_id)


@keras.saving.register_keras_serializable("fourfold")
class PaddedEmbedding(IdLayer):
    """Sum or mean of the embeddings of each row's tokens; padding neither counts nor learns.

    vocabulary_size counts the padding's row 0. unit_norm scales each result to length 1. The
    gradient of the table is an IndexedSlices, which touches the batch's rows alone.
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
        self.table = self.add_weight(
            shape=(vocabulary_size, dim),
            initializer=EmbeddingTable(seed),
            autocast=False,  # a cast of the whole table would make its gradient dense
            name="table",
        )

    def call(self, ids: tf.Tensor | tf.RaggedTensor) -> tf.Tensor:
        """ids: (batch, longest) integers in 0..vocabulary_size−1. Returns (batch, dim).

        A row of padding only gives zeros. ValueError for an id outside the table.
        """
        ids = filled_up(ids)
        check_ids("ids", ids, self.table.shape[0])
        ids = tf.cast(ids, tf.int64)  # gather takes no narrower ones
        # The real tokens alone are looked up: less work, and no gradient for the padding's row.
        places = tf.where(ids != 0)
        rows, tokens = places[:, 0], tf.gather_nd(ids, places)
        batch = tf.shape(ids, out_type=tf.int64)[0]
        vectors = widened(tf.gather(self.table, tokens))
        vectors = tf.math.unsorted_segment_sum(vectors, rows, batch)
        if self.reduce == "mean":
            count = tf.math.count_nonzero(ids, axis=1, keepdims=True, dtype=vectors.dtype)
            vectors /= tf.maximum(count, 1)
        vectors = l2_normalize(vectors) if self.unit_norm else vectors
        return tf.cast(vectors, self.compute_dtype)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), **self.config}
