"""Ids to the rows of a table."""

from __future__ import annotations

import numpy as np
import theano.tensor as T
from theano.gradient import disconnected_grad
from theano.tensor.var import TensorVariable

from theano_impl.support.checks import check_count, check_flag, check_ids, check_seed
from theano_impl.support.initializers import embedding_table
from theano_impl.support.layer import Layer


class Embedding(Layer):
    """table[ids]; with padding, row 0 is zero and gets no gradient.

    ids: (batch, ...) integers in 0..vocabulary_size−1; `.output` is (batch, ..., dim). table:
    (vocabulary_size, dim). AssertionError, when it runs, for an id outside the table.
    """

    def __init__(
        self,
        ids: TensorVariable,
        vocabulary_size: int,
        dim: int,
        *,
        padding: bool = True,
        seed: int | None = None,
    ) -> None:
        vocabulary_size = check_count("vocabulary_size", vocabulary_size)
        dim = check_count("dim", dim)
        padding = check_flag("padding", padding)
        seed = check_seed("seed", seed)
        config = {"vocabulary_size": vocabulary_size, "dim": dim, "padding": padding}
        super().__init__(ids, config=config)
        # Without padding the first row is like the others.
        skipped = 0 if padding else 1
        rng = np.random.default_rng(seed)
        table = embedding_table(vocabulary_size + skipped, dim, rng=rng)[skipped:]
        self.table = self.add_param("table", table)
        self.table.tag.padding = padding  # interchange holds row 0 to zero

        ids = check_ids("ids", ids, vocabulary_size, ndim=None)
        shape = [ids.shape[axis] for axis in range(ids.ndim)]
        vectors = self.table[ids.flatten()].reshape((*shape, self.table.shape[1]))
        if padding:
            vectors = T.switch(T.shape_padright(T.eq(ids, 0)), disconnected_grad(vectors), vectors)
        self.output = vectors
