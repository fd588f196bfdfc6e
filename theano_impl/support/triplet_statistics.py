"""How hard the triplets are that a mining has found: numbers to watch while a model learns."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import theano.tensor as T
from theano.gradient import disconnected_grad
from theano.tensor.var import TensorVariable

from theano_impl.distances import DISTANCES, paired_distances
from theano_impl.support.checks import (
    check_choice,
    check_dtype,
    check_floating,
    check_integers,
    check_not_empty,
    check_number,
    check_size,
    check_values,
    check_width,
)
from theano_impl.support.ties import rounding_error


class TripletStatistics(NamedTuple):
    """How many triplets a mining has found, and how hard they are: numbers without axes.

    count: of the triplets, int64. violating: the share of them that violates the margin.
    positive_distance, negative_distance, hinge: means. Of no triplets, all but the count are NaN.
    """

    count: TensorVariable
    violating: TensorVariable
    positive_distance: TensorVariable
    negative_distance: TensorVariable
    hinge: TensorVariable


def triplet_statistics(
    embeddings: TensorVariable,
    triplets: Sequence[TensorVariable],
    *,
    margin: float = 0.3,
    distance: str = "cosine",
    reference: TensorVariable | None = None,
) -> TripletStatistics:
    """How hard the triplets are that a mining has found: numbers to watch while a model learns.

        share with d(a, n) < d(a, p) + margin,  means of d(a, p), d(a, n) and the hinge

    A margin that is met to within rounding is met. The numbers have no gradient.

    Args:
        embeddings: (n, features), float32 or float64.
        triplets: indices of anchors, positives and negatives, (triplets,) integers each, such as
            `Triplets`.
        margin: at least 0, in the unit of the distance.
        distance: cosine, sqeuclidean or euclidean.
        reference: (m, features), whose rows positives and negatives are; embeddings when None.
    Returns:
        TripletStatistics. Of no triplets the count is 0 and all else NaN: no mean exists.
    Raises:
        TypeError: for integer embeddings, indices that are no integers, and dtypes that differ.
        ValueError: for a wrong number of axes or a negative margin.
        AssertionError: when it runs, for an empty batch, wrong shapes or rows that do not exist.
    Example:
        >>> x = [[0.0], [1.0], [3.0]]
        >>> triplets = batch_hard_triplets(x, [0, 0, 1], distance="euclidean")
        >>> found = triplet_statistics(x, triplets, margin=1.5, distance="euclidean")
        >>> [number.eval().item() for number in found]  # 1 − 3 and 1 − 2: one violates 1.5
        [2, 0.5, 1.0, 2.5, 0.25]
    """
    margin = check_number("margin", margin, least=0)
    check_choice("distance", distance, DISTANCES)
    anchor, positive, negative = triplet_rows(embeddings, triplets, reference)
    near = paired_distances(anchor, positive, distance=distance)  # (triplets,)
    far = paired_distances(anchor, negative, distance=distance)
    zero = T.zeros((1,), dtype=near.dtype)
    tolerance = rounding_error(T.concatenate([near, far, zero]), distance)
    violation = np.asarray(margin, near.dtype) + near - far
    violating = T.cast(violation > tolerance, near.dtype)
    # The mean of nothing would be 0 / 0, of which NumPy warns.
    count, nan = near.shape[0], np.asarray(math.nan, near.dtype)
    some = T.cast(T.maximum(count, 1), near.dtype)
    hinge = T.maximum(violation, 0)
    means = (T.switch(count > 0, T.sum(x) / some, nan) for x in (violating, near, far, hinge))
    return TripletStatistics(count, *means)


def triplet_rows(
    embeddings: TensorVariable,
    triplets: Sequence[TensorVariable],
    reference: TensorVariable | None,
) -> tuple[TensorVariable, TensorVariable, TensorVariable]:
    """Anchors, rows of embeddings, with positives and negatives, rows of the reference, if any."""
    embeddings = disconnected_grad(T.as_tensor_variable(embeddings))
    check_floating("embeddings", embeddings, ndim=2)
    embeddings = check_not_empty("embeddings", embeddings)
    pool = embeddings
    if reference is not None:
        pool = disconnected_grad(T.as_tensor_variable(reference))
    check_floating("reference", pool, ndim=2)
    pool = check_not_empty("reference", pool)
    check_dtype("reference", pool, embeddings.dtype)
    pool = check_width("reference", pool, embeddings.shape[1])
    anchors, positives, negatives = (T.as_tensor_variable(rows) for rows in triplets)
    found = []
    for name, rows, x in (
        ("anchors", anchors, embeddings),
        ("positives", positives, pool),
        ("negatives", negatives, pool),
    ):
        check_integers(name, rows, ndim=1)
        rows = check_size(name, rows, 0, anchors.shape[0], "indices")
        rows = T.cast(rows, "int64")
        inside = T.all((rows >= 0) & (rows < x.shape[0]))
        found.append(x[check_values(rows, inside, name, "rows that exist")])
    anchor, positive, negative = found
    return anchor, positive, negative
