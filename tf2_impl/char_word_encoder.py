"""Words from their characters: a convolution over the positions, and its largest value over time.

    c_t = Σ_k table[id_{t+k}]·W_k + b, for every window of `width` characters in the word
    word = max over t of c_t

The windows are those inside the word; a word that is shorter than the width is filled up with
zeros to one window. So padding never counts, and a word's vector does not depend on the words
beside it. There is no activation: the tanh of Kim et al. keeps the order, and may as well follow.
A sentence is the last state of a GRU over its words.

Sources: Kim et al. 2015 (character-aware neural language models, arXiv 1508.06615); seed topic,
character-based neural language models.
"""

from __future__ import annotations

import math
from typing import Any

import keras
import tensorflow as tf

from tf2_impl.layers.convolution import on_rows
from tf2_impl.layers.recurrent import last_states, make_gru
from tf2_impl.support.checks import (
    check_count,
    check_flag,
    check_ids,
    check_integers,
    check_right_padded,
    check_seed,
)
from tf2_impl.support.ids import IdLayer, filled_up
from tf2_impl.support.initializers import GlorotUniform, embedding_table


@keras.saving.register_keras_serializable("fourfold")
class CharWordEncoder(IdLayer):
    """Padded ids of characters to one vector for each word, all words at once.

    vocabulary_size counts the padding's row 0. char_dim: of the characters' vectors, n_filters: of
    the words'. width: how many characters a filter sees.
    """

    def __init__(
        self,
        vocabulary_size: int,
        *,
        char_dim: int = 15,
        n_filters: int = 10,
        width: int = 3,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        vocabulary_size = check_count("vocabulary_size", vocabulary_size)
        char_dim = check_count("char_dim", char_dim)
        n_filters = check_count("n_filters", n_filters)
        width = check_count("width", width)
        seed = check_seed("seed", seed)
        self.config = {
            "vocabulary_size": vocabulary_size,
            "char_dim": char_dim,
            "n_filters": n_filters,
            "width": width,
        }
        self.width = width
        self.table = embedding_table(self, vocabulary_size, char_dim, seed=seed)
        self.convolution = keras.layers.Conv1D(
            n_filters,
            width,
            kernel_initializer=keras.initializers.GlorotUniform(seed),
            dtype=self.dtype_policy,
        )
        self.convolution.build((None, None, char_dim))

    def call(self, ids: tf.Tensor | tf.RaggedTensor) -> tf.Tensor:
        """ids: (words, longest) integers in 0..vocabulary_size−1, 0 behind the real ones alone.

        Returns (words, n_filters), zeros for a word of padding only. Of equal windows the first
        gets the gradient. ValueError for an id outside the table, and for padding before an id.
        """
        ids = filled_up(ids)
        check_ids("ids", ids, self.table.shape[0])
        missing = tf.maximum(self.width - tf.shape(ids)[1], 0)
        ids = tf.pad(tf.cast(ids, tf.int64), [[0, 0], [0, missing]])  # gather takes no narrower
        real = ids != 0
        check_right_padded("ids", real)
        vectors = tf.cast(tf.gather(self.table, ids), self.compute_dtype)
        vectors = tf.where(real[..., None], vectors, tf.zeros((), vectors.dtype))
        found = on_rows(self.convolution, vectors)
        lengths = tf.math.count_nonzero(real, axis=1, keepdims=True)
        windows = tf.range(tf.shape(found, out_type=tf.int64)[1])
        inside = windows < tf.maximum(lengths - self.width + 1, 1)
        found = tf.where(inside[..., None], found, tf.constant(-math.inf, found.dtype))
        # Not reduce_max, which would share the gradient out among equals.
        nan = tf.math.is_nan(found)
        first = tf.argmax(tf.where(nan, tf.constant(math.inf, found.dtype), found), axis=1)
        largest = tf.gather(tf.transpose(found, (0, 2, 1)), first, batch_dims=2)
        return tf.where(lengths > 0, largest, tf.zeros_like(largest))


@keras.saving.register_keras_serializable("fourfold")
class SentenceEncoder(IdLayer):
    """The last real state of a GRU over the words of each sentence, all sentences at once.

    Arguments as for `CharWordEncoder`. hidden: the width of the state. reverse: from the last
    word to the first.
    """

    def __init__(
        self,
        vocabulary_size: int,
        hidden: int,
        *,
        char_dim: int = 15,
        n_filters: int = 10,
        width: int = 3,
        reverse: bool = False,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        hidden = check_count("hidden", hidden)
        vocabulary_size = check_count("vocabulary_size", vocabulary_size)
        reverse = check_flag("reverse", reverse)
        char_dim = check_count("char_dim", char_dim)
        n_filters = check_count("n_filters", n_filters)
        width = check_count("width", width)
        seed = check_seed("seed", seed)
        sizes = {"char_dim": char_dim, "n_filters": n_filters, "width": width}
        dtype = self.dtype_policy
        self.words = CharWordEncoder(vocabulary_size, **sizes, seed=seed, dtype=dtype)
        self.words.build((None, None))
        self.config = {
            "vocabulary_size": vocabulary_size,
            "hidden": hidden,
            **sizes,
            "reverse": reverse,
        }
        self.reverse = reverse
        self.gru = make_gru(n_filters, hidden, glorot=GlorotUniform(seed), dtype=dtype)

    def call(self, ids: tf.Tensor | tf.RaggedTensor) -> tf.Tensor:
        """ids: (sentences, words, longest) integers in 0..vocabulary_size−1, padded with 0.

        Padding stands behind the characters of each word and behind the words of each sentence
        alone. Returns (sentences, hidden), zeros for a sentence without words. ValueError for an
        id outside the table, and for padding in any other place.
        """
        ids = filled_up(ids)
        check_integers("ids", ids, ndim=3)
        missing = tf.cast(tf.shape(ids)[1] == 0, tf.int32)
        ids = tf.pad(ids, [[0, 0], [0, missing], [0, 0]])  # a GRU takes at least one step
        real = tf.reduce_any(ids != 0, axis=2)
        check_right_padded("ids", real)
        sentences, words, longest = tf.unstack(tf.shape(ids))
        vectors = self.words(tf.reshape(ids, (sentences * words, longest)))
        vectors = tf.reshape(vectors, (sentences, words, vectors.shape[1]))
        lengths = tf.math.count_nonzero(real, axis=1)
        return last_states(self.gru, vectors, lengths, reverse=self.reverse)
