"""Ragged sequences of ids, padded with id 0 on the right, to one vector each.

    h_t = GRU(dropout(table[id_t]), h_{t−1}), from h_0 = 0
    y   = h_n·W + b, or h_n itself, after the n real ids of the sequence

Sources: Cho et al. 2014 (gated recurrent units); seed topic, who's afraid of the recurrent wolf.
"""

from __future__ import annotations

import numpy as np
import theano.tensor as T
from theano.tensor.var import TensorVariable

from theano_impl.layers.activations import Dropout
from theano_impl.layers.projection import Projection
from theano_impl.layers.recurrent import GRU
from theano_impl.support.checks import (
    check_count,
    check_flag,
    check_ids,
    check_number,
    check_right_padded,
    check_seed,
)
from theano_impl.support.initializers import embedding_table
from theano_impl.support.layer import Layer


class SequenceEncoder(Layer):
    """The last real state of a GRU over each sequence of a batch, in the batch's order.

    ids: (batch, longest) integers in 0..vocabulary_size−1, 0 behind the real ones alone;
    `.output` is (batch, hidden) or (batch, out_features), from the state zero for a row of padding
    only. vocabulary_size counts the padding's row 0. out_features: a projection follows, of that
    width. dropout: the share of the embeddings' entries that are zero when training. reverse: from
    the last real id to the first. AssertionError, when it runs, for an id outside the table, and
    for padding before an id.
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
        reverse = check_flag("reverse", reverse)
        training = check_flag("training", training)
        dropout = check_number("dropout", dropout, least=0)
        seed = check_seed("seed", seed)
        if dropout >= 1:
            raise ValueError(f"dropout: expected a number below 1, got {dropout}")
        config = {
            "vocabulary_size": vocabulary_size,
            "embedding_dim": embedding_dim,
            "hidden": hidden,
            "out_features": out_features,
            "dropout": dropout,
            "reverse": reverse,
        }
        super().__init__(ids, config=config)
        rng = np.random.default_rng(seed)
        seeds = [int(one) for one in rng.integers(2**31, size=3)]
        table = embedding_table(vocabulary_size, embedding_dim, rng=rng)
        self.table = self.add_param("table", table)

        ids = check_ids("ids", ids, vocabulary_size)
        # Scan takes at least one step.
        missing = T.cast(T.eq(ids.shape[1], 0), "int64")
        ids = T.concatenate([ids, T.zeros((ids.shape[0], missing), ids.dtype)], axis=1)
        real = T.neq(ids, 0)
        ids = check_right_padded("ids", ids, real)
        shape = (ids.shape[0], ids.shape[1], embedding_dim)
        vectors = self.table[ids.flatten()].reshape(shape)
        vectors = Dropout(vectors, dropout, training=training, seed=seeds[0]).output
        # From the right, the padding is read first and leaves the state at zero.
        gru = GRU(
            vectors,
            embedding_dim,
            hidden,
            direction="backward" if reverse else "forward",
            return_sequences=False,
            mask=real,
            seed=seeds[1],
        )
        self.gru = self.add_layer("gru", gru)
        self.output = self.gru.output
        if out_features is not None:
            projection = Projection(self.output, hidden, out_features, seed=seeds[2])
            self.output = self.add_layer("projection", projection).output

    @staticmethod
    def symbolic_inputs(dtype: str) -> list[TensorVariable]:
        return [T.lmatrix("ids")]
