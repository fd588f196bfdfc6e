"""The searches for triplets in a batch: what is found for each anchor, or for each of its pairs.

    batch hard    per anchor   argmax d(anchor, positive),  argmin d(anchor, negative)
    semi-hard     per pair     argmin d(a, n)  with  d(a, p) < d(a, n) < d(a, p) + margin

The distances that are compared are squares in the place of their roots.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from pytorch_impl.distances import DISTANCES, pairwise_distances
from pytorch_impl.fast import triplet_mining as fast
from pytorch_impl.support.checks import check_choice, check_finite, check_floating, check_not_empty
from pytorch_impl.support.labels import Classes, checked_classes, pairs_of
from pytorch_impl.support.ties import first_minimum, rounding_error

ANCHORS = 32  # of which all triplets are formed at a time


def checked_batch(
    embeddings: Tensor,
    labels: Tensor | None,
    distance: str,
    reference: Tensor | None = None,
    reference_labels: Tensor | None = None,
    same: Tensor | None = None,
) -> Classes:
    """The rows to search among, and their classes: of the reference, or without one the batch."""
    check_choice("distance", distance, DISTANCES)
    check_floating("embeddings", embeddings, ndim=2)
    check_not_empty("embeddings", embeddings)
    classes = checked_classes(embeddings, labels, reference, reference_labels, same)
    check_finite("embeddings", embeddings)
    if not classes.of_batch:
        check_finite("reference", classes.reference)
    return classes


def comparable_distances(embeddings: Tensor, reference: Tensor, distance: str) -> Tensor:
    """The distances to compare, (n, m), which have to be finite."""
    distances = pairwise_distances(embeddings, reference, distance=comparable_distance(distance))
    check_finite("embeddings", distances.max())  # the squares of large numbers overflow
    return distances


def hardest(
    embeddings: Tensor, classes: Classes, distance: str, positives: str = "hardest"
) -> tuple[Tensor, Tensor, Tensor]:
    """Of each anchor the hardest or easiest positive, the nearest negative, and if it has both.

    Each is (n,). An anchor without one of them gets row 0 in its place.
    """
    if fast.applies_to_hardest(embeddings):  # on a CPU, without a transform and a compiler
        return fast.hardest(embeddings, classes, comparable_distance(distance), positives)
    distances = comparable_distances(embeddings, classes.reference, distance)  # (n, m)
    positive, negative = pairs_of(classes)
    tolerance = rounding_error(distances, comparable_distance(distance))
    order = -distances if positives == "hardest" else distances
    chosen = first_minimum(torch.where(positive, order, math.inf), tolerance)  # (n,)
    nearest = first_minimum(torch.where(negative, distances, math.inf), tolerance)
    return chosen, nearest, positive.any(1) & negative.any(1)


def semi_hard(
    embeddings: Tensor, classes: Classes, margin: float, distance: str
) -> tuple[Tensor, Tensor]:
    """Of each anchor and row the nearest negative farther than the row, and if they are triplets.

    (n, m) int64 and bool.
    """
    distances = comparable_distances(embeddings, classes.reference, distance)  # (n, m)
    positive, negative = pairs_of(classes)
    tolerance = rounding_error(distances, comparable_distance(distance))
    if fast.applies(distances):  # more than a few rows
        nearest, exists = fast.nearest_farther(distances, negative, tolerance)
    else:
        nearest, exists = _nearest_farther(distances, negative, tolerance)
    # A root magnifies the rounding of a small square, so it is taken from the lower end.
    reach = margin_reach(distances - tolerance, margin, distance) - tolerance
    within = distances.gather(1, nearest) < reach
    return nearest, positive & exists & within


def _nearest_farther(
    distances: Tensor, negative: Tensor, tolerance: Tensor
) -> tuple[Tensor, Tensor]:
    """For each anchor and row, of the negatives farther than the row the nearest, and if any is.

    Every negative is compared with every row, for ANCHORS anchors at a time. (n, m) int64 and bool.
    """
    nearest, exists = [], []
    for d, n in zip(distances.split(ANCHORS), negative.split(ANCHORS), strict=True):
        candidates = d[:, None, :]  # (anchors, 1, negatives)
        farther = n[:, None, :] & (candidates > (d + tolerance)[:, :, None])
        nearest.append(first_minimum(torch.where(farther, candidates, math.inf), tolerance))
        exists.append(farther.any(2))
    return torch.cat(nearest), torch.cat(exists)


def comparable_distance(distance: str) -> str:
    """The distance to compare by: squares are in the order of their roots, rounded evenly."""
    return "sqeuclidean" if distance == "euclidean" else distance


def margin_reach(near: Tensor, margin: float, distance: str) -> Tensor:
    """Where the margin beyond `near` is met; both as comparable distances."""
    if distance == "euclidean":
        return (near.clamp_min(0).sqrt() + margin).square()
    return near + margin
