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

from numpy_infer.layers.convolution import Convolution
from numpy_infer.layers.recurrent import GRU
from numpy_infer.support.checks import (
    check_dtype,
    check_flag,
    check_floating,
    check_ids,
    check_integers,
    check_right_padded,
    check_width,
)
from numpy_infer.support.layer import Layer


class CharWordEncoder(Layer):
    """Padded ids of characters to one vector for each word, all words at once.

    table: (vocabulary_size, char_dim), its row 0 the padding's. convolution_weight: (n_filters,
    char_dim, width), convolution_bias: (n_filters,).
    """

    def __init__(
        self,
        previous: Layer,
        table: np.ndarray,
        convolution_weight: np.ndarray,
        convolution_bias: np.ndarray,
    ) -> None:
        super().__init__(previous)
        self.convolution = Convolution(
            previous,
            convolution_weight,
            convolution_bias,
            stride=[1],
            padding=[[0, 0]],
            dilation=[1],
        )
        _, char_dim, self.width = convolution_weight.shape
        check_floating("table", table, ndim=2)
        check_dtype("table", table, convolution_weight.dtype)
        check_width("table", table, char_dim)
        self.table = table

    @staticmethod
    def array_shapes(
        vocabulary_size: int, char_dim: int = 15, n_filters: int = 10, width: int = 3
    ) -> dict[str, tuple[int, ...]]:
        """The arrays of a model file, for the configuration that the frameworks share."""
        return {
            "table": (vocabulary_size, char_dim),
            "convolution.weight": (n_filters, char_dim, width),
            "convolution.bias": (n_filters,),
        }

    def forward(self, ids: np.ndarray) -> np.ndarray:
        """ids: (words, longest) integers in 0..vocabulary_size−1, 0 behind the real ones alone.

        Returns (words, n_filters), zeros for a word of padding only. ValueError for an id outside
        the table, and for padding before an id.
        """
        check_ids("ids", ids, len(self.table))
        if ids.shape[1] < self.width:
            padding = np.zeros((len(ids), self.width - ids.shape[1]), ids.dtype)
            ids = np.concatenate([ids, padding], axis=1)
        real = ids != 0
        check_right_padded("ids", real)
        vectors = self.table[ids]
        vectors[~real] = 0
        found = self.convolution.forward(vectors.swapaxes(1, 2))
        lengths = real.sum(axis=1, keepdims=True)
        inside = np.arange(found.shape[2]) < np.maximum(lengths - self.width + 1, 1)
        np.copyto(found, -math.inf, where=~inside[:, None])
        largest: np.ndarray = found.max(axis=2)
        largest[lengths[:, 0] == 0] = 0
        return largest


class SentenceEncoder(Layer):
    """The last real state of a GRU over the words of each sentence, all sentences at once.

    The arrays of a `CharWordEncoder` and those of a `GRU`. reverse: from the last word to the
    first.
    """

    def __init__(
        self,
        previous: Layer,
        words_table: np.ndarray,
        words_convolution_weight: np.ndarray,
        words_convolution_bias: np.ndarray,
        gru_input_weight: np.ndarray,
        gru_hidden_weight: np.ndarray,
        gru_input_bias: np.ndarray,
        gru_hidden_bias: np.ndarray,
        *,
        reverse: bool = False,
    ) -> None:
        reverse = check_flag("reverse", reverse)
        super().__init__(previous)
        self.words = CharWordEncoder(
            previous, words_table, words_convolution_weight, words_convolution_bias
        )
        self.gru = GRU(
            previous,
            gru_input_weight,
            gru_hidden_weight,
            gru_input_bias,
            gru_hidden_bias,
            direction="backward" if reverse else "forward",
            return_sequences=False,
        )
        n_filters = len(words_convolution_weight)
        if len(gru_input_weight) != n_filters:
            wanted = f"a row for each of {n_filters} filters"
            raise ValueError(f"gru_input_weight: expected {wanted}, got {gru_input_weight.shape}")

    @staticmethod
    def array_shapes(
        vocabulary_size: int,
        hidden: int,
        char_dim: int = 15,
        n_filters: int = 10,
        width: int = 3,
        reverse: bool = False,
    ) -> dict[str, tuple[int, ...]]:
        """The arrays of a model file, for the configuration that the frameworks share."""
        words = CharWordEncoder.array_shapes(vocabulary_size, char_dim, n_filters, width)
        return {f"words.{name}": shape for name, shape in words.items()} | {
            "gru.input_weight": (n_filters, 3 * hidden),
            "gru.hidden_weight": (hidden, 3 * hidden),
            "gru.input_bias": (3 * hidden,),
            "gru.hidden_bias": (3 * hidden,),
        }

    def forward(self, ids: np.ndarray) -> np.ndarray:
        """ids: (sentences, words, longest) integers in 0..vocabulary_size−1, padded with 0.

        Padding stands behind the characters of each word and behind the words of each sentence
        alone. Returns (sentences, hidden), zeros for a sentence without words. ValueError for an
        id outside the table, and for padding in any other place.
        """
        check_integers("ids", ids, ndim=3)
        if ids.shape[1] == 0:  # a GRU takes at least one step
            ids = np.zeros((len(ids), 1, ids.shape[2]), ids.dtype)
        real = (ids != 0).any(axis=2)
        check_right_padded("ids", real)
        sentences, words, longest = ids.shape
        vectors = self.words.forward(ids.reshape(sentences * words, longest))
        return self.gru.forward(vectors.reshape(sentences, words, vectors.shape[1]), real)
