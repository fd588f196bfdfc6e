"""Retrieval, thresholds and confusion: against their definitions in loops, and other programs.

`LEARNED` holds what pytorch-metric-learning 2.9.0 gives for `digits_split`, by

    AccuracyCalculator(k=m, knn_func=CustomKNN(LpDistance(normalize_embeddings=..., power=2)))

where m is the number of references that a query is compared with. For cosines it normalizes.
"""

import math
from typing import Any

import numpy as np
import pytest

from numpy_infer.evaluation import (
    confusion,
    mean_average_precision,
    r_precision,
    recall_at_k,
    roc_curve,
    threshold_by_f1,
    threshold_by_false_alarms,
)
from numpy_infer.support import ranked_matches
from shared_tests.fixtures import digits, normal

# {(metric, whether there are other references): (recall at 1, R-precision, MAP@R, MAP)}
LEARNED = {
    ("cosine", True): (
        0.9487179487179487,
        0.752899877899878,
        0.7305186711436712,
        0.8111469288354064,
    ),
    ("cosine", False): (
        0.8974358974358975,
        0.758974358974359,
        0.744017094017094,
        0.8264052576382894,
    ),
    ("euclidean", True): (
        0.9487179487179487,
        0.756105006105006,
        0.7380698005698008,
        0.8156161472560515,
    ),
    ("euclidean", False): (
        0.8974358974358975,
        0.7444444444444445,
        0.725014245014245,
        0.8207890453639356,
    ),
}


def digits_split() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """40 queries and 57 references, their labels; one query has a label of its own."""
    pixels, labels = digits(97)
    labels = labels.copy()
    labels[7] = 99
    return pixels[:40], labels[:40], pixels[40:], labels[40:]


@pytest.mark.parametrize(("metric", "others"), LEARNED)
def test_retrieval_is_that_of_pytorch_metric_learning(metric, others):
    x, labels, references, reference_labels = digits_split()
    options: dict[str, Any] = {"metric": metric}
    if others:
        options |= {"references": references, "reference_labels": reference_labels}
    found = (
        recall_at_k(x, labels, 1, **options),
        r_precision(x, labels, **options),
        mean_average_precision(x, labels, at_r=True, **options),
        mean_average_precision(x, labels, **options),
    )
    np.testing.assert_allclose(found, LEARNED[metric, others], rtol=0, atol=1e-12)


def ranked(x, labels, references, reference_labels, metric) -> list[tuple[list[bool], int]]:
    """For each query that counts: whether each reference matches, the nearest first; and R."""
    found = []
    for i, query in enumerate(x):
        order = []
        for j, one in enumerate(x if references is None else references):
            if references is None and i == j:
                continue
            if metric == "cosine":
                distance = -(query @ one) / max(np.linalg.norm(query) * np.linalg.norm(one), 1e-12)
            else:
                distance = ((query - one) ** 2).sum()
            order.append((round(distance, 9), j))
        known = labels if reference_labels is None else reference_labels
        matches = [bool(known[j] == labels[i]) for _, j in sorted(order)]
        if any(matches):
            found.append((matches, sum(matches)))
    return found


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize("others", [True, False])
@pytest.mark.parametrize("case", ["plain", "ties", "all alike"])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_retrieval_is_its_definition(metric, others, case, dtype, monkeypatch):
    monkeypatch.setattr(ranked_matches, "ENTRIES", 100)  # a few rows a block
    x, references = normal(23, 3, seed=1), normal(31, 3, seed=2)
    rng = np.random.default_rng(3)
    labels, reference_labels = rng.integers(0, 5, 23), rng.integers(1, 7, 31)
    if case == "ties":  # each row several times, a zero row too
        few = np.concatenate([normal(4, 3, seed=4), np.zeros((1, 3))])
        x, references = few[rng.integers(0, 5, 23)], few[rng.integers(0, 5, 31)]
    elif case == "all alike":
        x, references = np.ones((23, 3)), np.ones((31, 3))
    x, references = x.astype(dtype), references.astype(dtype)
    options: dict[str, Any] = {"metric": metric}
    if others:
        options |= {"references": references, "reference_labels": reference_labels}
    given = (references, reference_labels) if others else (None, None)
    rows = ranked(x.astype("float64"), labels, *given, metric)
    for k in (1, 2, 5, 22):
        wanted = np.mean([any(matches[:k]) for matches, _ in rows])
        np.testing.assert_allclose(recall_at_k(x, labels, k, **options), wanted, atol=1e-15)
    share = [sum(matches[:r]) / r for matches, r in rows]
    np.testing.assert_allclose(r_precision(x, labels, **options), np.mean(share), atol=1e-14)
    for at_r in (False, True):
        means = []
        for matches, r in rows:
            depth = r if at_r else len(matches)
            means.append(
                sum(sum(matches[: i + 1]) / (i + 1) for i in range(depth) if matches[i]) / r
            )
        found = mean_average_precision(x, labels, at_r=at_r, **options)
        np.testing.assert_allclose(found, np.mean(means), rtol=0, atol=1e-14)


