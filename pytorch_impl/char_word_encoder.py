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

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pytorch_impl.layers.recurrent import last_states, make_gru
from pytorch_impl.support.checks import (
    check_count,
    check_flag,
    check_ids,
    check_integers,
    check_right_padded,
)
from pytorch_impl.support.configured import ConfiguredModule
from pytorch_impl.support.initializers import embedding_table, generator
from pytorch_impl.support.linear import make_convolution


class CharWordEncoder(ConfiguredModule):
    """Padded ids of characters to one vector for each word, all words at once.

    vocabulary_size counts the padding's row 0. char_dim: of the characters' vectors, n_filters: of
    the words'. width: how many characters a filter sees. sparse asks for a sparse gradient of the
    table.
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
        width = check_count("width", width)
        sparse = check_flag("sparse", sparse)
        self.config = {
            "vocabulary_size": vocabulary_size,
            "char_dim": char_dim,
            "n_filters": n_filters,
            "width": width,
        }
        self.width = width
        self.sparse = sparse
        start = generator(seed)
        self.table = embedding_table(vocabulary_size, char_dim, generator=start)
        sizes = char_dim, n_filters, width
        self.convolution = make_convolution(nn.Conv1d, *sizes, generator=start)

    def forward(self, ids: Tensor) -> Tensor:
        """ids: (words, longest) integers in 0..vocabulary_size−1, 0 behind the real ones alone.

        Returns (words, n_filters), zeros for a word of padding only. Of equal windows the first
        gets the gradient. ValueError for an id outside the table, and for padding before an id.
        """
        check_ids("ids", ids, self.table.shape[0])
        ids = F.pad(ids, (0, max(0, self.width - ids.shape[1])))
        real = ids != 0
        check_right_padded("ids", real)
        vectors = F.embedding(ids.long(), self.table, sparse=self.sparse)
        vectors = vectors.masked_fill(~real[..., None], 0)
        found = self.convolution(vectors.mT)
        lengths = real.sum(1, keepdim=True)
        windows = torch.arange(found.shape[2], device=ids.device)
        inside = windows < (lengths - self.width + 1).clamp_min(1)
        # Not amax, which would share the gradient out among equals.
        largest = found.masked_fill(~inside[:, None], -math.inf).max(2).values
        return largest.masked_fill(lengths == 0, 0)


class SentenceEncoder(ConfiguredModule):
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
        sparse: bool = False,
        seed: int | None = None,
    ) -> None:
        super().__init__()
        hidden = check_count("hidden", hidden)
        vocabulary_size = check_count("vocabulary_size", vocabulary_size)
        reverse = check_flag("reverse", reverse)
        char_dim = check_count("char_dim", char_dim)
        n_filters = check_count("n_filters", n_filters)
        width = check_count("width", width)
        sizes = {"char_dim": char_dim, "n_filters": n_filters, "width": width}
        self.words = CharWordEncoder(vocabulary_size, **sizes, sparse=sparse, seed=seed)
        self.config = {
            "vocabulary_size": vocabulary_size,
            "hidden": hidden,
            **sizes,
            "reverse": reverse,
        }
        self.reverse = reverse
        self.gru = make_gru(n_filters, hidden, generator=generator(seed))

    def forward(self, ids: Tensor) -> Tensor:
        """ids: (sentences, words, longest) integers in 0..vocabulary_size−1, padded with 0.

        Padding stands behind the characters of each word and behind the words of each sentence
        alone. Returns (sentences, hidden), zeros for a sentence without words. ValueError for an
        id outside the table, and for padding in any other place.
        """
        check_integers("ids", ids, ndim=3)
        ids = F.pad(ids, (0, 0, 0, int(ids.shape[1] == 0)))  # a GRU takes at least one step
        real = (ids != 0).any(2)
        check_right_padded("ids", real)
        vectors = self.words(ids.flatten(0, 1)).unflatten(0, ids.shape[:2])
        return last_states(self.gru, vectors, real.sum(1), reverse=self.reverse)
