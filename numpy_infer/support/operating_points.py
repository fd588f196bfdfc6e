"""The thresholds that scores allow, what each of them accepts, and the threshold between two."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from numpy_infer.support.checks import check_finite, check_floating, check_shape


class RocCurve(NamedTuple):
    """Rates at each threshold, from infinity down: what has this score or more is accepted."""

    false_positive_rates: np.ndarray  # (thresholds,) float64
    true_positive_rates: np.ndarray  # (thresholds,) float64
    thresholds: np.ndarray  # (thresholds,) float64

    @property
    def auc(self) -> float:
        """The area under the curve: how often a positive scores above a negative."""
        x, y = self.false_positive_rates, self.true_positive_rates
        return float((np.diff(x) * (y[1:] + y[:-1]) / 2).sum())


class Threshold(NamedTuple):
    """A threshold, and what it does where it was chosen: a score above it is accepted."""

    threshold: float
    precision: float  # accepted positives / accepted, NaN when none is
    recall: float  # accepted positives / positives
    f1: float  # their harmonic mean
    false_alarm_rate: float  # accepted negatives / negatives


def operating_points(
    scores: np.ndarray, positives: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The distinct scores, descending, and the accepted positives and negatives.

    These are counts for a threshold above all scores, and at each of them: one more than scores.
    """
    check_floating("scores", scores, ndim=1)
    check_finite("scores", scores)
    if not isinstance(positives, np.ndarray) or positives.dtype != np.bool_:
        got = getattr(positives, "dtype", type(positives).__name__)
        raise TypeError(f"positives: expected an array of bool, got {got}")
    check_shape("positives", positives, scores.shape)
    count = int(positives.sum())
    if not 0 < count < len(positives):
        got = f"{count} positives of {len(positives)}"
        raise ValueError(f"positives: expected some that are True and some that are not, got {got}")
    order = np.argsort(-scores, kind="stable")
    ranked, hits = scores[order], np.cumsum(positives[order])
    last = np.append(
        np.flatnonzero(ranked[1:] != ranked[:-1]), len(ranked) - 1
    )  # of each distinct score
    alarms = last + 1 - hits[last]
    return ranked[last], np.append(0, hits[last]), np.append(0, alarms)


def chosen_threshold(
    scores: np.ndarray, hits: np.ndarray, alarms: np.ndarray, accepted: int
) -> Threshold:
    """The one that accepts the first few distinct scores."""
    # All is done in the dtype in which scores will be compared with the threshold.
    half, infinity = scores.dtype.type(0.5), scores.dtype.type(np.inf)
    above = scores[accepted - 1] if accepted else np.nextafter(scores[0], infinity)
    below = scores[accepted] if accepted < len(scores) else np.nextafter(scores[-1], -infinity)
    middle = half * below + half * above
    threshold = float(middle if below < middle < above else below)  # neighbors have no middle
    hit, alarm, positives, negatives = map(
        float, (hits[accepted], alarms[accepted], hits[-1], alarms[-1])
    )
    precision = hit / (hit + alarm) if accepted else float("nan")
    f1 = 2 * hit / (hit + alarm + positives)
    return Threshold(threshold, precision, hit / positives, f1, alarm / negatives)