@pytest.mark.parametrize("m", [7, 8, 9])
def test_both_ways_of_finding_the_nearest(m):
    """On both sides of the size at which few columns are selected before they are sorted."""
    similarity = np.random.default_rng(5).integers(0, 4, (50, m)).astype(float)
    for depth in (1, 2):
        wanted = [
            sorted(range(m), key=lambda j, row=row: (-row[j], j))[:depth] for row in similarity
        ]
        np.testing.assert_array_equal(ranked_matches._nearest(similarity, depth), wanted)


SCORES = np.array([0.9, 0.8, 0.8, 0.7, 0.4, 0.4, 0.4, 0.1])
POSITIVES = np.array([1, 1, 0, 1, 0, 1, 0, 0], bool)


def test_the_curve_is_its_definition():
    curve = roc_curve(SCORES, POSITIVES)
    np.testing.assert_array_equal(curve.thresholds, [np.inf, 0.9, 0.8, 0.7, 0.4, 0.1])
    for i, threshold in enumerate(curve.thresholds):
        accepted = threshold <= SCORES
        assert curve.true_positive_rates[i] == accepted[POSITIVES].mean()
        assert curve.false_positive_rates[i] == accepted[~POSITIVES].mean()
    above = SCORES[POSITIVES][:, None] - SCORES[~POSITIVES]
    area = ((above > 0) + 0.5 * (above == 0)).mean()
    np.testing.assert_allclose(curve.auc, area, rtol=0, atol=1e-15)


def outcome(scores: np.ndarray, positives: np.ndarray, threshold: float) -> tuple[float, ...]:
    """F1 and the rate of false alarms of a score above the threshold."""
    accepted = scores > threshold
    right = (accepted & positives).sum()
    return 2 * right / (accepted.sum() + positives.sum()), accepted[~positives].mean()


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("seed", range(20))
def test_thresholds_are_the_best_ones(seed, dtype):
    rng = np.random.default_rng(seed)
    positives = rng.permutation(np.arange(17) < rng.integers(1, 17))
    scores = (rng.integers(0, 9, 17) / 7 + rng.normal(size=17) * (seed % 2)).astype(dtype)
    tried = [-9.0, *np.sort(scores).tolist()]
    found = threshold_by_f1(scores, positives)
    best = max(outcome(scores, positives, one)[0] for one in tried)
    f1, alarms = outcome(scores, positives, found.threshold)
    np.testing.assert_allclose([f1, found.f1, found.false_alarm_rate], [best, best, alarms])
    for rate in (0.0, 0.1, 0.5, 1.0):
        found = threshold_by_false_alarms(scores, positives, rate)
        allowed = [one for one in tried if outcome(scores, positives, one)[1] <= rate]
        accepted = (scores > found.threshold).sum()
        assert accepted == (scores > min(allowed)).sum()
        assert found.recall == (scores > found.threshold)[positives].mean()
        assert found.false_alarm_rate == (scores > found.threshold)[~positives].mean()
        if accepted:
            assert found.precision == positives[scores > found.threshold].mean()
        else:
            assert math.isnan(found.precision)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_thresholds_between_neighboring_numbers(dtype):
    low = np.array(0.7, dtype)
    high = np.nextafter(low, np.array(1, dtype))
    for scores in (np.stack([low, high]), np.array([-1, 1], dtype) * np.finfo(dtype).max):
        found = threshold_by_f1(scores, np.array([False, True]))
        np.testing.assert_array_equal(scores > found.threshold, [False, True])


