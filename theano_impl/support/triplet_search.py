"""The searches for triplets in a batch: what is found for each anchor, or for each of its pairs.

    batch hard    per anchor   argmax d(anchor, positive),  argmin d(anchor, negative)
    semi-hard     per pair     argmin d(a, n)  with  d(a, p) < d(a, n) < d(a, p) + margin

The distances that are compared are squares in the place of their roots.
"""

from __future__ import annotations

import math

import numpy as np
import theano
import theano.tensor as T
from theano.gradient import disconnected_grad
from theano.tensor.var import TensorVariable

from theano_impl.distances import DISTANCES, pairwise_distances
from theano_impl.fast import triplet_mining as fast
from theano_impl.support.checks import check_choice, check_finite, check_floating, check_not_empty
from theano_impl.support.labels import class_pairs
from theano_impl.support.ties import first_minimum, rounding_error


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


def hardest(
    distances: TensorVariable,
    positive: TensorVariable,
    negative: TensorVariable,
    distance: str,
    positives: str = "hardest",
) -> tuple[TensorVariable, TensorVariable, TensorVariable]:
    """Of each anchor the hardest or easiest positive, the nearest negative, and if it has both.

    Each is (n,).
    """
    tolerance = rounding_error(distances, comparable_distance(distance))
    infinity = np.asarray(math.inf, distances.dtype)
    order = -distances if positives == "hardest" else distances
    chosen = first_minimum(T.switch(positive, order, infinity), tolerance)  # (n,)
    nearest = first_minimum(T.switch(negative, distances, infinity), tolerance)
    return chosen, nearest, T.any(positive, axis=1) & T.any(negative, axis=1)


def semi_hard(
    distances: TensorVariable,
    positive: TensorVariable,
    negative: TensorVariable,
    margin: float,
    distance: str,
) -> tuple[TensorVariable, TensorVariable]:
    """Of each anchor and row the nearest negative farther than the row, and if they are triplets.

    (n, m) int64 and bool.
    """
    tolerance = rounding_error(distances, comparable_distance(distance))
    if fast.applies():  # to any number of rows, which is not known here
        nearest, exists = fast.nearest_farther(distances, negative, tolerance)
    else:
        nearest, exists = _nearest_farther(distances, negative, tolerance)
    # A root magnifies the rounding of a small square, so it is taken from the lower end.
    reach = margin_reach(distances - tolerance, margin, distance) - tolerance
    within = distances[T.arange(distances.shape[0])[:, None], nearest] < reach
    return nearest, positive & exists & within


def _nearest_farther(
    distances: TensorVariable, negative: TensorVariable, tolerance: TensorVariable
) -> tuple[TensorVariable, TensorVariable]:
    """For each anchor and row, of the negatives farther than the row the nearest, and if any is.

    Every negative is compared with every row, for one anchor at a time. (n, m) int64 and bool.
    """
    infinity = np.asarray(math.inf, distances.dtype)

    def search(d, n, tolerance):
        """Of one anchor: its distances and its negatives, (n,)."""
        farther = n & (d > (d + tolerance)[:, None])  # (rows, negatives)
        candidates = T.switch(farther, d, infinity)
        return first_minimum(candidates, tolerance), T.any(farther, axis=1)

    found, _ = theano.scan(search, [distances, negative], non_sequences=[tolerance], strict=True)
    return found[0], found[1]


def comparable_distance(distance: str) -> str:
    """The distance to compare by: squares are in the order of their roots, rounded evenly."""
    return "sqeuclidean" if distance == "euclidean" else distance


def margin_reach(near: TensorVariable, margin: float, distance: str) -> TensorVariable:
    """Where the margin beyond `near` is met; both as comparable distances."""
    step = np.asarray(margin, near.dtype)
    if distance == "euclidean":
        return (T.sqrt(T.maximum(near, 0)) + step) ** 2
    return near + step
