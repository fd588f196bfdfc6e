"""Situations to judge: twelve that are wrong, each seen by a check, and eight that are well.

Each framework plants the same ones in nets of its own (`test_*_planted.py`). A check that accuses
what is well is switched off sooner or later, and then sees nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from shared_tests.fixtures import digits, normal

# What is wrong, and the check that has to see it.
BAD = {
    "dead relu": "gradients",
    "saturated tanh": "gradients",
    "detached branch": "gradients",
    "outputs that a mask hides": "gradients",
    "frozen parameters": "gradients",
    "NaN in the batch": "finite",
    "too large weights": "initial loss",
    "one input, two labels": "overfits",
    "softmax twice": "overfits",
    "learning rate of zero": "loss moves",
    "collapse to a point": "spread",
    "hardest triplets at their margin": "loss moves",
}
GOOD = (
    "neural grammar",
    "one expert for each row",
    "two experts for each row",
    "large sparse table",
    "clustering loss",
    "smoothed labels",
    "deep net, small gradients",
    "bias before batch normalization",
)

PIXELS, CLASSES = digits(11)
CLASSES_ASKED = 10
MARGIN = 0.2
VECTORS = normal(6, 5, seed=61)  # of six leaves
BRACKETS = np.array([[4, 5], [0, 1], [0, 2], [3, 5], [0, 5]])
GROUPS = np.arange(12) % 3
ROWS = 2 * normal(3, 5, seed=62)[GROUPS] + 0.3 * normal(12, 5, seed=63)  # of three groups
MIXED_ROWS = normal(3, 5, seed=62)[GROUPS] + 0.8 * normal(12, 5, seed=65)  # which overlap
HARD_ROWS = normal(12, 5, seed=64)  # of which no group is like itself
VOCABULARY = 300_001
IDS = np.array([[300_000, 17, 9], [4_711, 250_001, 17], [12, 99_991, 4_711], [7, 200_003, 12]])
ANSWERS = np.array([0, 1, 1, 0])
SMOOTHING = 0.1


def entropy_of_smoothed(classes: int) -> float:
    """The lowest cross-entropy that labels smoothed by a tenth allow."""
    target = np.full(classes, SMOOTHING / classes)
    target[0] += 1 - SMOOTHING
    return float(-(target * np.log(target)).sum())


def assert_judged(name: str, verdicts: Mapping[str, Any]) -> None:
    """What is wrong is seen by its check, and what is well is accused by none."""
    if name in BAD:
        assert not verdicts[BAD[name]], verdicts[BAD[name]]
        return
    assert {"gradients", "finite", "overfits", "flow"} <= set(verdicts)
    for check, verdict in verdicts.items():
        assert verdict, f"{check}: {verdict}"
