"""Word encoder: the characters of a word to one vector, by a convolution and a maximum over time.

    c_t      = Σ_k table[id_{t+k}]·W_k + b, for each window of `width` characters in the word
    word     = max over t of c_t
    sentence = last state of a GRU over the vectors of its words

A word shorter than the width is extended with zero vectors to one window. Windows that reach into
the padding do not count, so that a word's vector does not depend on the other words of the batch.
There is no activation: tanh, which Kim et al. apply before the maximum, may as well follow it.

Sources: Kim et al. (2015), arXiv 1508.06615 (character-aware neural language models); an article
that feeds such vectors to a recurrent network in the place of a table of words.
"""

from __future__ import annotations

import math
from typing import Any

import keras
import tensorflow as tf

from tf2_impl.layers.convolution import on_rows
from tf2_impl.layers.pooling import max_over_time
from tf2_impl.layers.recurrent import last_states, make_gru
from tf2_impl.support.checks import (
    check_count,
    check_flag,
    check_integers,
    check_right_padded,
)
from tf2_impl.support.ids import IdLayer, filled_up, right_padded_ids
from tf2_impl.support.initializers import GlorotUniform, embedding_table
from tf2_impl.support.linear import convolution_start, make_convolution


@keras.saving.register_keras_serializable("fourfold")
class CharWordEncoder(IdLayer):
    """The vectors of words, each from its characters, all words at once.

    Args:
        vocabulary_size: rows of the characters' table, the padding's row 0 included.
        char_dim: width of the characters' table.
        n_filters: width of a word's vector.
        width: how many characters a filter sees.
        seed: of the initial weights.
    Raises:
        TypeError, ValueError: an argument of the wrong kind or out of range.
    Example:
        >>> CharWordEncoder(vocabulary_size=9)(tf.constant([[3, 1, 2, 5], [7, 4, 0, 0]])).shape
        TensorShape([2, 10])
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
        self.width = width = check_count("width", width)
        sizes = {"char_dim": char_dim, "n_filters": n_filters, "width": width}
        self.config = {"vocabulary_size": vocabulary_size, **sizes}
        start = {"glorot": convolution_start(seed), "dtype": self.dtype_policy}
        self.table = embedding_table(self, vocabulary_size, char_dim, seed=seed)
        self.convolution = make_convolution(keras.layers.Conv1D, *sizes.values(), **start)

    def call(self, ids: tf.Tensor | tf.RaggedTensor) -> tf.Tensor:
        """ids: (words, longest) integers in 0..vocabulary_size−1, padded with 0 on the right.

        Returns (words, n_filters), zeros for a word of padding only. Of equal windows the first
        gets the gradient. ValueError for an id outside the table, and for padding before an id.
        """
        ids, real = right_padded_ids(ids, self.table.shape[0], minimum_length=self.width)
        vectors = tf.cast(tf.gather(self.table, ids), self.compute_dtype)
        vectors = tf.where(real[..., None], vectors, tf.zeros((), vectors.dtype))
        c = on_rows(self.convolution, vectors)  # (words, windows, n_filters)
        lengths = tf.math.count_nonzero(real, axis=1, keepdims=True)
        windows = tf.range(tf.shape(c, out_type=tf.int64)[1])
        inside = windows < tf.maximum(lengths - self.width + 1, 1)  # (words, windows)
        c = tf.where(inside[..., None], c, tf.constant(-math.inf, c.dtype))
        word = max_over_time(c)
        return tf.where(lengths > 0, word, tf.zeros_like(word))


@keras.saving.register_keras_serializable("fourfold")
class SentenceEncoder(IdLayer):
    """The last state of a GRU over the words of each sentence, all sentences at once.

    Args:
        vocabulary_size: rows of the characters' table, the padding's row 0 included.
        hidden: width of the GRU's state.
        char_dim: width of the characters' table.
        n_filters: width of a word's vector.
        width: how many characters a filter sees.
        reverse: whether each sentence is read from its last word to its first.
        seed: of the initial weights.
    Raises:
        TypeError, ValueError: an argument of the wrong kind or out of range.
    Example:
        >>> ids = tf.constant([[[3, 1], [7, 0]], [[2, 5], [0, 0]]])
        >>> SentenceEncoder(vocabulary_size=9, hidden=5)(ids).shape
        TensorShape([2, 5])
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
        self.reverse = check_flag("reverse", reverse)
        sizes = {"char_dim": char_dim, "n_filters": n_filters, "width": width}
        dtype = self.dtype_policy
        self.words = CharWordEncoder(vocabulary_size, **sizes, seed=seed, dtype=dtype)
        self.words.build((None, None))
        self.config = {**self.words.config, "hidden": hidden, "reverse": self.reverse}
        glorot = GlorotUniform(seed)
        self.gru = make_gru(self.config["n_filters"], hidden, glorot=glorot, dtype=dtype)

    def call(self, ids: tf.Tensor | tf.RaggedTensor) -> tf.Tensor:
        """ids: (sentences, words, longest) integers in 0..vocabulary_size−1, padded with 0.

        The padding follows the characters of each word, and the words of each sentence. Returns
        (sentences, hidden), zeros for a sentence without words. ValueError for an id outside the
        table, and for padding before a character or before a word.
        """
        ids = filled_up(ids)
        check_integers("ids", ids, ndim=3)
        missing = tf.cast(tf.shape(ids)[1] == 0, tf.int32)
        ids = tf.pad(ids, [[0, 0], [0, missing], [0, 0]])  # a GRU takes at least one step
        real = tf.reduce_any(ids != 0, axis=2)  # (sentences, words)
        check_right_padded("ids", real)
        sentences, words, longest = tf.unstack(tf.shape(ids))
        vectors = self.words(tf.reshape(ids, (sentences * words, longest)))
        vectors = tf.reshape(vectors, (sentences, words, vectors.shape[1]))
        lengths = tf.math.count_nonzero(real, axis=1)
        return last_states(self.gru, vectors, lengths, reverse=self.reverse)
