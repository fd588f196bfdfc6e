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

import numpy as np
import theano.tensor as T
from theano.tensor.var import TensorVariable

from theano_impl.layers.convolution import Convolution
from theano_impl.layers.recurrent import GRU
from theano_impl.support.checks import (
    check_count,
    check_flag,
    check_ids,
    check_integers,
    check_right_padded,
    check_seed,
)
from theano_impl.support.initializers import embedding_table
from theano_impl.support.layer import Layer


class CharWordEncoder(Layer):
    """Padded ids of characters to one vector for each word, all words at once.

    ids: (words, longest) integers in 0..vocabulary_size−1, 0 behind the real ones alone;
    `.output` is (words, n_filters), zeros for a word of padding only. Of equal windows the first
    gets the gradient. vocabulary_size counts the padding's row 0. char_dim: of the characters'
    vectors, n_filters: of the words'. width: how many characters a filter sees. AssertionError,
    when it runs, for an id outside the table, and for padding before an id.
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
        seed = check_seed("seed", seed)
        config = {
            "vocabulary_size": vocabulary_size,
            "char_dim": char_dim,
            "n_filters": n_filters,
            "width": width,
        }
        super().__init__(ids, config=config)
        rng = np.random.default_rng(seed)
        table = embedding_table(vocabulary_size, char_dim, rng=rng)
        self.table = self.add_param("table", table)

        ids = check_ids("ids", ids, vocabulary_size)
        missing = T.maximum(width - ids.shape[1], 0)
        ids = T.concatenate([ids, T.zeros((ids.shape[0], missing), ids.dtype)], axis=1)
        real = T.neq(ids, 0)
        ids = check_right_padded("ids", ids, real)
        shape = (ids.shape[0], ids.shape[1], char_dim)
        vectors = self.table[ids.flatten()].reshape(shape)
        vectors = T.switch(real[:, :, None], vectors, T.zeros_like(vectors))
        seed = int(rng.integers(2**31))
        convolution = Convolution(
            vectors.dimshuffle(0, 2, 1), char_dim, n_filters, [width], seed=seed
        )
        found = self.add_layer("convolution", convolution).output
        lengths = T.sum(real, axis=1, keepdims=True)
        inside = T.arange(found.shape[2]) < T.maximum(lengths - width + 1, 1)
        infinity = np.asarray(math.inf, found.dtype)
        found = T.switch(inside[:, None, :], found, -infinity)
        # The gradient of T.max would go to each of equal windows.
        first = T.argmax(T.switch(T.isnan(found), infinity, found), axis=2)
        words = T.arange(found.shape[0])[:, None]
        largest = found[words, T.arange(n_filters), first]
        self.output = T.switch(lengths > 0, largest, T.zeros_like(largest))

    @staticmethod
    def symbolic_inputs(dtype: str) -> list[TensorVariable]:
        return [T.lmatrix("ids")]


class SentenceEncoder(Layer):
    """The last real state of a GRU over the words of each sentence, all sentences at once.

    ids: (sentences, words, longest) integers in 0..vocabulary_size−1, padded with 0 behind the
    characters of each word and behind the words of each sentence alone; `.output` is (sentences,
    hidden), zeros for a sentence without words. Arguments as for `CharWordEncoder`. hidden: the
    width of the state. reverse: from the last word to the first. AssertionError, when it runs, for
    an id outside the table, and for padding in any other place.
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
        vocabulary_size = check_count("vocabulary_size", vocabulary_size)
        reverse = check_flag("reverse", reverse)
        char_dim = check_count("char_dim", char_dim)
        n_filters = check_count("n_filters", n_filters)
        width = check_count("width", width)
        seed = check_seed("seed", seed)
        sizes = {"char_dim": char_dim, "n_filters": n_filters, "width": width}
        config = {"vocabulary_size": vocabulary_size, "hidden": hidden, **sizes, "reverse": reverse}
        super().__init__(ids, config=config)
        seeds = [int(one) for one in np.random.default_rng(seed).integers(2**31, size=2)]

        check_integers("ids", ids, ndim=3)
        missing = T.cast(T.eq(ids.shape[1], 0), "int64")  # scan takes at least one step
        padding = T.zeros((ids.shape[0], missing, ids.shape[2]), ids.dtype)
        ids = T.concatenate([ids, padding], axis=1)
        real = T.any(T.neq(ids, 0), axis=2)
        ids = check_right_padded("ids", ids, real)
        sentences, words, longest = ids.shape[0], ids.shape[1], ids.shape[2]
        flat = ids.reshape((sentences * words, longest))
        encoder = CharWordEncoder(flat, vocabulary_size, **sizes, seed=seeds[0])
        vectors = self.add_layer("words", encoder).output
        gru = GRU(
            vectors.reshape((sentences, words, n_filters)),
            n_filters,
            hidden,
            direction="backward" if reverse else "forward",
            return_sequences=False,
            mask=real,
            seed=seeds[1],
        )
        self.output = self.add_layer("gru", gru).output

    @staticmethod
    def symbolic_inputs(dtype: str) -> list[TensorVariable]:
        return [T.ltensor3("ids")]
