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

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pytorch_impl.layers.recurrent import last_states, make_gru
from pytorch_impl.support.checks import (
    check_count,
    check_flag,
    check_integers,
    check_right_padded,
)
from pytorch_impl.support.configured import ConfiguredModule
from pytorch_impl.support.ids import right_padded_ids
from pytorch_impl.support.initializers import embedding_table, generator
from pytorch_impl.support.linear import make_convolution


class CharWordEncoder(ConfiguredModule):
    """The vectors of words, each from its characters, all words at once.

    Args:
        vocabulary_size: rows of the characters' table, the padding's row 0 included.
        char_dim: width of the characters' table.
        n_filters: width of a word's vector.
        width: how many characters a filter sees.
        sparse: whether the table's gradient is sparse, with the rows of the batch's ids only.
        seed: of the initial weights.
    Raises:
        TypeError, ValueError: an argument of the wrong kind or out of range.
    Example:
        >>> CharWordEncoder(vocabulary_size=9)(torch.tensor([[3, 1, 2, 5], [7, 4, 0, 0]])).shape
        torch.Size([2, 10])
    """

    def __init__(
        self,
        vocabulary_size: int,
        *,
        char_dim: int = 15,
        n_filters: int = 10,
        width: int = 3,
        sparse: bool = False,
        seed: int | None = None,
    ) -> None:
        super().__init__()
        vocabulary_size = check_count("vocabulary_size", vocabulary_size)
        char_dim = check_count("char_dim", char_dim)
        n_filters = check_count("n_filters", n_filters)
        self.width = width = check_count("width", width)
        self.sparse = check_flag("sparse", sparse)
        sizes = {"char_dim": char_dim, "n_filters": n_filters, "width": width}
        self.config = {"vocabulary_size": vocabulary_size, **sizes}
        start = generator(seed)
        self.table = embedding_table(vocabulary_size, char_dim, generator=start)
        self.convolution = make_convolution(nn.Conv1d, *sizes.values(), generator=start)

    def forward(self, ids: Tensor) -> Tensor:
        """ids: (words, longest) integers in 0..vocabulary_size−1, padded with 0 on the right.

        Returns (words, n_filters), zeros for a word of padding only. Of equal windows the first
        gets the gradient. ValueError for an id outside the table, and for padding before an id.
        """
        ids, real = right_padded_ids(ids, self.table.shape[0], minimum_length=self.width)
        vectors = F.embedding(ids, self.table, sparse=self.sparse)  # (words, time, char_dim)
        vectors = vectors.masked_fill(~real[..., None], 0)
        c = self.convolution(vectors.mT)  # (words, n_filters, windows)
        lengths = real.sum(1, keepdim=True)
        windows = torch.arange(c.shape[2], device=ids.device)
        inside = windows < (lengths - self.width + 1).clamp_min(1)  # (words, windows)
        # Not amax, which divides the gradient among equal maxima.
        word = c.masked_fill(~inside[:, None], -math.inf).max(2).values
        return word.masked_fill(lengths == 0, 0)


class SentenceEncoder(ConfiguredModule):
    """The last state of a GRU over the words of each sentence, all sentences at once.

    Args:
        vocabulary_size: rows of the characters' table, the padding's row 0 included.
        hidden: width of the GRU's state.
        char_dim: width of the characters' table.
        n_filters: width of a word's vector.
        width: how many characters a filter sees.
        reverse: whether each sentence is read from its last word to its first.
        sparse: whether the table's gradient is sparse, with the rows of the batch's ids only.
        seed: of the initial weights.
    Raises:
        TypeError, ValueError: an argument of the wrong kind or out of range.
    Example:
        >>> ids = torch.tensor([[[3, 1], [7, 0]], [[2, 5], [0, 0]]])
        >>> SentenceEncoder(vocabulary_size=9, hidden=5)(ids).shape
        torch.Size([2, 5])
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
        sparse: bool = False,
        seed: int | None = None,
    ) -> None:
        super().__init__()
        hidden = check_count("hidden", hidden)
        self.reverse = check_flag("reverse", reverse)
        sizes = {"char_dim": char_dim, "n_filters": n_filters, "width": width}
        self.words = CharWordEncoder(vocabulary_size, **sizes, sparse=sparse, seed=seed)
        self.config = {**self.words.config, "hidden": hidden, "reverse": self.reverse}
        self.gru = make_gru(self.config["n_filters"], hidden, generator=generator(seed))

    def forward(self, ids: Tensor) -> Tensor:
        """ids: (sentences, words, longest) integers in 0..vocabulary_size−1, padded with 0.

        The padding follows the characters of each word, and the words of each sentence. Returns
        (sentences, hidden), zeros for a sentence without words. ValueError for an id outside the
        table, and for padding before a character or before a word.
        """
        check_integers("ids", ids, ndim=3)
        ids = F.pad(ids, (0, 0, 0, int(ids.shape[1] == 0)))  # a GRU takes at least one step
        real = (ids != 0).any(2)  # (sentences, words)
        check_right_padded("ids", real)
        vectors = self.words(ids.flatten(0, 1)).unflatten(0, ids.shape[:2])
        return last_states(self.gru, vectors, real.sum(1), reverse=self.reverse)
