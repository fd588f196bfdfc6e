"""Token lists as arrays: what belongs to no framework."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

import numpy as np

LARGEST = np.iinfo(np.int64).max


def pad_token_lists(token_lists: Sequence[Sequence[int]], *, padding_id: int = 0) -> np.ndarray:
    """Ragged lists of ids as one array, short rows filled up on the right.

    Returns (batch, longest) int64. ValueError for an empty batch or a negative id, TypeError
    for ids that are not integers. Source: seed topic, padded word indexes for embeddings.
    """
    if len(token_lists) == 0:
        raise ValueError("token_lists: expected at least one list, got none")
    if isinstance(padding_id, bool) or not isinstance(padding_id, int):
        raise TypeError(f"padding_id: expected an integer, got {type(padding_id).__name__}")
    if not 0 <= padding_id <= LARGEST:
        raise ValueError(f"padding_id: expected an id in 0..{LARGEST}, got {padding_id}")
    lengths = np.fromiter(map(len, token_lists), np.int64, len(token_lists))
    ids = np.array(list(chain.from_iterable(token_lists)))
    if ids.size and not np.issubdtype(ids.dtype, np.integer):
        raise TypeError(f"token_lists: expected integer ids, got {ids.dtype}")
    if ids.size and not (ids.min() >= 0 and int(ids.max()) <= LARGEST):
        got = f"{ids.min()}..{ids.max()}"
        raise ValueError(f"token_lists: expected ids in 0..{LARGEST}, got {got}")
    padded = np.full((len(lengths), lengths.max()), padding_id, np.int64)
    padded[np.arange(padded.shape[1]) < lengths[:, None]] = ids
    return padded
