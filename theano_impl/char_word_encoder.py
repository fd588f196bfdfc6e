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

import numpy as np
import theano.tensor as T
from theano.tensor.var import TensorVariable

from theano_impl.layers.convolution import Convolution
from theano_impl.layers.pooling import max_over_time
from theano_impl.layers.recurrent import GRU
from theano_impl.support.checks import (
    check_count,
    check_flag,
    check_integers,
    check_right_padded,
    check_seed,
)
from theano_impl.support.ids import look_up, right_padded_ids
from theano_impl.support.initializers import embedding_table
from theano_impl.support.layer import Layer


class CharWordEncoder(Layer):
    """The vectors of words, each from its characters, all words at once.

    `.output` is (words, n_filters), zeros for a word of padding only. Of equal windows the first
    gets the gradient.

    Args:
        ids: (words, longest) integers in 0..vocabulary_size−1, padded with 0 on the right.
        vocabulary_size: rows of the characters' table, the padding's row 0 included.
        char_dim: width of the characters' table.
        n_filters: width of a word's vector.
        width: how many characters a filter sees.
        seed: of the initial weights.
    Raises:
        TypeError, ValueError: an argument of the wrong kind or out of range.
        AssertionError: when it runs, for an id outside the table, or padding before an id.
    Example:
        >>> ids = T.constant(np.array([[3, 1, 2, 5], [7, 4, 0, 0]]))
        >>> CharWordEncoder(ids, vocabulary_size=9).output.eval().shape
        (2, 10)
    """

    def __init__(
        self,
        ids: TensorVariable,
        vocabulary_size: int,
        *,
        char_dim: int = 15,
        n_filters: int = 10,
        width: int = 3,
        seed: int | None = None,
    ) -> None:
        vocabulary_size = check_count("vocabulary_size", vocabulary_size)
        char_dim = check_count("char_dim", char_dim)
        n_filters = check_count("n_filters", n_filters)
        width = check_count("width", width)
        sizes = {"char_dim": char_dim, "n_filters": n_filters, "width": width}
        super().__init__(ids, config={"vocabulary_size": vocabulary_size, **sizes})
        rng = np.random.default_rng(check_seed("seed", seed))
        table = embedding_table(vocabulary_size, char_dim, rng=rng)
        self.table = self.add_param("table", table)

        ids, real = right_padded_ids(ids, vocabulary_size, minimum_length=width)
        vectors = look_up(self.table, ids)  # (words, time, char_dim)
        vectors = T.switch(real[:, :, None], vectors, T.zeros_like(vectors))
        x, seed = vectors.dimshuffle(0, 2, 1), int(rng.integers(2**31))
        convolution = Convolution(x, char_dim, n_filters, [width], seed=seed)
        c = self.add_layer("convolution", convolution).output  # (words, n_filters, windows)
        lengths = T.sum(real, axis=1, keepdims=True)
        inside = T.arange(c.shape[2]) < T.maximum(lengths - width + 1, 1)  # (words, windows)
        c = T.switch(inside[:, None, :], c, np.asarray(-math.inf, c.dtype))
        word = max_over_time(c)
        self.output = T.switch(lengths > 0, word, T.zeros_like(word))

    @staticmethod
    def symbolic_inputs(dtype: str) -> list[TensorVariable]:
        return [T.lmatrix("ids")]


class SentenceEncoder(Layer):
    """The last state of a GRU over the words of each sentence, all sentences at once.

    `.output` is (sentences, hidden), zeros for a sentence without words.

    Args:
        ids: (sentences, words, longest) integers in 0..vocabulary_size−1, padded with 0 behind the
            characters of each word and behind the words of each sentence.
        vocabulary_size: rows of the characters' table, the padding's row 0 included.
        hidden: width of the GRU's state.
        char_dim: width of the characters' table.
        n_filters: width of a word's vector.
        width: how many characters a filter sees.
        reverse: whether each sentence is read from its last word to its first.
        seed: of the initial weights.
    Raises:
        TypeError, ValueError: an argument of the wrong kind or out of range.
        AssertionError: when it runs, for an id outside the table, or padding before a character or
            before a word.
    Example:
        >>> ids = T.constant(np.array([[[3, 1], [7, 0]], [[2, 5], [0, 0]]]))
        >>> SentenceEncoder(ids, vocabulary_size=9, hidden=5).output.eval().shape
        (2, 5)
    """

    def __init__(
        self,
        ids: TensorVariable,
        vocabulary_size: int,
        hidden: int,
        *,
        char_dim: int = 15,
        n_filters: int = 10,
        width: int = 3,
        reverse: bool = False,
        seed: int | None = None,
    ) -> None:
        hidden = check_count("hidden", hidden)
        reverse = check_flag("reverse", reverse)
        sizes = {"char_dim": char_dim, "n_filters": n_filters, "width": width}
        super().__init__(ids, config={})
        rng = np.random.default_rng(check_seed("seed", seed))
        seeds = [int(one) for one in rng.integers(2**31, size=2)]

        check_integers("ids", ids, ndim=3)
        missing = T.cast(T.eq(ids.shape[1], 0), "int64")  # a GRU takes at least one step
        padding = T.zeros((ids.shape[0], missing, ids.shape[2]), ids.dtype)
        ids = T.concatenate([ids, padding], axis=1)
        real = T.any(T.neq(ids, 0), axis=2)  # (sentences, words)
        ids = check_right_padded("ids", ids, real)
        rows = ids.reshape((ids.shape[0] * ids.shape[1], ids.shape[2]))
        encoder = CharWordEncoder(rows, vocabulary_size, **sizes, seed=seeds[0])
        self.config = {**encoder.config, "hidden": hidden, "reverse": reverse}
        vectors = self.add_layer("words", encoder).output
        vectors = vectors.reshape((ids.shape[0], ids.shape[1], vectors.shape[1]))
        last: dict[str, Any] = {"return_sequences": False}
        last["direction"] = "backward" if reverse else "forward"
        gru = GRU(vectors, self.config["n_filters"], hidden, **last, mask=real, seed=seeds[1])
        self.output = self.add_layer("gru", gru).output

    @staticmethod
    def symbolic_inputs(dtype: str) -> list[TensorVariable]:
        return [T.ltensor3("ids")]
