"""Ragged sequences of ids, padded with id 0 on the right, to one vector each.

    h_t = GRU(dropout(table[id_t]), h_{t−1}), from h_0 = 0
    y   = h_n·W + b, or h_n itself, after the n real ids of the sequence

Sources: Cho et al. 2014 (gated recurrent units); seed topic, who's afraid of the recurrent wolf.
"""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from tf2_impl.layers.recurrent import last_states, make_gru
from tf2_impl.support.checks import (
    check_count,
    check_flag,
    check_ids,
    check_number,
    check_right_padded,
    check_seed,
)
from tf2_impl.support.ids import IdLayer, filled_up
from tf2_impl.support.initializers import GlorotUniform, embedding_table
from tf2_impl.support.linear import make_linear


@keras.saving.register_keras_serializable("fourfold")
class SequenceEncoder(IdLayer):
    """The last real state of a GRU over each sequence of a batch, in the batch's order.

    vocabulary_size counts the padding's row 0. out_features: a projection follows, of that width.
    dropout: the share of the embeddings' entries that are zero in training. reverse: from the
    last real id to the first.
    """

    def __init__(
        self,
        vocabulary_size: int,
        embedding_dim: int,
        hidden: int,
        *,
        out_features: int | None = None,
        dropout: float = 0.1,
        reverse: bool = False,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        vocabulary_size = check_count("vocabulary_size", vocabulary_size)
        embedding_dim = check_count("embedding_dim", embedding_dim)
        hidden = check_count("hidden", hidden)
        if out_features is not None:
            out_features = check_count("out_features", out_features)
        reverse = check_flag("reverse", reverse)
        dropout = check_number("dropout", dropout, least=0)
        seed = check_seed("seed", seed)
        if dropout >= 1:
            raise ValueError(f"dropout: expected a number below 1, got {dropout}")
        self.config = {
            "vocabulary_size": vocabulary_size,
            "embedding_dim": embedding_dim,
            "hidden": hidden,
            "out_features": out_features,
            "dropout": dropout,
            "reverse": reverse,
        }
        self.reverse = reverse
        glorot = GlorotUniform(seed)
        self.table = embedding_table(self, vocabulary_size, embedding_dim, seed=seed)
        self.dropout = keras.layers.Dropout(dropout, seed=seed, dtype=self.dtype_policy)
        self.gru = make_gru(embedding_dim, hidden, glorot=glorot, dtype=self.dtype_policy)
        self.projection = None
        if out_features is not None:
            dtype = self.dtype_policy
            self.projection = make_linear(hidden, out_features, glorot=glorot, dtype=dtype)

    def call(self, ids: tf.Tensor | tf.RaggedTensor, training: bool | None = None) -> tf.Tensor:
        """ids: (batch, longest) integers in 0..vocabulary_size−1, 0 behind the real ones alone.

        Returns (batch, hidden) or (batch, out_features); a row of padding only has the state
        zero. ValueError for an id outside the table, and for padding before an id.
        """
        ids = filled_up(ids)
        check_ids("ids", ids, self.table.shape[0])
        # A GRU takes at least one step. Gather takes no narrower ids.
        missing = tf.cast(tf.shape(ids)[1] == 0, tf.int32)
        ids = tf.pad(tf.cast(ids, tf.int64), [[0, 0], [0, missing]])
        real = ids != 0
        check_right_padded("ids", real)
        vectors = tf.cast(tf.gather(self.table, ids), self.compute_dtype)
        vectors = self.dropout(vectors, training=training)
        lengths = tf.math.count_nonzero(real, axis=1)
        states = last_states(self.gru, vectors, lengths, reverse=self.reverse)
        return states if self.projection is None else self.projection(states)
