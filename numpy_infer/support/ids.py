"""Padded ids, as the encoders of sequences read them."""

from __future__ import annotations

import numpy as np

from numpy_infer.support.checks import check_ids, check_right_padded


def right_padded_ids(
    ids: np.ndarray, vocabulary_size: int, *, minimum_length: int
) -> tuple[np.ndarray, np.ndarray]:
    """The ids, checked and padded to a minimum length, and which of them are no padding.

    Args:
        ids: (batch, longest) integers in 0..vocabulary_size−1, each row padded on the right with 0.
        vocabulary_size: rows of the embedding table.
        minimum_length: shorter rows are padded to this length.
    Returns:
        ids (batch, length), and real (batch, length) bool, False for padding.
    Raises:
        TypeError: ids that are not integers.
        ValueError: other than two axes, an id outside the table, or padding before an id.
    """
    check_ids("ids", ids, vocabulary_size)
    if ids.shape[1] < minimum_length:
        padding = np.zeros((len(ids), minimum_length - ids.shape[1]), ids.dtype)
        ids = np.concatenate([ids, padding], axis=1)
    real = ids != 0
    check_right_padded("ids", real)
    return ids, real
