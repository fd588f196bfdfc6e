"""Sequence encoder: ragged sequences of token ids to one vector each, the last state of a GRU.

    h_t = GRU(table[id_t], h_{t−1}), from h_0 = 0
    y   = h_n·W + b, or h_n itself, for a sequence of n ids

The rows of a batch are padded with id 0 on the right, and keep their order. Padding changes no
state. The same encoder can read each sequence from its last id to its first.

Sources: Cho et al. (2014), arXiv 1406.1078 (gated recurrent units); a tutorial on batches of ragged
sequences in PyTorch, which classifies subtitles by an embedding, a GRU and a linear layer.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from numpy_infer.layers.projection import Projection
from numpy_infer.layers.recurrent import GRU, gru_shapes
from numpy_infer.support.checks import check_dtype, check_flag, check_floating, check_width
from numpy_infer.support.ids import right_padded_ids
from numpy_infer.support.layer import Layer


class SequenceEncoder(Layer):
    """The last state of a GRU over each sequence of ids, with or without a projection.

    Args:
        previous: the layer whose output is the ids.
        table: (vocabulary_size, embedding_dim). Row 0 is the padding's.
        gru_input_weight, gru_hidden_weight: (embedding_dim, 3·hidden) and (hidden, 3·hidden).
        gru_input_bias, gru_hidden_bias: (3·hidden,).
        projection_weight, projection_bias: (hidden, out_features) and (out_features,), or None.
        reverse: whether each sequence is read from its last id to its first.
    Raises:
        TypeError, ValueError: arrays that do not fit together.
    Example:
        >>> from numpy_infer import Input
        >>> shapes = SequenceEncoder.array_shapes(vocabulary_size=9, embedding_dim=5, hidden=3)
        >>> encoder = SequenceEncoder(Input(), *map(np.ones, shapes.values()))
        >>> encoder(np.array([[3, 1, 2], [7, 0, 0]])).shape
        (2, 3)
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
        weights, biases = (gru_input_weight, gru_hidden_weight), (gru_input_bias, gru_hidden_bias)
        last: dict[str, Any] = {"return_sequences": False}
        last["direction"] = "backward" if reverse else "forward"
        self.gru = GRU(previous, *weights, *biases, **last)
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
        shapes = {"table": (vocabulary_size, embedding_dim), **gru_shapes(embedding_dim, hidden)}
        if out_features is None:
            return shapes
        projection = {"weight": (hidden, out_features), "bias": (out_features,)}
        return shapes | {f"projection.{name}": shape for name, shape in projection.items()}

    def forward(self, ids: np.ndarray) -> np.ndarray:
        """ids: (batch, longest) integers in 0..vocabulary_size−1, padded on the right with 0.

        Returns (batch, hidden), or (batch, out_features) after a projection. The state of a row of
        padding only is zero. ValueError for an id outside the table, and for padding before an id.
        """
        # A GRU takes at least one step.
        ids, real = right_padded_ids(ids, len(self.table), minimum_length=1)  # (batch, time)
        vectors = self.table[ids]  # (batch, time, embedding_dim)
        # Right to left, the GRU reads the padding first: its mask keeps the state at zero.
        states = self.gru.forward(vectors, real)  # (batch, hidden)
        return states if self.projection is None else self.projection.forward(states)
