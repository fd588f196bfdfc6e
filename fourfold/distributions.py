"""Many draws against the distribution that they should have."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

SIGNIFICANT = 4  # standard deviations


def assert_distribution(
    values: np.ndarray,
    variance: float,
    fourth: float,
    cdf: Callable[[np.ndarray], np.ndarray],
) -> None:
    """Mean 0, this variance, and a distance of the distributions as chance allows it.

    fourth: the fourth moment, which says how far the variance of a sample may be off.
    """
    x = np.sort(values.ravel().astype(np.float64))
    n = len(x)
    assert len(np.unique(x)) > 0.98 * n  # no draw stands in several places
    assert abs(x.mean()) < SIGNIFICANT * math.sqrt(variance / n)
    spread = math.sqrt((fourth - variance**2) / n)
    assert abs((x**2).mean() - variance) < SIGNIFICANT * spread
    steps = np.arange(n + 1) / n  # Kolmogorov and Smirnov's distance
    below = cdf(x)
    assert (below - steps[:-1]).max() < 2.3 / math.sqrt(n)
    assert (steps[1:] - below).max() < 2.3 / math.sqrt(n)


def assert_uniform(values: np.ndarray, b: float) -> None:
    n = values.size
    assert b * (1 - 12 / n) < np.abs(values).max() <= b * (1 + 1e-6)
    assert_distribution(values, b**2 / 3, b**4 / 5, lambda x: (x / b + 1) / 2)


def assert_normal(values: np.ndarray, s: float) -> None:
    erf = np.vectorize(math.erf)
    assert_distribution(values, s**2, 3 * s**4, lambda x: (1 + erf(x / s / math.sqrt(2))) / 2)
