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

from numpy_infer.layers.convolution import Convolution
from numpy_infer.layers.recurrent import GRU, gru_shapes
from numpy_infer.support.checks import (
    check_dtype,
    check_flag,
    check_floating,
    check_integers,
    check_right_padded,
    check_width,
)
from numpy_infer.support.ids import right_padded_ids
from numpy_infer.support.layer import Layer


class CharWordEncoder(Layer):
    """The vectors of words, each from its characters, all words at once.

    Args:
        previous: the layer whose output is the ids.
        table: (vocabulary_size, char_dim). Row 0 is the padding's.
        convolution_weight, convolution_bias: (n_filters, char_dim, width) and (n_filters,).
    Raises:
        TypeError, ValueError: arrays that do not fit together.
    Example:
        >>> from numpy_infer import Input
        >>> shapes = CharWordEncoder.array_shapes(vocabulary_size=9)
        >>> encoder = CharWordEncoder(Input(), *map(np.ones, shapes.values()))
        >>> encoder(np.array([[3, 1, 2, 5], [7, 4, 0, 0]])).shape
        (2, 10)
    """

    def __init__(
        self,
        previous: Layer,
        table: np.ndarray,
        convolution_weight: np.ndarray,
        convolution_bias: np.ndarray,
    ) -> None:
        super().__init__(previous)
        window: dict[str, Any] = {"stride": [1], "padding": [[0, 0]], "dilation": [1]}
        self.convolution = Convolution(previous, convolution_weight, convolution_bias, **window)
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
        """ids: (words, longest) integers in 0..vocabulary_size−1, padded with 0 on the right.

        Returns (words, n_filters), zeros for a word of padding only. ValueError for an id outside
        the table, and for padding before an id.
        """
        ids, real = right_padded_ids(ids, len(self.table), minimum_length=self.width)
        vectors = self.table[ids]  # (words, time, char_dim)
        vectors[~real] = 0
        c = self.convolution.forward(vectors.swapaxes(1, 2))  # (words, n_filters, windows)
        lengths = real.sum(axis=1, keepdims=True)
        inside = np.arange(c.shape[2]) < np.maximum(lengths - self.width + 1, 1)  # (words, windows)
        np.copyto(c, -math.inf, where=~inside[:, None])
        word: np.ndarray = c.max(axis=2)
        word[lengths[:, 0] == 0] = 0
        return word


class SentenceEncoder(Layer):
    """The last state of a GRU over the words of each sentence, all sentences at once.

    Args:
        previous: the layer whose output is the ids.
        words_table, words_convolution_weight, words_convolution_bias: as in `CharWordEncoder`.
        gru_input_weight, gru_hidden_weight: (n_filters, 3·hidden) and (hidden, 3·hidden).
        gru_input_bias, gru_hidden_bias: (3·hidden,).
        reverse: whether each sentence is read from its last word to its first.
    Raises:
        TypeError, ValueError: arrays that do not fit together.
    Example:
        >>> from numpy_infer import Input
        >>> ids = np.array([[[3, 1], [7, 0]], [[2, 5], [0, 0]]])
        >>> shapes = SentenceEncoder.array_shapes(vocabulary_size=9, hidden=5)
        >>> SentenceEncoder(Input(), *map(np.ones, shapes.values()))(ids).shape
        (2, 5)
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
        convolution = words_convolution_weight, words_convolution_bias
        self.words = CharWordEncoder(previous, words_table, *convolution)
        weights, biases = (gru_input_weight, gru_hidden_weight), (gru_input_bias, gru_hidden_bias)
        last: dict[str, Any] = {"return_sequences": False}
        last["direction"] = "backward" if reverse else "forward"
        self.gru = GRU(previous, *weights, *biases, **last)
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
        shapes = {f"words.{name}": shape for name, shape in words.items()}
        return shapes | gru_shapes(n_filters, hidden)

    def forward(self, ids: np.ndarray) -> np.ndarray:
        """ids: (sentences, words, longest) integers in 0..vocabulary_size−1, padded with 0.

        The padding follows the characters of each word, and the words of each sentence. Returns
        (sentences, hidden), zeros for a sentence without words. ValueError for an id outside the
        table, and for padding before a character or before a word.
        """
        check_integers("ids", ids, ndim=3)
        if ids.shape[1] == 0:  # a GRU takes at least one step
            ids = np.zeros((len(ids), 1, ids.shape[2]), ids.dtype)
        real = (ids != 0).any(axis=2)  # (sentences, words)
        check_right_padded("ids", real)
        sentences, words, longest = ids.shape
        vectors = self.words.forward(ids.reshape(sentences * words, longest))
        return self.gru.forward(vectors.reshape(sentences, words, vectors.shape[1]), real)
