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

from typing import Any

import keras
import tensorflow as tf

from tf2_impl.distances import l2_normalize
from tf2_impl.padded_embedding import PaddedEmbedding
from tf2_impl.support.checks import (
    check_dtype,
    check_floating,
    check_ids,
    check_integers,
    check_not_empty,
    check_number,
    check_size,
    check_width,
    size,
)
from tf2_impl.support.ids import filled_up
from tf2_impl.support.precision import in_single_precision


@in_single_precision
def bag_of_titles(vectors: tf.Tensor) -> tf.Tensor:
    """The mean of each group's titles. Vectors of zeros are padding and do not count.

    Args:
        vectors: (groups, titles, dim), floating; halves compute in float32.
    Returns:
        (groups, dim), zeros for a group without titles.
    Raises:
        TypeError: for integers. ValueError: for another number of axes.
    Example:
        >>> bag_of_titles(tf.eye(2)[None]).numpy().tolist()
        [[0.5, 0.5]]
    """
    vectors = tf.convert_to_tensor(vectors)
    check_floating("vectors", vectors, ndim=3)
    vectors, real = _without_padding(vectors)
    count = tf.math.count_nonzero(real, axis=1, keepdims=True, dtype=vectors.dtype)
    return tf.reduce_sum(vectors, axis=1) / tf.maximum(count, 1)


@in_single_precision
def leave_one_out_loss(
    vectors: tf.Tensor, negatives: tf.Tensor, *, margin: float = 0.2
) -> tf.Tensor:
    """Mean hinge of each title that is left out of its group, against each of the negatives.

        max(0, margin − cos(bag without t, t) + cos(bag without t, n))

    Args:
        vectors: (groups, titles, dim), floating, of length 1, or zeros for padding;
            halves compute in float32.
        negatives: (groups, m, dim), titles of other groups, or zeros for padding.
        margin: at least 0. The gradient is 0 where it is met exactly.
    Returns:
        A scalar, 0 when no group has two titles and a negative. Padding does not count.
    Raises:
        TypeError: for integers or different dtypes. ValueError: for no groups, other sizes, or a
        negative margin.
    Source: Wu et al. (2017), section 3.
    Example:
        >>> loss = leave_one_out_loss(tf.eye(2)[None], tf.eye(2)[None][:, :1])
        >>> round(float(loss), 4)  # hinges: 0.2 - 0 + 0 and 0.2 - 0 + 1
        0.7
    """
    margin = check_number("margin", margin, least=0)
    vectors, negatives = tf.convert_to_tensor(vectors), tf.convert_to_tensor(negatives)
    check_floating("vectors", vectors, ndim=3)
    check_not_empty("vectors", vectors)
    check_floating("negatives", negatives, ndim=3)
    check_dtype("negatives", negatives, vectors.dtype)
    check_width("negatives", negatives, size(vectors, 2))
    check_size("negatives", negatives, 0, size(vectors, 0), "groups")
    vectors, real = _without_padding(vectors)
    negatives, usable = _without_padding(negatives)
    # The sum of the other titles, by a product with 1 − I: what is left of the sum of all titles,
    # after one is subtracted, keeps that one's rounding error.
    others = 1 - tf.eye(tf.shape(vectors)[1], dtype=vectors.dtype)
    bags = l2_normalize(tf.matmul(others, vectors))
    positive = tf.reduce_sum(bags * l2_normalize(vectors), axis=2, keepdims=True)
    negative = tf.matmul(bags, l2_normalize(negatives), transpose_b=True)  # (groups, titles, m)
    left_out = real & (tf.math.count_nonzero(real, axis=1, keepdims=True) > 1)
    counted = left_out[:, :, None] & usable[:, None]
    hinges = tf.where(
        counted, tf.nn.relu(margin - positive + negative), tf.zeros((), vectors.dtype)
    )
    count = tf.math.count_nonzero(counted, dtype=vectors.dtype)
    return tf.reduce_sum(hinges) / tf.maximum(count, 1)


@keras.saving.register_keras_serializable("fourfold")
class TitleEncoder(PaddedEmbedding):
    """Padded titles to vectors of length 1: a `PaddedEmbedding` that sums, and trains on groups.

    Args:
        vocabulary_size: rows of the table, the padding's row 0 included.
        dim: width of the table.
        seed: of the table's start.
    Example:
        >>> encoder = TitleEncoder(vocabulary_size=9, dim=5)
        >>> encoder(tf.constant([[3, 1, 2], [7, 0, 0]])).shape
        TensorShape([2, 5])
    """

    def __init__(
        self, vocabulary_size: int, dim: int, *, seed: int | None = None, **kwargs: Any
    ) -> None:
        super().__init__(vocabulary_size, dim, reduce="sum", unit_norm=True, seed=seed, **kwargs)
        self.config = {"vocabulary_size": vocabulary_size, "dim": dim}

    def bags(self, ids: tf.Tensor) -> tf.Tensor:
        """ids: (groups, titles, longest) integers, padded with 0. Returns (groups, dim).

        Titles of padding only do not count. ValueError for an id outside the table.
        """
        return bag_of_titles(self._titles("ids", ids))

    def loss(self, ids: tf.Tensor, negatives: tf.Tensor, *, margin: float = 0.2) -> tf.Tensor:
        """The `leave_one_out_loss` of groups of titles against titles of other groups.

        ids: (groups, titles, longest), negatives: (groups, m, longest) integers, padded with 0.
        """
        ids = tf.convert_to_tensor(filled_up(ids))
        check_not_empty("ids", ids)
        vectors = self._titles("ids", ids)
        return leave_one_out_loss(vectors, self._titles("negatives", negatives), margin=margin)

    def _titles(self, name: str, ids: tf.Tensor) -> tf.Tensor:
        ids = tf.convert_to_tensor(filled_up(ids))
        check_integers(name, ids, ndim=3)
        groups, titles, longest = tf.unstack(tf.shape(ids))
        rows = tf.reshape(ids, (groups * titles, longest))
        check_ids(name, rows, self.table.shape[0])
        return tf.reshape(self(rows), (groups, titles, self.table.shape[1]))


def _without_padding(vectors: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """The vectors with constant zeros for padding, and which of them are real titles."""
    real = tf.reduce_any(vectors != 0, axis=-1)
    return tf.where(real[..., None], vectors, tf.zeros_like(vectors)), real
