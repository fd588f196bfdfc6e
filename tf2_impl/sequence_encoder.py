"""Sequence encoder: ragged sequences of token ids to one vector each, the last state of a GRU.

    h_t = GRU(dropout(table[id_t]), h_{t−1}), from h_0 = 0
    y   = h_n·W + b, or h_n itself, for a sequence of n ids

The rows of a batch are padded with id 0 on the right, and keep their order. Padding changes no
state. The same encoder can read each sequence from its last id to its first.

Sources: Cho et al. (2014), arXiv 1406.1078 (gated recurrent units); a tutorial on batches of ragged
sequences in PyTorch, which classifies subtitles by an embedding, a GRU and a linear layer.
"""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from tf2_impl.layers.recurrent import last_states, make_gru
from tf2_impl.support.checks import check_count, check_flag, check_rate, check_seed
from tf2_impl.support.ids import IdLayer, right_padded_ids
from tf2_impl.support.initializers import GlorotUniform, embedding_table
from tf2_impl.support.linear import make_linear


@keras.saving.register_keras_serializable("fourfold")
class SequenceEncoder(IdLayer):
    """The last state of a GRU over each sequence of ids, with or without a projection.

    Args:
        vocabulary_size: rows of the table, the padding's row 0 included.
        embedding_dim: width of the table.
        hidden: width of the GRU's state.
        out_features: width of the projection, or None for no projection.
        dropout: the share of the embeddings' entries that is set to zero in training, 0 ≤ p < 1.
        reverse: whether each sequence is read from its last id to its first.
        seed: of the initial weights and of the dropout.
    Raises:
        TypeError, ValueError: an argument of the wrong kind or out of range.
    Example:
        >>> encoder = SequenceEncoder(vocabulary_size=9, embedding_dim=5, hidden=3)
        >>> encoder(tf.constant([[3, 1, 2], [7, 0, 0]])).shape
        TensorShape([2, 3])
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
        dropout = check_rate("dropout", dropout)
        reverse = check_flag("reverse", reverse)
        seed = check_seed("seed", seed)
        self.config = {
            "vocabulary_size": vocabulary_size,
            "embedding_dim": embedding_dim,
            "hidden": hidden,
            "out_features": out_features,
            "dropout": dropout,
            "reverse": reverse,
        }
        self.reverse = reverse
        glorot, dtype = GlorotUniform(seed), self.dtype_policy
        self.table = embedding_table(self, vocabulary_size, embedding_dim, seed=seed)
        self.dropout = keras.layers.Dropout(dropout, seed=seed, dtype=dtype)
        self.gru = make_gru(embedding_dim, hidden, glorot=glorot, dtype=dtype)
        self.projection = None
        if out_features is not None:
            self.projection = make_linear(hidden, out_features, glorot=glorot, dtype=dtype)

    def call(self, ids: tf.Tensor | tf.RaggedTensor, training: bool | None = None) -> tf.Tensor:
        """ids: (batch, longest) integers in 0..vocabulary_size−1, padded on the right with 0.

        Returns (batch, hidden), or (batch, out_features) after a projection. The state of a row of
        padding only is zero. ValueError for an id outside the table, and for padding before an id.
        """
        # A GRU takes at least one step.
        ids, real = right_padded_ids(ids, self.table.shape[0], minimum_length=1)  # (batch, time)
        vectors = tf.cast(tf.gather(self.table, ids), self.compute_dtype)
        vectors = self.dropout(vectors, training=training)  # (batch, time, embedding_dim)
        lengths = tf.math.count_nonzero(real, axis=1)
        states = last_states(self.gru, vectors, lengths, reverse=self.reverse)  # (batch, hidden)
        return states if self.projection is None else self.projection(states)
