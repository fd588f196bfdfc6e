"""From scores over time to markers: when something begins and ends.

1. A window with a score above the threshold is accepted.
2. Accepted windows that overlap, touch, or have a short gap between them make one marker.
3. Markers that are shorter than a minimum are dropped.

A long window knows well what it hears, and badly when. So the begin and the end of a marker may be
placed a second time, where the scores of short windows near them make their largest step.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from numpy_infer.support.checks import check_finite, check_flag, check_floating, check_number

ROUNDING = 1e-9  # of a hop: by so much a gap may be too long, or a marker too short


class Marker(NamedTuple):
    """A stretch of time, in the unit of the hop, and the largest score in it."""

    start: float
    end: float
    score: float


def time_markers(
    scores: np.ndarray,
    *,
    threshold: float,
    hop: float,
    length: float | None = None,
    max_gap: float = 0.0,
    min_length: float = 0.0,
    start: float = 0.0,
) -> list[Marker]:
    """The stretches of time in which the scores are above a threshold.

        window i  =  start + i·hop .. start + i·hop + length,  accepted: scores_i > threshold

    Args:
        scores: (n,), of windows in their order, float32 or float64, finite.
        threshold: as `evaluation.threshold_by_f1` or another way gives it.
        hop: from the begin of one window to that of the next, above 0, in seconds or another unit.
        length: of a window, at least the hop; the hop when None.
        max_gap: between two accepted windows that belong to one marker, at least 0.
        min_length: of a marker, at least 0, after gaps are closed.
        start: when the first window begins.
    Returns:
        A list of Marker, in the order of time; they do not overlap.
    Raises:
        TypeError: for scores that are not floating. ValueError: for other than one axis, NaN,
        infinity, and numbers out of range.
    Example:
        >>> scores = np.array([0.1, 0.9, 0.2, 0.8, 0.1, 0.1, 0.1, 0.75])
        >>> time_markers(scores, threshold=0.5, hop=2.0, max_gap=2.0, min_length=4.0)
        [Marker(start=2.0, end=8.0, score=0.9)]
    """
    check_floating("scores", scores, ndim=1)
    check_finite("scores", scores)
    threshold = check_number("threshold", threshold)
    hop = check_number("hop", hop, above=0)
    length = check_number("length", hop if length is None else length, least=hop)
    max_gap = check_number("max_gap", max_gap, least=0) + ROUNDING * hop
    min_length = check_number("min_length", min_length, least=0) - ROUNDING * hop
    start = check_number("start", start)
    accepted = np.flatnonzero(scores > threshold)
    if len(accepted) == 0:
        return []
    gaps = np.diff(accepted) * hop - length  # negative where windows overlap
    first = np.append(0, np.flatnonzero(gaps > max_gap) + 1)  # of each marker, in `accepted`
    last = np.append(first[1:], len(accepted)) - 1
    begins = start + accepted[first] * hop
    ends = start + accepted[last] * hop + length
    largest = np.maximum.reduceat(scores[accepted], first)
    rows = zip(begins.tolist(), ends.tolist(), largest.tolist(), strict=True)
    return [Marker(*row) for row in rows if row[1] - row[0] >= min_length]


def largest_step(scores: np.ndarray, *, rising: bool = True) -> int | None:
    """Where scores over time go from one level to another: the best fit of a single step.

        argmax_k  k (n − k) / n · (mean(scores[k:]) − mean(scores[:k]))²,   0 < k < n

    That is the step with the least squares of what it leaves. Of equal ones the first is taken.

    Args:
        scores: (n,), of windows in their order, float32 or float64, finite.
        rising: whether the level after the step has to be the higher one, else the lower one.
    Returns:
        k, the index of the first score after the step; None when no step goes that way.
    Raises:
        TypeError: for scores that are not floating, or a rising that is not bool. ValueError: for
        other than one axis, NaN or infinity.
    Source: D. V. Hinkley, Inference about the change-point in a sequence of random variables, 1970.
    Example:
        >>> largest_step(np.array([0.1, 0.3, 0.2, 0.9, 0.7, 0.8]))
        3
        >>> largest_step(np.array([0.9, 0.8, 0.1]), rising=False)
        2
    """
    check_floating("scores", scores, ndim=1)
    check_finite("scores", scores)
    check_flag("rising", rising)
    n = len(scores)
    if n < 2:
        return None
    before = np.arange(1, n)  # how many scores are before the step
    sums = np.cumsum(scores, dtype=np.float64)
    rise = (sums[-1] - sums[:-1]) / (n - before) - sums[:-1] / before
    right_way = rise > 0 if rising else rise < 0
    explained = np.where(right_way, before * (n - before) * rise**2, 0)
    k = int(explained.argmax())
    return k + 1 if explained[k] > 0 else None
