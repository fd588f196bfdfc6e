"""Ties: values that differ by no more than rounding are equal, and the lower index wins.

A matrix product rounds the same two vectors differently at different places, and each
framework in its own way. Without a tolerance, equal vectors would tie in none of them.
"""

from __future__ import annotations

import numpy as np


def first_minimum(values: np.ndarray, tolerance: np.ndarray) -> np.ndarray:
    """Index of the smallest value on the last axis; of equal ones, the lowest index."""
    smallest = values.min(axis=-1, keepdims=True)
    first: np.ndarray = (values <= smallest + tolerance).argmax(axis=-1)
    return first


def among_top_k(x: np.ndarray, k: int) -> np.ndarray:
    """Whether each number is among the k largest on the last axis: (..., n) → (..., n), bool.

    Of equal numbers the one with the lower index is larger, without a tolerance. NaN counts as the
    largest number, and every NaN is among them, even if there are more than k.
    """
    nan = np.isnan(x)
    ranked = np.where(nan, x.dtype.type(np.inf), x)
    kth = np.partition(ranked, -k, axis=-1)[..., -k, None]
    above, equal = ranked > kth, ranked == kth
    kept: np.ndarray = above | equal
    # The numbers equal to the k-th are counted from the left, only in the rows with too many.
    tied = np.count_nonzero(kept, axis=-1) > k
    if tied.any():
        room = k - above[tied].sum(axis=-1, keepdims=True)
        kept[tied] &= above[tied] | (equal[tied].cumsum(axis=-1) <= room)
    kept |= nan
    return kept
