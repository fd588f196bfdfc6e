"""What the searches for triplets share: checks, comparable distances, where a margin is met."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import theano.tensor as T
from theano.gradient import disconnected_grad
from theano.tensor.var import TensorVariable

from theano_impl.distances import DISTANCES, pairwise_distances, squared_distances
from theano_impl.support.checks import (
    check_choice,
    check_dtype,
    check_finite,
    check_floating,
    check_integers,
    check_like,
    check_not_empty,
    check_size,
    check_values,
    check_width,
)
from theano_impl.support.labels import class_pairs
from theano_impl.support.ties import rounding_error


def search_batch(
    embeddings: TensorVariable,
    labels: TensorVariable | None,
    distance: str,
    reference: TensorVariable | None = None,
    reference_labels: TensorVariable | None = None,
    same: TensorVariable | None = None,
) -> tuple[TensorVariable, TensorVariable, TensorVariable]:
    """Comparable distances, and which pairs are positive and which negative; each (n, m).

    From the m rows of the reference, or without one from the rows of the batch.
    """
    check_choice("distance", distance, DISTANCES)
    embeddings = disconnected_grad(T.as_tensor_variable(embeddings))
    if reference is not None:
        reference = disconnected_grad(T.as_tensor_variable(reference))
    check_floating("embeddings", embeddings, ndim=2)
    embeddings = check_not_empty("embeddings", embeddings)
    embeddings = check_finite("embeddings", embeddings)
    reference, positive, negative = class_pairs(
        embeddings, labels, reference, reference_labels, same
    )
    if reference is not embeddings:
        reference = check_finite("reference", reference)
    distances = pairwise_distances(embeddings, reference, distance=comparable_distance(distance))
    distances = check_finite("embeddings", distances)  # the squares of large numbers overflow
    return distances, positive, negative


def checked_pool(
    anchor: TensorVariable, positive: TensorVariable, pool: TensorVariable
) -> tuple[TensorVariable, TensorVariable, TensorVariable]:
    """Pairs, (n, features) each, and a pool, (m, features), neither empty; all finite."""
    anchor, positive, pool = (
        disconnected_grad(T.as_tensor_variable(x)) for x in (anchor, positive, pool)
    )
    check_floating("anchor", anchor, ndim=2)
    anchor = check_not_empty("anchor", anchor)
    positive = check_like("positive", positive, "anchor", anchor)
    check_floating("pool", pool, ndim=2)
    check_dtype("pool", pool, anchor.dtype)
    pool = check_width("pool", pool, anchor.shape[1])
    pool = check_not_empty("pool", pool)
    anchor = check_finite("anchor", anchor)
    positive = check_finite("positive", positive)
    pool = check_finite("pool", pool)
    return anchor, positive, pool


def comparable_distance(distance: str) -> str:
    """The distance to compare by: squares are in the order of their roots, rounded evenly."""
    return "sqeuclidean" if distance == "euclidean" else distance


def margin_reach(near: TensorVariable, margin: float, distance: str) -> TensorVariable:
    """Where the margin beyond `near` is met; both as comparable distances."""
    step = np.asarray(margin, near.dtype)
    if distance == "euclidean":
        return (T.sqrt(T.maximum(near, 0)) + step) ** 2
    return near + step


def pool_rounding_error(
    anchor: TensorVariable, pool: TensorVariable, distance: str
) -> TensorVariable:
    """`rounding_error` of all distances at once, so that it does not depend on the blocks.

    No squared distance between two rows is above four times the largest one to the center.
    """
    center = T.mean(pool, axis=0, keepdims=True)
    spread = T.concatenate(
        [squared_distances(anchor, center), squared_distances(pool, center)], axis=0
    )
    spread = check_finite("pool", spread)
    return rounding_error(4 * spread, comparable_distance(distance))


def among_nearest(
    distances: TensorVariable, limit: int, tolerance: TensorVariable
) -> TensorVariable:
    """Which are among so many nearest of their row; of those that tie for it the lower indices."""
    # The offset of two infinite distances is NaN, and every comparison with it is False.
    last = T.minimum(limit, distances.shape[1]) - 1
    offset = distances - T.sort(distances, axis=1)[:, last][:, None]
    nearer = offset < -tolerance
    tied = abs(offset) <= tolerance
    quota = limit - T.sum(nearer, axis=1, keepdims=True)
    return nearer | (tied & (T.cumsum(T.cast(tied, "int64"), axis=1) <= quota))


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
