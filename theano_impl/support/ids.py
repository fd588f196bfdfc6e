"""Padded ids, as the encoders of sequences read them, and their rows of a table."""

from __future__ import annotations

import theano.tensor as T
from theano.tensor.var import TensorVariable

from theano_impl.support.checks import check_ids, check_right_padded


def right_padded_ids(
    ids: TensorVariable, vocabulary_size: int, *, minimum_length: int
) -> tuple[TensorVariable, TensorVariable]:
    """The ids, checked and padded to a minimum length, and which of them are no padding.

    Args:
        ids: (batch, longest) integers in 0..vocabulary_size−1, each row padded on the right with 0.
        vocabulary_size: rows of the embedding table.
        minimum_length: shorter rows are padded to this length.
    Returns:
        ids (batch, length), and real (batch, length) bool, False for padding.
    Raises:
        TypeError: ids that are not integers. ValueError: other than two axes.
        AssertionError: when it runs, for an id outside the table, or padding before an id.
    """
    ids = check_ids("ids", ids, vocabulary_size)
    missing = T.maximum(minimum_length - ids.shape[1], 0)
    ids = T.concatenate([ids, T.zeros((ids.shape[0], missing), ids.dtype)], axis=1)
    real = T.neq(ids, 0)
    return check_right_padded("ids", ids, real), real


def look_up(table: TensorVariable, ids: TensorVariable) -> TensorVariable:
    """table[ids], (batch, length, dim). ids: (batch, length).

    The rows are gathered with ids along one axis, which `sparse_gradients` and `frequency_scaling`
    recognize.
    """
    return table[ids.flatten()].reshape((ids.shape[0], ids.shape[1], table.shape[1]))
