"""How good embeddings and scores are, from plain arrays: for models of every framework.

    recall_at_k, mean_average_precision, r_precision    of embeddings, by their nearest neighbors
    roc_curve, threshold_by_f1, threshold_by_false_alarms    of scores
    confusion    of classes

Neighbors cost one matrix product in blocks: memory grows with the rows, not with their square.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from numpy_infer.support.checks import (
    check_count,
    check_flag,
    check_integers,
    check_not_empty,
    check_number,
    check_shape,
)
from numpy_infer.support.operating_points import (
    RocCurve,
    Threshold,
    chosen_threshold,
    operating_points,
)
from numpy_infer.support.ranked_matches import check_retrieval, ranked_matches

__all__ = [
    "Confusion",
    "RocCurve",
    "Threshold",
    "confusion",
    "mean_average_precision",
    "r_precision",
    "recall_at_k",
    "roc_curve",
    "threshold_by_f1",
    "threshold_by_false_alarms",
]


class Confusion(NamedTuple):
    """How often each class was taken for each."""

    classes: np.ndarray  # (c,), ascending
    counts: np.ndarray  # (c, c) int64: the row is the label's, the column the prediction's

    @property
    def accuracy(self) -> float:
        """The share of the rows with the right class."""
        return float(np.trace(self.counts) / self.counts.sum())

    @property
    def precision(self) -> np.ndarray:
        """Of each class: the share of its predictions that are right, (c,); NaN without any."""
        return _share(np.diagonal(self.counts), self.counts.sum(axis=0))

    @property
    def recall(self) -> np.ndarray:
        """Of each class: the share of its rows that are found, (c,); NaN without any."""
        return _share(np.diagonal(self.counts), self.counts.sum(axis=1))


def recall_at_k(
    embeddings: np.ndarray,
    labels: np.ndarray,
    k: int,
    *,
    references: np.ndarray | None = None,
    reference_labels: np.ndarray | None = None,
    metric: str = "cosine",
) -> float:
    """How many queries have their label among the k nearest references.

        mean over the queries of  [any of the k nearest has the query's label]

    A query without a reference of its label does not count. Ties go to the lower index.

    Args:
        embeddings: (n, features), float32 or float64, finite: the queries.
        labels: (n,) integers.
        k: 1..m.
        references: (m, features); when None, each query is compared with all others.
        reference_labels: (m,) integers.
        metric: "cosine" or "euclidean".
    Returns:
        A number in 0..1.
    Raises:
        TypeError: for other numbers, or references of another dtype. ValueError: for shapes that do
            not fit, NaN, infinity, a k out of range, or when no query has a reference of its label.
    Source: H. Jégou, M. Douze, C. Schmid, Product Quantization for Nearest Neighbor Search, 2011.
    Example:
        >>> recall_at_k(np.array([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0]]), np.array([7, 7, 8]), 1)
        1.0
    """
    data = check_retrieval(embeddings, labels, references, reference_labels)
    k = check_count("k", k, most=data.candidates)
    found = [matches.any(axis=1) for matches, _ in ranked_matches(data, metric, k)]
    return float(np.concatenate(found).mean())


def mean_average_precision(
    embeddings: np.ndarray,
    labels: np.ndarray,
    *,
    references: np.ndarray | None = None,
    reference_labels: np.ndarray | None = None,
    metric: str = "cosine",
    at_r: bool = False,
) -> float:
    """The mean over the queries of the precision at each relevant reference.

        AP = 1/R Σ_i [reference i is relevant] · (relevant ones among the first i) / i

    R references have the query's label. A query with R = 0 does not count. Ties go to the lower
    index.

    Args:
        embeddings, labels, references, reference_labels, metric: as of `recall_at_k`.
        at_r: whether the sum ends with i = R (MAP@R).
    Returns:
        A number in 0..1.
    Raises:
        TypeError, ValueError: as `recall_at_k`.
    Source: K. Musgrave, S. Belongie, S.-N. Lim, A Metric Learning Reality Check, 2020, for MAP@R.
    Example:
        >>> x = np.array([[1.0, 0.0], [1.0, 0.1], [1.0, 0.3], [1.0, 0.4]])
        >>> round(mean_average_precision(x, np.array([7, 8, 7, 8])), 4)
        0.4167
    """
    at_r = check_flag("at_r", at_r)
    data = check_retrieval(embeddings, labels, references, reference_labels)
    depth = int(data.relevant.max()) if at_r else data.candidates
    ranks = np.arange(1, depth + 1)
    means = []
    for matches, relevant in ranked_matches(data, metric, depth):
        precision = np.cumsum(matches, axis=1) / ranks
        counted = matches & (ranks <= relevant[:, None]) if at_r else matches
        means.append((precision * counted).sum(axis=1) / relevant)
    return float(np.concatenate(means).mean())


def r_precision(
    embeddings: np.ndarray,
    labels: np.ndarray,
    *,
    references: np.ndarray | None = None,
    reference_labels: np.ndarray | None = None,
    metric: str = "cosine",
) -> float:
    """The mean over the queries of the share of relevant ones among the R nearest references.

    R references have the query's label. A query with R = 0 does not count. Ties go to the lower
    index.

    Args:
        embeddings, labels, references, reference_labels, metric: as of `recall_at_k`.
    Returns:
        A number in 0..1.
    Raises:
        TypeError, ValueError: as `recall_at_k`.
    Source: K. Musgrave, S. Belongie, S.-N. Lim, A Metric Learning Reality Check, 2020.
    Example:
        >>> x = np.array([[1.0, 0.0], [1.0, 0.1], [1.0, 0.5], [1.0, 0.6]])
        >>> round(r_precision(x, np.array([7, 7, 7, 8])), 4)
        0.8333
    """
    data = check_retrieval(embeddings, labels, references, reference_labels)
    depth = int(data.relevant.max())
    ranks = np.arange(1, depth + 1)
    means = [
        (matches & (ranks <= relevant[:, None])).sum(axis=1) / relevant
        for matches, relevant in ranked_matches(data, metric, depth)
    ]
    return float(np.concatenate(means).mean())


def roc_curve(scores: np.ndarray, positives: np.ndarray) -> RocCurve:
    """The receiver operating characteristic of scores: `roc_curve(scores, positives).auc`.

    Args:
        scores: (n,), float32 or float64, finite; high for what is accepted.
        positives: (n,) bool.
    Returns:
        RocCurve: at infinity and at each distinct score, descending.
    Raises:
        TypeError: for other numbers. ValueError: for shapes that differ, NaN, infinity, no positive
            or no negative.
    Source: T. Fawcett, An Introduction to ROC Analysis, 2006.
    Example:
        >>> roc_curve(np.array([0.9, 0.8, 0.3, 0.1]), np.array([True, False, True, False])).auc
        0.75
    """
    scores, hits, alarms = operating_points(scores, positives)
    thresholds = np.concatenate([[np.inf], scores.astype(np.float64)])
    return RocCurve(alarms / alarms[-1], hits / hits[-1], thresholds)


def threshold_by_f1(scores: np.ndarray, positives: np.ndarray) -> Threshold:
    """The threshold with the largest F1; of equal ones the highest.

        F1 = 2 · precision · recall / (precision + recall),  accepted: score > threshold

    It lies halfway between two scores, or just below all of them.

    Args:
        scores, positives: as of `roc_curve`.
    Returns:
        Threshold.
    Raises:
        TypeError, ValueError: as `roc_curve`.
    Example:
        >>> scores, positives = np.array([0.75, 0.5, 0.25]), np.array([True, True, False])
        >>> threshold_by_f1(scores, positives).threshold
        0.375
    """
    points = operating_points(scores, positives)
    _, hits, alarms = points
    f1 = 2 * hits / (hits + alarms + hits[-1])
    return chosen_threshold(*points, int(f1.argmax()))


def threshold_by_false_alarms(scores: np.ndarray, positives: np.ndarray, rate: float) -> Threshold:
    """The lowest threshold that accepts at most this share of the negatives.

        false alarm rate = accepted negatives / negatives ≤ rate,  accepted: score > threshold

    It lies halfway between two scores, or just below all of them, or is the highest of all.

    Args:
        scores, positives: as of `roc_curve`.
        rate: 0..1.
    Returns:
        Threshold.
    Raises:
        TypeError, ValueError: as `roc_curve`, and for a rate out of range.
    Example:
        >>> scores, positives = np.array([0.75, 0.5, 0.25]), np.array([True, False, True])
        >>> threshold_by_false_alarms(scores, positives, 0.0).threshold
        0.625
    """
    rate = check_number("rate", rate, least=0)
    if rate > 1:
        raise ValueError(f"rate: expected a number in 0..1, got {rate}")
    points = operating_points(scores, positives)
    alarms = points[2]
    allowed = alarms / alarms[-1] <= rate
    return chosen_threshold(*points, int(np.flatnonzero(allowed)[-1]))


def confusion(labels: np.ndarray, predictions: np.ndarray) -> Confusion:
    """How often each class was predicted for rows of each class.

        counts_ab = rows with label a and prediction b

    Args:
        labels: (n,) integers.
        predictions: (n,) integers.
    Returns:
        Confusion, over all classes in either: `counts`, `accuracy`, `precision`, `recall`.
    Raises:
        TypeError: for what are no integers. ValueError: for shapes that differ, or no rows.
    Example:
        >>> found = confusion(np.array([3, 3, 5]), np.array([3, 5, 5]))
        >>> found.counts.tolist(), found.recall.tolist()
        ([[1, 1], [0, 1]], [0.5, 1.0])
    """
    check_integers("labels", labels, ndim=1)
    check_not_empty("labels", labels)
    check_integers("predictions", predictions, ndim=1)
    check_shape("predictions", predictions, labels.shape)
    classes, index = np.unique(np.concatenate([labels, predictions]), return_inverse=True)
    rows, columns = np.split(index, 2)
    counts = np.bincount(rows * len(classes) + columns, minlength=len(classes) ** 2)
    return Confusion(classes, counts.reshape(len(classes), -1))


def _share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    share = np.full(len(part), np.nan)
    np.divide(part, whole, out=share, where=whole > 0)
    return share
