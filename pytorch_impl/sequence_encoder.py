"""Ragged sequences of ids, padded with id 0 on the right, to one vector each.

    h_t = GRU(dropout(table[id_t]), h_{t−1}), from h_0 = 0
    y   = h_n·W + b, or h_n itself, after the n real ids of the sequence

Sources: Cho et al. 2014 (gated recurrent units); seed topic, who's afraid of the recurrent wolf.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from pytorch_impl.layers.recurrent import last_states, make_gru
from pytorch_impl.support.checks import (
    check_count,
    check_flag,
    check_ids,
    check_number,
    check_right_padded,
)
from pytorch_impl.support.configured import ConfiguredModule
from pytorch_impl.support.initializers import embedding_table, generator
from pytorch_impl.support.linear import make_linear


class SequenceEncoder(ConfiguredModule):
    """The last real state of a GRU over each sequence of a batch, in the batch's order.

    vocabulary_size counts the padding's row 0. out_features: a projection follows, of that width.
    dropout: the share of the embeddings' entries that are zero in training. reverse: from the
    last real id to the first. sparse asks for a sparse gradient of the table.
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
        sparse: bool = False,
        seed: int | None = None,
    ) -> None:
        super().__init__()
        vocabulary_size = check_count("vocabulary_size", vocabulary_size)
        embedding_dim = check_count("embedding_dim", embedding_dim)
        hidden = check_count("hidden", hidden)
        if out_features is not None:
            out_features = check_count("out_features", out_features)
        reverse = check_flag("reverse", reverse)
        sparse = check_flag("sparse", sparse)
        dropout = check_number("dropout", dropout, least=0)
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
        self.sparse = sparse
        start = generator(seed)
        self.table = embedding_table(vocabulary_size, embedding_dim, generator=start)
        self.dropout = nn.Dropout(dropout)
        self.gru = make_gru(embedding_dim, hidden, generator=start)
        self.projection = None
        if out_features is not None:
            self.projection = make_linear(hidden, out_features, generator=start)

    def forward(self, ids: Tensor) -> Tensor:
        """ids: (batch, longest) integers in 0..vocabulary_size−1, 0 behind the real ones alone.

        Returns (batch, hidden) or (batch, out_features); a row of padding only has the state
        zero. ValueError for an id outside the table, and for padding before an id.
        """
        check_ids("ids", ids, self.table.shape[0])
        if ids.shape[1] == 0:  # a GRU takes at least one step
            ids = ids.new_zeros(ids.shape[0], 1)
        real = ids != 0
        check_right_padded("ids", real)
        vectors = self.dropout(F.embedding(ids.long(), self.table, sparse=self.sparse))
        states = last_states(self.gru, vectors, real.sum(1), reverse=self.reverse)
        return states if self.projection is None else self.projection(states)
