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

import numpy as np
import theano.tensor as T
from theano.tensor.var import TensorVariable

from theano_impl.layers.activations import Dropout
from theano_impl.layers.projection import Projection
from theano_impl.layers.recurrent import GRU
from theano_impl.support.checks import check_count, check_flag, check_rate, check_seed
from theano_impl.support.ids import look_up, right_padded_ids
from theano_impl.support.initializers import embedding_table
from theano_impl.support.layer import Layer


class SequenceEncoder(Layer):
    """The last state of a GRU over each sequence of ids, with or without a projection.

    `.output` is (batch, hidden), or (batch, out_features) after a projection. The state of a row of
    padding only is zero.

    Args:
        ids: (batch, longest) integers in 0..vocabulary_size−1, padded on the right with 0.
        vocabulary_size: rows of the table, the padding's row 0 included.
        embedding_dim: width of the table.
        hidden: width of the GRU's state.
        out_features: width of the projection, or None for no projection.
        dropout: the share of the embeddings' entries that is set to zero in training, 0 ≤ p < 1.
        reverse: whether each sequence is read from its last id to its first.
        training: whether dropout is applied.
        seed: of the initial weights and of the dropout.
    Raises:
        TypeError, ValueError: an argument of the wrong kind or out of range.
        AssertionError: when it runs, for an id outside the table, or padding before an id.
    Example:
        >>> ids = T.constant(np.array([[3, 1, 2], [7, 0, 0]]))
        >>> SequenceEncoder(ids, vocabulary_size=9, embedding_dim=5, hidden=3).output.eval().shape
        (2, 3)
    """

    def __init__(
        self,
        ids: TensorVariable,
        vocabulary_size: int,
        embedding_dim: int,
        hidden: int,
        *,
        out_features: int | None = None,
        dropout: float = 0.1,
        reverse: bool = False,
        training: bool = False,
        seed: int | None = None,
    ) -> None:
        vocabulary_size = check_count("vocabulary_size", vocabulary_size)
        embedding_dim = check_count("embedding_dim", embedding_dim)
        hidden = check_count("hidden", hidden)
        if out_features is not None:
            out_features = check_count("out_features", out_features)
        dropout = check_rate("dropout", dropout)
        reverse = check_flag("reverse", reverse)
        training = check_flag("training", training)
        config = {
            "vocabulary_size": vocabulary_size,
            "embedding_dim": embedding_dim,
            "hidden": hidden,
            "out_features": out_features,
            "dropout": dropout,
            "reverse": reverse,
        }
        super().__init__(ids, config=config)
        rng = np.random.default_rng(check_seed("seed", seed))
        seeds = [int(one) for one in rng.integers(2**31, size=3)]
        table = embedding_table(vocabulary_size, embedding_dim, rng=rng)
        self.table = self.add_param("table", table)

        # A GRU takes at least one step.
        ids, real = right_padded_ids(ids, vocabulary_size, minimum_length=1)  # (batch, time)
        vectors = look_up(self.table, ids)  # (batch, time, embedding_dim)
        vectors = Dropout(vectors, dropout, training=training, seed=seeds[0]).output
        # Right to left, the GRU reads the padding first: its mask keeps the state at zero.
        last: dict[str, Any] = {"return_sequences": False}
        last["direction"] = "backward" if reverse else "forward"
        gru = GRU(vectors, embedding_dim, hidden, **last, mask=real, seed=seeds[1])
        self.gru = self.add_layer("gru", gru)
        self.output = self.gru.output  # (batch, hidden)
        if out_features is not None:
            projection = Projection(self.output, hidden, out_features, seed=seeds[2])
            self.output = self.add_layer("projection", projection).output

    @staticmethod
    def symbolic_inputs(dtype: str) -> list[TensorVariable]:
        return [T.lmatrix("ids")]
