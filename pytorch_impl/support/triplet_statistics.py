"""How hard the triplets are that a mining has found: numbers to watch while a model learns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from pytorch_impl.distances import DISTANCES, paired_distances
from pytorch_impl.support.checks import (
    check_choice,
    check_dtype,
    check_floating,
    check_integers,
    check_not_empty,
    check_number,
    check_size,
    check_width,
)
from pytorch_impl.support.precision import in_single_precision
from pytorch_impl.support.ties import rounding_error
from pytorch_impl.support.transforms import check_range


class TripletStatistics(NamedTuple):
    """How many triplets a mining has found, and how hard they are: numbers without axes.

    count: of the triplets, int64. violating: the share of them that violates the margin.
    positive_distance, negative_distance, hinge: means. Of no triplets, all but the count are NaN.
    """

    count: Tensor
    violating: Tensor
    positive_distance: Tensor
    negative_distance: Tensor
    hinge: Tensor


@in_single_precision
@torch.no_grad()
def triplet_statistics(
    embeddings: Tensor,
    triplets: Sequence[Tensor],
    *,
    margin: float = 0.3,
    distance: str = "cosine",
    reference: Tensor | None = None,
) -> TripletStatistics:
    """How hard the triplets are that a mining has found: numbers to watch while a model learns.

        share with d(a, n) < d(a, p) + margin,  means of d(a, p), d(a, n) and the hinge

    A margin that is met to within rounding is met. The numbers have no gradient. Half precision
    computes in float32.

    Args:
        embeddings: (n, features), floating.
        triplets: indices of anchors, positives and negatives, (triplets,) integers each, such as
            `Triplets`.
        margin: at least 0, in the unit of the distance.
        distance: cosine, sqeuclidean or euclidean.
        reference: (m, features), whose rows positives and negatives are; embeddings when None.
    Returns:
        TripletStatistics. Of no triplets the count is 0 and all else NaN: no mean exists.
    Raises:
        TypeError: for integer embeddings, indices that are no integers, and dtypes that differ.
        ValueError: for an empty batch, wrong shapes, rows that do not exist, or a negative margin.
    Example:
        >>> x = torch.tensor([[0.0], [1.0], [3.0]])
        >>> triplets = batch_hard_triplets(x, torch.tensor([0, 0, 1]), distance="euclidean")
        >>> found = triplet_statistics(x, triplets, margin=1.5, distance="euclidean")
        >>> [number.item() for number in found]  # 1 − 3 and 1 − 2, of which one violates 1.5
        [2, 0.5, 1.0, 2.5, 0.25]
    """
    margin = check_number("margin", margin, least=0)
    check_choice("distance", distance, DISTANCES)
    anchor, positive, negative = triplet_rows(embeddings, triplets, reference)
    near = paired_distances(anchor, positive, distance=distance)  # (triplets,)
    far = paired_distances(anchor, negative, distance=distance)
    tolerance = rounding_error(torch.cat([near, far, near.new_zeros(1)]), distance)
    violation = margin + near - far
    violating = (violation > tolerance).to(near.dtype)
    count = torch.tensor(len(near), device=near.device)
    means = (x.mean() for x in (violating, near, far, torch.relu(violation)))
    return TripletStatistics(count, *means)


def triplet_rows(
    embeddings: Tensor, triplets: Sequence[Tensor], reference: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    """Anchors, rows of embeddings, with positives and negatives, rows of the reference, if any."""
    check_floating("embeddings", embeddings, ndim=2)
    check_not_empty("embeddings", embeddings)
    pool = embeddings if reference is None else reference
    check_floating("reference", pool, ndim=2)
    check_not_empty("reference", pool)
    check_dtype("reference", pool, embeddings.dtype)
    check_width("reference", pool, embeddings.shape[1])
    anchors, positives, negatives = triplets
    found = []
    for name, rows, x in (
        ("anchors", anchors, embeddings),
        ("positives", positives, pool),
        ("negatives", negatives, pool),
    ):
        check_integers(name, rows, ndim=1)
        check_size(name, rows, 0, anchors.shape[0], "indices")
        check_range(name, rows, "rows", len(x) - 1)
        found.append(x[rows.long()])
    anchor, positive, negative = found
    return anchor, positive, negative
