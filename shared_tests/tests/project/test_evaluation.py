"""The numbers of `numpy_infer.evaluation` are scikit-learn's, where it has them."""

import numpy as np
import pytest
from sklearn import metrics

from numpy_infer.evaluation import (
    confusion,
    mean_average_precision,
    recall_at_k,
    roc_curve,
    threshold_by_f1,
)
from shared_tests.fixtures import digits, normal


@pytest.mark.parametrize("ties", [False, True])
def test_roc_curves(ties):
    rng = np.random.default_rng(1)
    positives = rng.random(301) < 0.3
    scores = normal(301, seed=2) + positives
    if ties:
        scores = np.round(scores, 1)
    found = roc_curve(scores, positives)
    wanted = metrics.roc_curve(positives, scores, drop_intermediate=False)
    for one, other in zip(found, wanted, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-15)
    np.testing.assert_allclose(found.auc, metrics.roc_auc_score(positives, scores), atol=1e-12)


def test_the_best_f1():
    positives = np.random.default_rng(3).random(301) < 0.3
    scores = np.round(normal(301, seed=4) + positives, 1)
    precision, recall, _ = metrics.precision_recall_curve(positives, scores)
    found = threshold_by_f1(scores, positives)
    best = (2 * precision * recall / np.maximum(precision + recall, 1e-300)).max()
    np.testing.assert_allclose(found.f1, best, rtol=0, atol=1e-12)
    accepted = scores > found.threshold
    np.testing.assert_allclose(metrics.f1_score(positives, accepted), best, rtol=0, atol=1e-12)
    wanted = metrics.precision_score(positives, accepted), metrics.recall_score(positives, accepted)
    np.testing.assert_allclose((found.precision, found.recall), wanted, rtol=0, atol=1e-12)


def test_confusion():
    rng = np.random.default_rng(5)
    labels, predictions = rng.integers(-2, 5, 401), rng.integers(-2, 5, 401)
    found = confusion(labels, predictions)
    np.testing.assert_array_equal(found.counts, metrics.confusion_matrix(labels, predictions))
    np.testing.assert_allclose(found.accuracy, metrics.accuracy_score(labels, predictions))
    wanted = metrics.precision_recall_fscore_support(labels, predictions)[:2]
    np.testing.assert_allclose((found.precision, found.recall), wanted, rtol=0, atol=1e-12)


def test_average_precision_of_digits():
    x, labels = digits(97)
    cosines = metrics.pairwise.cosine_similarity(x)
    means = [
        metrics.average_precision_score(np.delete(labels == labels[i], i), np.delete(cosines[i], i))
        for i in range(len(x))
    ]
    np.testing.assert_allclose(mean_average_precision(x, labels), np.mean(means), atol=1e-12)
    nearest = np.argsort(-cosines + 2 * np.eye(len(x)), axis=1, kind="stable")[:, :3]
    hits = (labels[nearest] == labels[:, None]).any(axis=1)
    np.testing.assert_allclose(recall_at_k(x, labels, 3), hits.mean(), atol=1e-15)
