"""Ragged lists of token ids, padded with id 0, to one vector each.

    sum     Σ_t table[id_t]
    mean    the sum, divided by the number of tokens that are not padding

Sources: seed topics, faster embedding lookups with padding; padded word indexes for embeddings.
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
    """Ragged lists of ids as one (batch, longest) int64 array, to feed to a compiled function.

    ValueError for an empty batch or a negative id, TypeError for ids that are not integers.
    """
    return text.pad_token_lists(token_lists, padding_id=padding_id)


class PaddedEmbedding(Layer):
    """Sum or mean of the embeddings of each row's tokens; padding neither counts nor learns.

    ids: (batch, longest) integers in 0..vocabulary_size−1; `.output` is (batch, dim), zeros
    for a row of padding only. vocabulary_size counts the padding's row 0. unit_norm scales
    each result to length 1. AssertionError, when it runs, for an id outside the table.
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
        # The real tokens alone are looked up: less work, and no gradient for the padding's row.
        rows, columns = T.neq(ids, 0).nonzero()
        vectors = T.zeros((ids.shape[0], dim), self.table.dtype)
        vectors = T.inc_subtensor(vectors[rows], self.table[ids[rows, columns]])
        if reduce == "mean":
            count = T.sum(T.neq(ids, 0), axis=1, keepdims=True)
            vectors /= T.cast(T.maximum(count, 1), vectors.dtype)
        self.output = l2_normalize(vectors) if unit_norm else vectors

    @staticmethod
    def symbolic_inputs(dtype: str) -> list[TensorVariable]:
        return [T.lmatrix("ids")]
