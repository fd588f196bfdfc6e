"""Titles as vectors: related ones close, by the company that they keep.

    title   t = Σ_w table[w] / ‖Σ_w table[w]‖
    bag     mean of its titles' vectors
    loss    max(0, margin − cos(bag without t, t) + cos(bag without t, other title))

Each title of a bag is left out once and is then the positive; titles from elsewhere are negatives.

Sources: Wu et al. 2017 (StarSpace, arXiv 1709.03856); seed topic, challenges with real-world
embeddings. Titles become ids with `numpy_infer.text`.
"""

from __future__ import annotations

import numpy as np
import theano.tensor as T
from theano.tensor.var import TensorVariable

from theano_impl.distances import l2_normalize
from theano_impl.support.checks import (
    check_count,
    check_dtype,
    check_floating,
    check_ids,
    check_integers,
    check_not_empty,
    check_number,
    check_seed,
    check_values,
    check_width,
)
from theano_impl.support.initializers import embedding_table
from theano_impl.support.layer import Layer


def bag_of_titles(vectors: TensorVariable) -> TensorVariable:
    """Mean of each group's titles; vectors of zeros are padding and do not count.

    vectors: (groups, titles, dim), floating. Returns (groups, dim), zeros for a group without
    titles.
    """
    vectors = T.as_tensor_variable(vectors)
    check_floating("vectors", vectors, ndim=3)
    vectors, real = _titles(vectors)
    count = T.maximum(T.sum(real, axis=1, keepdims=True), 1)
    return T.sum(vectors, axis=1) / T.cast(count, vectors.dtype)


def leave_one_out_loss(
    vectors: TensorVariable, negatives: TensorVariable, *, margin: float = 0.2
) -> TensorVariable:
    """Hinge of each title left out of its group against each negative of the group; the mean.

    vectors: (groups, titles, dim), negatives: (groups, m, dim), of unit norm, or zeros for
    padding, which does not count. A title without another in its group is not left out; 0 when
    none is. The gradient is zero where the margin is met exactly. TypeError for integers or
    different dtypes, ValueError for a negative margin; AssertionError, when it runs, for no
    groups or other sizes.
    """
    margin = check_number("margin", margin, least=0)
    vectors, negatives = T.as_tensor_variable(vectors), T.as_tensor_variable(negatives)
    check_floating("vectors", vectors, ndim=3)
    vectors = check_not_empty("vectors", vectors)
    check_floating("negatives", negatives, ndim=3)
    check_dtype("negatives", negatives, vectors.dtype)
    negatives = check_width("negatives", negatives, vectors.shape[2])
    same = T.eq(negatives.shape[0], vectors.shape[0])
    negatives = check_values(negatives, same, "negatives", "as many groups as vectors")
    vectors, real = _titles(vectors)
    negatives, usable = _titles(negatives)
    # All but one, by a product: taking each from the sum would leave its rounding behind.
    titles = vectors.shape[1]
    others = np.asarray(1, vectors.dtype) - T.eye(titles, titles, 0, dtype=vectors.dtype)
    bags = l2_normalize(T.dot(others, vectors).dimshuffle(1, 0, 2))
    near = T.sum(bags * l2_normalize(vectors), axis=2, keepdims=True)
    # T.batched_dot in C calls a BLAS, and `setup` links none.
    far = T.sum(bags[:, :, None, :] * l2_normalize(negatives)[:, None, :, :], axis=3)
    left_out = real & (T.sum(real, axis=1, keepdims=True) > 1)
    counted = left_out[:, :, None] & usable[:, None, :]
    violation = np.asarray(margin, vectors.dtype) - near + far
    idle = T.eq(counted, 0) | (violation <= 0)
    hinges = T.switch(idle, T.zeros_like(violation), violation)
    return T.sum(hinges) / T.cast(T.maximum(T.sum(counted), 1), hinges.dtype)


class TitleEncoder(Layer):
    """Padded titles to vectors of unit norm, trained on bags of them.

    ids: (batch, longest) integers in 0..vocabulary_size−1; `.output` is (batch, dim), zeros
    for a title of padding only. vocabulary_size counts the padding's row 0. AssertionError, when
    it runs, for an id outside the table.
    """

    def __init__(
        self, ids: TensorVariable, vocabulary_size: int, dim: int, *, seed: int | None = None
    ) -> None:
        vocabulary_size = check_count("vocabulary_size", vocabulary_size)
        dim = check_count("dim", dim)
        seed = check_seed("seed", seed)
        super().__init__(ids, config={"vocabulary_size": vocabulary_size, "dim": dim})
        rng = np.random.default_rng(seed)
        self.table = self.add_param("table", embedding_table(vocabulary_size, dim, rng=rng))
        self.output = self._encode("ids", ids)

    def bags(self, ids: TensorVariable) -> TensorVariable:
        """ids: (groups, titles, longest) integers, padded with 0. Returns (groups, dim).

        Titles of padding only do not count. AssertionError, when it runs, for an id outside the
        table.
        """
        return bag_of_titles(self._titles("ids", ids))

    def loss(
        self, ids: TensorVariable, negatives: TensorVariable, *, margin: float = 0.2
    ) -> TensorVariable:
        """The `leave_one_out_loss` of titles that belong together against titles from elsewhere.

        ids: (groups, titles, longest), negatives: (groups, m, longest) integers, padded with 0.
        """
        vectors = self._titles("ids", check_not_empty("ids", ids))
        return leave_one_out_loss(vectors, self._titles("negatives", negatives), margin=margin)

    def _titles(self, name: str, ids: TensorVariable) -> TensorVariable:
        check_integers(name, ids, ndim=3)
        groups, titles, longest = ids.shape[0], ids.shape[1], ids.shape[2]
        vectors = self._encode(name, ids.reshape((groups * titles, longest)))
        return vectors.reshape((groups, titles, self.config["dim"]))

    def _encode(self, name: str, ids: TensorVariable) -> TensorVariable:
        ids = check_ids(name, ids, self.config["vocabulary_size"])
        # The real tokens alone are looked up: less work, and no gradient for the padding's row.
        rows, columns = T.neq(ids, 0).nonzero()
        sums = T.zeros((ids.shape[0], self.config["dim"]), self.table.dtype)
        return l2_normalize(T.inc_subtensor(sums[rows], self.table[ids[rows, columns]]))

    @staticmethod
    def symbolic_inputs(dtype: str) -> list[TensorVariable]:
        return [T.lmatrix("ids")]


def _titles(vectors: TensorVariable) -> tuple[TensorVariable, TensorVariable]:
    """The vectors without a gradient for padding, and which of them are real."""
    real = T.any(T.neq(vectors, 0), axis=2)
    return T.switch(real[:, :, None], vectors, T.zeros_like(vectors)), real
