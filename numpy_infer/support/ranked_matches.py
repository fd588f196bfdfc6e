"""Which of the nearest references have a query's label, in the order of nearness, block by block.

Rows that are equal have equal similarities, bit by bit: each distinct reference has one column of
the product. So ties go to the lower index.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from numpy_infer.distances import l2_normalize
from numpy_infer.support.checks import (
    check_choice,
    check_dtype,
    check_finite,
    check_floating,
    check_integers,
    check_not_empty,
    check_shape,
    check_width,
)
from numpy_infer.support.ties import among_top_k

METRICS = ("cosine", "euclidean")
ENTRIES = 1 << 22  # of a block: queries times references
FEW = 8  # less than one of so many references are selected, and then sorted


class Retrieval(NamedTuple):
    """Checked queries and references, and how many references have each query's label."""

    queries: np.ndarray
    labels: np.ndarray
    references: np.ndarray
    reference_labels: np.ndarray
    relevant: np.ndarray  # (queries,)
    alone: bool  # the queries are the references: none is its own neighbor

    @property
    def candidates(self) -> int:
        """How many references each query is compared with."""
        return len(self.references) - self.alone


def check_retrieval(
    embeddings: np.ndarray,
    labels: np.ndarray,
    references: np.ndarray | None,
    reference_labels: np.ndarray | None,
) -> Retrieval:
    """The rows, checked; ValueError when no query has a reference of its label."""
    _check_rows("embeddings", embeddings, "labels", labels)
    if (references is None) != (reference_labels is None):
        missing = "references" if references is None else "reference_labels"
        raise ValueError(f"{missing}: expected it with the other of the two, got None")
    alone = references is None or reference_labels is None
    if references is None or reference_labels is None:
        references, reference_labels = embeddings, labels
    _check_rows("references", references, "reference_labels", reference_labels)
    check_dtype("references", references, embeddings.dtype)
    check_width("references", references, embeddings.shape[1])
    known, counts = np.unique(reference_labels, return_counts=True)
    index = np.minimum(np.searchsorted(known, labels), len(known) - 1)
    relevant = np.where(known[index] == labels, counts[index], 0) - alone
    if not (relevant > 0).any():
        raise ValueError("labels: expected a query with a reference of its label, got none")
    return Retrieval(embeddings, labels, references, reference_labels, relevant, alone)


def _check_rows(name: str, x: np.ndarray, labels_name: str, labels: np.ndarray) -> None:
    check_floating(name, x, ndim=2)
    check_not_empty(name, x)
    check_finite(name, x)
    check_integers(labels_name, labels, ndim=1)
    check_shape(labels_name, labels, (len(x),))


def ranked_matches(
    data: Retrieval, metric: str, depth: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """For blocks of the queries that have a relevant reference: matches, and counts of relevant.

    matches: (block, depth) bool: whether the reference at each rank has the query's label.
    """
    check_choice("metric", metric, METRICS)
    queries, references = data.queries, data.references
    if metric == "cosine":
        queries, references = l2_normalize(queries), l2_normalize(references)
        shift = np.zeros(len(references), references.dtype)
    else:  # −‖q − r‖² = 2 q·r − ‖r‖² − ‖q‖², of which the last is the same for all references
        center = references.mean(axis=0)
        queries, references = queries - center, references - center
        shift = -(references * references).sum(axis=1)
        queries = 2 * queries
    distinct, first, inverse = np.unique(references, axis=0, return_index=True, return_inverse=True)
    shift, inverse = shift[first], inverse.reshape(-1)
    counted = np.flatnonzero(data.relevant > 0)
    rows = max(1, ENTRIES // len(references))
    for start in range(0, len(counted), rows):
        block = counted[start : start + rows]
        similarity = (queries[block] @ distinct.T + shift)[:, inverse]
        if data.alone:
            similarity[np.arange(len(block)), block] = -np.inf  # the last of all
        ranks = _nearest(similarity, depth)
        yield data.reference_labels[ranks] == data.labels[block, None], data.relevant[block]


def _nearest(similarity: np.ndarray, depth: int) -> np.ndarray:
    """The columns of the largest numbers of each row, in order; ties go to the lower one."""
    if depth * FEW > similarity.shape[1]:
        return np.argsort(-similarity, axis=1, kind="stable")[:, :depth]
    columns = np.nonzero(among_top_k(similarity, depth))[1].reshape(len(similarity), depth)
    chosen = np.take_along_axis(similarity, columns, axis=1)
    return np.take_along_axis(columns, np.argsort(-chosen, axis=1, kind="stable"), axis=1)
