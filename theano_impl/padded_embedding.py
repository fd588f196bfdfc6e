"""One vector for each list of token ids: the sum or mean of their embeddings.

    sum     Σ_t table[id_t], over the tokens t of a list that are not padding (id 0)
    mean    the sum, divided by the number of those tokens

The lists are padded with id 0 to one rectangular array. Row 0 of the table is zero, gets no
gradient, and never counts.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import theano.tensor as T
from theano.tensor.var import TensorVariable

from numpy_infer import text
from theano_impl.distances import l2_normalize
from theano_impl.support.checks import (
    check_choice,
    check_count,
    check_flag,
    check_ids,
    check_seed,
)
from theano_impl.support.initializers import embedding_table
from theano_impl.support.layer import Layer

REDUCTIONS = ("mean", "sum")


def pad_token_lists(token_lists: Sequence[Sequence[int]], *, padding_id: int = 0) -> np.ndarray:
    """Ragged lists of ids as one array, short rows filled up on the right.

    Args:
        token_lists: lists of integers from 0 up.
        padding_id: what the rows are filled up with.
    Returns:
        A (batch, longest) int64 array, to feed to a compiled function.
    Raises:
        TypeError: for ids that are no integers. ValueError: for no lists, or a negative id.
    Example:
        >>> pad_token_lists([[3, 1, 2], [7]]).tolist()
        [[3, 1, 2], [7, 0, 0]]
    """
    return text.pad_token_lists(token_lists, padding_id=padding_id)


class PaddedEmbedding(Layer):
    """Sum or mean of the embeddings of each row's tokens: `.output`, (batch, dim).

    Args:
        ids: (batch, longest) integers in 0..vocabulary_size−1. A row of padding only gives zeros.
        vocabulary_size: rows of the table, the padding's row 0 included.
        dim: width of the table.
        reduce: "mean" or "sum".
        unit_norm: whether each result is scaled to length 1.
        seed: of the table's start.
    Raises:
        AssertionError: when it runs, for an id outside the table.
    Example:
        >>> ids = T.constant(pad_token_lists([[3, 1, 2], [7]]))
        >>> PaddedEmbedding(ids, vocabulary_size=9, dim=5).output.eval().shape
        (2, 5)
    """

    def __init__(
        self,
        ids: TensorVariable,
        vocabulary_size: int,
        dim: int,
        *,
        reduce: str = "mean",
        unit_norm: bool = False,
        seed: int | None = None,
    ) -> None:
        vocabulary_size = check_count("vocabulary_size", vocabulary_size)
        dim = check_count("dim", dim)
        check_choice("reduce", reduce, REDUCTIONS)
        unit_norm = check_flag("unit_norm", unit_norm)
        seed = check_seed("seed", seed)
        config = {
            "vocabulary_size": vocabulary_size,
            "dim": dim,
            "reduce": reduce,
            "unit_norm": unit_norm,
        }
        super().__init__(ids, config=config)
        rng = np.random.default_rng(seed)
        self.table = self.add_param("table", embedding_table(vocabulary_size, dim, rng=rng))

        ids = check_ids("ids", ids, vocabulary_size)
        # Only real tokens are looked up: padding costs nothing, and row 0 gets no gradient.
        rows, columns = T.neq(ids, 0).nonzero()
        vectors = T.zeros((ids.shape[0], dim), self.table.dtype)
        vectors = T.inc_subtensor(vectors[rows], self.table[ids[rows, columns]])  # (batch, dim)
        if reduce == "mean":
            count = T.sum(T.neq(ids, 0), axis=1, keepdims=True)
            vectors /= T.cast(T.maximum(count, 1), vectors.dtype)
        self.output = l2_normalize(vectors) if unit_norm else vectors

    @staticmethod
    def symbolic_inputs(dtype: str) -> list[TensorVariable]:
        return [T.lmatrix("ids")]