def test_confusion_counts():
    labels, predictions = np.array([3, 3, -1, 8, 8, 8]), np.array([3, 5, 3, 8, 8, -1])
    found = confusion(labels, predictions)
    np.testing.assert_array_equal(found.classes, [-1, 3, 5, 8])
    wanted = [[0, 1, 0, 0], [0, 1, 1, 0], [0, 0, 0, 0], [1, 0, 0, 2]]
    np.testing.assert_array_equal(found.counts, wanted)
    assert found.accuracy == 0.5
    np.testing.assert_array_equal(found.precision, [0, 0.5, 0, 1])
    np.testing.assert_array_equal(found.recall, [0, 0.5, np.nan, 2 / 3])


X, LABELS = normal(5, 3, seed=6), np.array([1, 1, 2, 2, 3])
TEXT: Any = "x"
YES = np.ones(8, bool)


@pytest.mark.parametrize(
    ("call", "error", "argument"),
    [
        (lambda: recall_at_k(X.astype(int), LABELS, 1), TypeError, "embeddings"),
        (lambda: recall_at_k(X[0], LABELS, 1), ValueError, "embeddings"),
        (lambda: recall_at_k(X[:0], LABELS[:0], 1), ValueError, "embeddings"),
        (lambda: recall_at_k(X * np.nan, LABELS, 1), ValueError, "embeddings"),
        (lambda: recall_at_k(X, LABELS / 1, 1), TypeError, "labels"),
        (lambda: recall_at_k(X, LABELS[1:], 1), ValueError, "labels"),
        (lambda: recall_at_k(X, np.arange(5), 1), ValueError, "labels"),
        (lambda: recall_at_k(X, LABELS, 0), ValueError, "k"),
        (lambda: recall_at_k(X, LABELS, 5), ValueError, "k"),
        (lambda: recall_at_k(X, LABELS, 1, metric="dot"), ValueError, "metric"),
        (lambda: r_precision(X, LABELS, references=X), ValueError, "reference_labels"),
        (lambda: r_precision(X, LABELS, reference_labels=LABELS), ValueError, "references"),
        (
            lambda: r_precision(X, LABELS, references=X[:, 1:], reference_labels=LABELS),
            ValueError,
            "references",
        ),
        (
            lambda: r_precision(X, LABELS, references=X.astype("float32"), reference_labels=LABELS),
            TypeError,
            "references",
        ),
        (lambda: mean_average_precision(X, LABELS, at_r=TEXT), TypeError, "at_r"),
        (lambda: roc_curve(SCORES.astype(int), POSITIVES), TypeError, "scores"),
        (lambda: roc_curve(SCORES / 0, POSITIVES), ValueError, "scores"),
        (lambda: roc_curve(SCORES, POSITIVES.astype(int)), TypeError, "positives"),
        (lambda: roc_curve(SCORES, POSITIVES[1:]), ValueError, "positives"),
        (lambda: roc_curve(SCORES, YES), ValueError, "positives"),
        (lambda: threshold_by_f1(SCORES, ~YES), ValueError, "positives"),
        (lambda: threshold_by_false_alarms(SCORES, POSITIVES, -0.1), ValueError, "rate"),
        (lambda: threshold_by_false_alarms(SCORES, POSITIVES, 1.1), ValueError, "rate"),
        (lambda: confusion(LABELS[:0], LABELS[:0]), ValueError, "labels"),
        (lambda: confusion(LABELS / 1, LABELS), TypeError, "labels"),
        (lambda: confusion(LABELS, LABELS[1:]), ValueError, "predictions"),
    ],
)
@pytest.mark.filterwarnings("ignore:divide by zero:RuntimeWarning")
def test_bad_input(call, error, argument):
    with pytest.raises(error, match=f"^{argument}: expected .*, got "):
        call()
