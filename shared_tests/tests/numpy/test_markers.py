"""Markers against a line of time that is painted window by window."""

from typing import Any

import numpy as np
import pytest

from numpy_infer.markers import Marker, largest_step, time_markers
from shared_tests.fixtures import normal


def painted(
    scores: np.ndarray, threshold: float, hop: int, length: int, max_gap: int, min_length: int
) -> list[Marker]:
    """Whole units of time: accepted windows are painted, short gaps too, short stretches erased."""
    line = [False] * (len(scores) * hop + length)
    for i, score in enumerate(scores):
        if score > threshold:
            line[i * hop : i * hop + length] = [True] * length
    markers: list[list[int]] = []
    for t, there in enumerate(line):
        if there and markers and t - markers[-1][1] <= max_gap:
            markers[-1][1] = t + 1
        elif there:
            markers.append([t, t + 1])
    found = []
    for begin, end in markers:
        if end - begin >= min_length:
            inside = [
                score
                for i, score in enumerate(scores)
                if begin <= i * hop and i * hop + length <= end
            ]
            found.append(Marker(begin, end, max(inside)))
    return found


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("hop", [1, 3])
@pytest.mark.parametrize("overlap", [0, 4])
@pytest.mark.parametrize(("max_gap", "min_length"), [(0, 0), (2, 0), (3, 5), (0, 9), (100, 1)])
def test_markers_are_what_is_painted(seed, hop, overlap, max_gap, min_length):
    scores = normal(30, seed=seed)
    sizes = {"hop": hop, "length": hop + overlap, "max_gap": max_gap, "min_length": min_length}
    found = time_markers(scores, threshold=0.5, **sizes)
    assert found == painted(scores, 0.5, **sizes)
    later = time_markers(scores, threshold=0.5, start=60.0, **sizes)
    assert later == [Marker(a + 60, b + 60, score) for a, b, score in found]


def test_nothing_and_everything():
    assert time_markers(np.zeros(0), threshold=0.5, hop=1) == []
    assert time_markers(np.full(4, 0.5), threshold=0.5, hop=1) == [], "above, not at"
    assert time_markers(np.ones(4), threshold=0.5, hop=0.5) == [Marker(0, 2, 1)]


def test_rounding_moves_no_limit():
    """0.1 times 4 less 0.1 is above 0.3, and 0.1 times 7 less 0.1 times 4 below it."""
    scores = np.array([0, 0, 0, 1, 0, 0, 0, 1.0])
    (one,) = time_markers(scores, threshold=0.5, hop=0.1, max_gap=0.3)
    np.testing.assert_allclose(one, (0.3, 0.8, 1), rtol=0, atol=1e-12)
    assert len(time_markers(scores, threshold=0.5, hop=0.1, max_gap=0.29)) == 2
    many = np.repeat([0.0, 1, 0], [4, 3, 2])
    assert len(time_markers(many, threshold=0.5, hop=0.1, min_length=0.3)) == 1
    assert time_markers(many, threshold=0.5, hop=0.1, min_length=0.31) == []


def squares_left(scores: np.ndarray, k: int) -> float:
    """Of what a step at k leaves: the definition that `largest_step` minimizes."""
    parts = scores[:k], scores[k:]
    return float(sum(((one - one.mean()) ** 2).sum() for one in parts))


@pytest.mark.parametrize("rising", [True, False])
@pytest.mark.parametrize("n", [2, 3, 17, 60])
def test_the_largest_step_leaves_the_least_squares(n, rising):
    for seed in range(20):
        scores = normal(n, seed=seed) + (seed % 3) * (np.arange(n) > n / 3)
        right = [k for k in range(1, n) if (scores[k:].mean() > scores[:k].mean()) == rising]
        wanted = min(right, key=lambda k: squares_left(scores, k)) if right else None
        assert largest_step(scores, rising=rising) == wanted


def test_a_step_is_found_in_noise_far_from_zero():
    for place in (1, 5, 30, 39):
        scores = 1e4 + np.where(np.arange(40) < place, 0.2, 0.9) + 0.1 * normal(40, seed=place)
        assert largest_step(scores) == place
        assert largest_step(-scores, rising=False) == place
        assert largest_step(scores.astype(np.float32)[::-1].copy(), rising=False) == 40 - place


def test_no_step_where_there_is_none():
    assert largest_step(np.zeros(0)) is None
    assert largest_step(np.ones(1)) is None
    assert largest_step(np.ones(5)) is None
    assert largest_step(np.arange(5.0), rising=False) is None
    assert largest_step(np.array([0.0, 1, 0, 1, 0, 1])) == 1, "of equal ones the first"


X = np.ones(3)
TEXT: Any = "1"


@pytest.mark.parametrize(
    ("call", "error", "argument"),
    [
        (lambda: time_markers(X.astype(int), threshold=0, hop=1), TypeError, "scores"),
        (lambda: time_markers(X[None], threshold=0, hop=1), ValueError, "scores"),
        (lambda: time_markers(X * np.nan, threshold=0, hop=1), ValueError, "scores"),
        (lambda: time_markers(X, threshold=np.nan, hop=1), ValueError, "threshold"),
        (lambda: time_markers(X, threshold=TEXT, hop=1), TypeError, "threshold"),
        (lambda: time_markers(X, threshold=0, hop=0), ValueError, "hop"),
        (lambda: time_markers(X, threshold=0, hop=2, length=1), ValueError, "length"),
        (lambda: time_markers(X, threshold=0, hop=2, max_gap=-1), ValueError, "max_gap"),
        (lambda: time_markers(X, threshold=0, hop=2, min_length=-1), ValueError, "min_length"),
        (lambda: time_markers(X, threshold=0, hop=2, start=np.inf), ValueError, "start"),
        (lambda: largest_step(X.astype(int)), TypeError, "scores"),
        (lambda: largest_step(X[None]), ValueError, "scores"),
        (lambda: largest_step(X * np.inf), ValueError, "scores"),
        (lambda: largest_step(X, rising=TEXT), TypeError, "rising"),
    ],
)
def test_bad_input(call, error, argument):
    with pytest.raises(error, match=f"^{argument}: expected .*, got "):
        call()
