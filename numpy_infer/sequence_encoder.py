"""Ragged sequences of ids, padded with id 0 on the right, to one vector each.

    h_t = GRU(table[id_t], h_{t−1}), from h_0 = 0
    y   = h_n·W + b, or h_n itself, after the n real ids of the sequence

Sources: Cho et al. 2014 (gated recurrent units); seed topic, who's afraid of the recurrent wolf.
"""

from __future__ import annotations

import numpy as np

from numpy_infer.layers.projection import Projection
from numpy_infer.layers.recurrent import GRU
from numpy_infer.support.checks import (
    check_dtype,
    check_flag,
    check_floating,
    check_ids,
    check_right_padded,
    check_width,
)
from numpy_infer.support.layer import Layer


class SequenceEncoder(Layer):
    """The last real state of a GRU over each sequence of a batch, in the batch's order.

    table: (vocabulary_size, embedding_dim), its row 0 the padding's; the arrays of a `GRU`; and
    of a `Projection` that follows, or None. reverse: from the last real id to the first.
    """

    def __init__(
        self,
        previous: Layer,
        table: np.ndarray,
        gru_input_weight: np.ndarray,
        gru_hidden_weight: np.ndarray,
        gru_input_bias: np.ndarray,
        gru_hidden_bias: np.ndarray,
        projection_weight: np.ndarray | None = None,
        projection_bias: np.ndarray | None = None,
        *,
        reverse: bool = False,
    ) -> None:
        reverse = check_flag("reverse", reverse)
        super().__init__(previous)
        self.gru = GRU(
            previous,
            gru_input_weight,
            gru_hidden_weight,
            gru_input_bias,
            gru_hidden_bias,
            direction="backward" if reverse else "forward",
            return_sequences=False,
        )
        check_floating("table", table, ndim=2)
        check_dtype("table", table, gru_input_weight.dtype)
        check_width("table", table, len(gru_input_weight))
        self.table = table
        self.projection = None
        if projection_weight is not None:
            check_width("gru_hidden_weight", gru_hidden_weight, 3 * len(projection_weight))
            self.projection = Projection(previous, projection_weight, projection_bias)

    @staticmethod
    def array_shapes(
        vocabulary_size: int,
        embedding_dim: int,
        hidden: int,
        out_features: int | None = None,
        dropout: float = 0.1,
        reverse: bool = False,
    ) -> dict[str, tuple[int, ...]]:
        """The arrays of a model file, for the configuration that the frameworks share."""
        shapes: dict[str, tuple[int, ...]] = {
            "table": (vocabulary_size, embedding_dim),
            "gru.input_weight": (embedding_dim, 3 * hidden),
            "gru.hidden_weight": (hidden, 3 * hidden),
            "gru.input_bias": (3 * hidden,),
            "gru.hidden_bias": (3 * hidden,),
        }
        if out_features is not None:
            shapes |= {"projection.weight": (hidden, out_features)}
            shapes |= {"projection.bias": (out_features,)}
        return shapes

    def forward(self, ids: np.ndarray) -> np.ndarray:
        """ids: (batch, longest) integers in 0..vocabulary_size−1, 0 behind the real ones alone.

        Returns (batch, hidden) or (batch, out_features); a row of padding only has the state
        zero. ValueError for an id outside the table, and for padding before an id.
        """
        check_ids("ids", ids, len(self.table))
        if ids.shape[1] == 0:  # a GRU takes at least one step
            ids = np.zeros((len(ids), 1), ids.dtype)
        real = ids != 0
        check_right_padded("ids", real)
        # From the right, the padding is read first and leaves the state at zero.
        states = self.gru.forward(self.table[ids], real)
        return states if self.projection is None else self.projection.forward(states)
