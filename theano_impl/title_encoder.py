"""Titles as vectors that are close for titles of the same group (a playlist, a user's history).

    title   t = Σ_w table[w] / ‖Σ_w table[w]‖, over the words w of the title
    bag     mean of the vectors of a group's titles
    loss    max(0, margin − cos(bag without t, t) + cos(bag without t, n))

Each title t of a group is left out of its bag once, and is then the positive; titles n of other
groups are the negatives.

Source: Wu et al. (2017), StarSpace: embed all the things, arXiv 1709.03856. Titles become ids
with `numpy_infer.text`.
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
    check_size,
    check_width,
)
from theano_impl.support.initializers import embedding_table
from theano_impl.support.layer import Layer


def bag_of_titles(vectors: TensorVariable) -> TensorVariable:
    """The mean of each group's titles. Vectors of zeros are padding and do not count.

    Args:
        vectors: (groups, titles, dim), floating.
    Returns:
        (groups, dim), zeros for a group without titles.
    Raises:
        TypeError: for integers. ValueError: for another number of axes.
    Example:
        >>> bag_of_titles(np.eye(2)[None]).eval().tolist()
        [[0.5, 0.5]]
    """
    vectors = T.as_tensor_variable(vectors)
    check_floating("vectors", vectors, ndim=3)
    vectors, real = _without_padding(vectors)
    count = T.maximum(T.sum(real, axis=1, keepdims=True), 1)
    return T.sum(vectors, axis=1) / T.cast(count, vectors.dtype)


def leave_one_out_loss(
    vectors: TensorVariable, negatives: TensorVariable, *, margin: float = 0.2
) -> TensorVariable:
    """Mean hinge of each title that is left out of its group, against each of the negatives.

        max(0, margin − cos(bag without t, t) + cos(bag without t, n))

    Args:
        vectors: (groups, titles, dim), floating, of length 1, or zeros for padding.
        negatives: (groups, m, dim), titles of other groups, or zeros for padding.
        margin: at least 0. The gradient is 0 where it is met exactly.
    Returns:
        A scalar, 0 when no group has two titles and a negative. Padding does not count.
    Raises:
        TypeError: for integers or different dtypes. ValueError: for a negative margin.
        AssertionError, when it runs: for no groups, or other sizes.
    Source: Wu et al. (2017), section 3.
    Example:
        >>> loss = leave_one_out_loss(np.eye(2)[None], np.eye(2)[None][:, :1])
        >>> round(float(loss.eval()), 4)  # hinges: 0.2 - 0 + 0 and 0.2 - 0 + 1
        0.7
    """
    margin = check_number("margin", margin, least=0)
    vectors, negatives = T.as_tensor_variable(vectors), T.as_tensor_variable(negatives)
    check_floating("vectors", vectors, ndim=3)
    vectors = check_not_empty("vectors", vectors)
    check_floating("negatives", negatives, ndim=3)
    check_dtype("negatives", negatives, vectors.dtype)
    negatives = check_width("negatives", negatives, vectors.shape[2])
    negatives = check_size("negatives", negatives, 0, vectors.shape[0], "groups")
    vectors, real = _without_padding(vectors)
    negatives, usable = _without_padding(negatives)
    # The sum of the other titles, by a product with 1 − I: what is left of the sum of all titles,
    # after one is subtracted, keeps that one's rounding error.
    titles = vectors.shape[1]
    others = np.asarray(1, vectors.dtype) - T.eye(titles, titles, 0, dtype=vectors.dtype)
    bags = l2_normalize(T.dot(others, vectors).dimshuffle(1, 0, 2))
    positive = T.sum(bags * l2_normalize(vectors), axis=2, keepdims=True)  # (groups, titles, 1)
    # T.batched_dot in C calls a BLAS, and `setup` links none.
    negative = T.sum(bags[:, :, None, :] * l2_normalize(negatives)[:, None, :, :], axis=3)
    left_out = real & (T.sum(real, axis=1, keepdims=True) > 1)
    counted = left_out[:, :, None] & usable[:, None, :]
    violation = np.asarray(margin, vectors.dtype) - positive + negative
    idle = T.eq(counted, 0) | (violation <= 0)
    hinges = T.switch(idle, T.zeros_like(violation), violation)
    return T.sum(hinges) / T.cast(T.maximum(T.sum(counted), 1), hinges.dtype)


class TitleEncoder(Layer):
    """Padded titles to vectors of length 1, `.output`, (batch, dim), trained on groups.

    Args:
        ids: (batch, longest) integers in 0..vocabulary_size−1. A title of padding only gives zeros.
        vocabulary_size: rows of the table, the padding's row 0 included.
        dim: width of the table.
        seed: of the table's start.
    Raises:
        AssertionError: when it runs, for an id outside the table.
    Example:
        >>> ids = T.constant(np.array([[3, 1, 2], [7, 0, 0]]))
        >>> TitleEncoder(ids, vocabulary_size=9, dim=5).output.eval().shape
        (2, 5)
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
        """The `leave_one_out_loss` of groups of titles against titles of other groups.

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
        # Only real tokens are looked up: padding costs nothing, and row 0 gets no gradient.
        rows, columns = T.neq(ids, 0).nonzero()
        sums = T.zeros((ids.shape[0], self.config["dim"]), self.table.dtype)
        return l2_normalize(T.inc_subtensor(sums[rows], self.table[ids[rows, columns]]))

    @staticmethod
    def symbolic_inputs(dtype: str) -> list[TensorVariable]:
        return [T.lmatrix("ids")]


def _without_padding(vectors: TensorVariable) -> tuple[TensorVariable, TensorVariable]:
    """The vectors with constant zeros for padding, and which of them are real titles."""
    real = T.any(T.neq(vectors, 0), axis=2)
    return T.switch(real[:, :, None], vectors, T.zeros_like(vectors)), real
