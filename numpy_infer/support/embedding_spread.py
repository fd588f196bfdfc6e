"""Whether embeddings have collapsed: to one point, to a line, or class into class.

    distance    √(mean |xᵢ − xⱼ|²), over the pairs of different rows
    point       distance ≤ share · the usual distance
    line        (Σ λ)² / Σ λ² ≤ 1 + 2 · share, for the eigenvalues λ of the covariance
    merged      the rows of two classes together are in one point

The usual distance is that of rows of the same length in random directions, or that of the same
rows before training. (Σ λ)² / Σ λ² is the effective rank: 1 on a line, at most the number of axes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from numpy_infer.support import sanity_messages
from numpy_infer.support.checks import check_floating, check_number
from numpy_infer.support.sanity_verdicts import Verdict


def spread_verdict(
    embeddings: np.ndarray, labels: np.ndarray | None, start: np.ndarray | None, share: float
) -> Verdict:
    """The verdict of `check_spread` on arrays.

    Embeddings are centred, so that a common offset does not take their digits away, and divided by
    their largest entry, so that no square is too large for float64.
    """
    share = _checked_share(embeddings, labels, start, share)
    details: dict[str, Any] = {"spread": math.nan, "rank": math.nan, "merged": []}
    if not np.isfinite(embeddings).all():
        return Verdict(False, sanity_messages.spread(details, None, share), details)
    x = embeddings.astype("float64")
    size = max(np.abs(x).max(), np.finfo("float64").tiny)
    x = x / size  # (n, d), the largest entry is 1
    if start is None:  # rows of this length, in random directions
        usual = math.sqrt(2 * np.square(x).sum(axis=1).mean())
    else:
        usual = _distance(start.astype("float64") / size)
    details["spread"] = _distance(x) / usual if usual else 0.0
    # Below that the distances are rounding errors of float32, and have no directions.
    details["rank"] = _effective_rank(x) if details["spread"] > 1e-7 else 0.0
    classes = None if labels is None else len(np.unique(labels))
    kind = None
    if details["spread"] <= share:
        kind = "point"
    elif x.shape[1] > 1 and len(x) > 2 and classes != 2 and details["rank"] <= 1 + 2 * share:
        kind = "line"
    if labels is not None and kind != "point":
        details["merged"] = list(_merged(x, labels, share * usual))
        kind = kind or ("merged" if details["merged"] else None)
    message = sanity_messages.spread(details, kind or "apart", share)
    return Verdict(kind is None, message, details)


def _checked_share(
    embeddings: np.ndarray, labels: np.ndarray | None, start: np.ndarray | None, share: float
) -> float:
    """The share, once every argument is in order."""
    check_floating("embeddings", embeddings, ndim=2)
    if len(embeddings) < 2:
        raise ValueError(f"embeddings: expected at least 2 rows, got shape {embeddings.shape}")
    share = check_number("share", share, above=0)
    if start is not None:
        check_floating("start", start, ndim=2)
        if start.shape != embeddings.shape:
            wanted = f"the shape of embeddings, {embeddings.shape}"
            raise ValueError(f"start: expected {wanted}, got {start.shape}")
        if not np.isfinite(start).all():
            raise ValueError("start: expected finite numbers, got NaN or infinity")
    if labels is not None:
        if labels.dtype.kind not in "iu":
            raise TypeError(f"labels: expected integers, got {labels.dtype}")
        if labels.shape != embeddings.shape[:1]:
            wanted = f"{len(embeddings)} labels"
            raise ValueError(f"labels: expected {wanted}, got shape {labels.shape}")
    return share


def _distance(x: np.ndarray) -> float:
    """√(mean |xᵢ − xⱼ|²) over the pairs of different rows: twice the unbiased variance.

    Counted from the first row, so that equal rows have a distance of exactly 0.
    """
    return math.sqrt(2 * float((x - x[0]).var(axis=0, ddof=1).sum()))


def _effective_rank(x: np.ndarray) -> float:
    """(Σ λ)² / Σ λ², from the trace and the norm of the smaller one of xᵀx and xxᵀ."""
    centred = x - x.mean(axis=0)
    covariance = centred.T @ centred if x.shape[0] > x.shape[1] else centred @ centred.T
    return float(np.trace(covariance) ** 2 / np.square(covariance).sum())


def _merged(x: np.ndarray, labels: np.ndarray, radius: float) -> Iterator[tuple[int, int]]:
    """The pairs of classes that are both in one point, and in the same one."""
    tight, centres = [], []
    for label in np.unique(labels):
        rows = x[labels == label]
        if len(rows) == 1 or _distance(rows) <= radius:
            tight.append(int(label))
            centres.append(rows.mean(axis=0))
    for index, centre in enumerate(centres[:-1]):
        distances = np.linalg.norm(np.array(centres[index + 1 :]) - centre, axis=1)
        for other in np.flatnonzero(distances <= radius):
            yield tight[index], tight[index + 1 + other]
