"""Triplet mining: the triplets from which a triplet loss still learns, as indices.

    batch hard    per anchor   argmax d(anchor, positive),  argmin d(anchor, negative)
    semi-hard     per pair     argmin d(a, n)  with  d(a, p) < d(a, n) < d(a, p) + margin
    violators     per pair     every n of a pool  with  d(a, n) < d(a, p) + margin

Of equal distances the lower index wins. Distances that differ by no more than rounding are equal,
and a margin that is met to within rounding is met. Indices have no gradient. In code the first two
formulas are `hardest` and `semi_hard` of `support/triplet_search.py`, which the losses use too; the
third is in `support/margin_violators.py`.

Sources: Schroff, Kalenichenko, Philbin (2015), FaceNet; Hermans, Beyer, Leibe (2017), In Defense
of the Triplet Loss.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from pytorch_impl.distances import DISTANCES
from pytorch_impl.fast import triplet_mining as fast
from pytorch_impl.support.checks import check_choice, check_number
from pytorch_impl.support.margin_violators import Violators, margin_violators
from pytorch_impl.support.mined_losses import BatchHardTripletLoss, SemiHardTripletLoss
from pytorch_impl.support.precision import in_single_precision
from pytorch_impl.support.triplet_search import checked_batch, hardest, semi_hard
from pytorch_impl.support.triplet_statistics import TripletStatistics, triplet_statistics

__all__ = [
    "BatchHardTripletLoss",
    "SemiHardTripletLoss",
    "TripletStatistics",
    "Triplets",
    "Violators",
    "batch_hard_triplets",
    "margin_violators",
    "semi_hard_triplets",
    "triplet_statistics",
]


class Triplets(NamedTuple):
    """Indices of rows, each (triplets,), int64.

    Anchors are rows of the batch, positives and negatives of the reference, or without one of the
    batch too.
    """

    anchors: Tensor
    positives: Tensor
    negatives: Tensor


@in_single_precision
@torch.no_grad()
def batch_hard_triplets(
    embeddings: Tensor,
    labels: Tensor | None,
    *,
    distance: str = "cosine",
    positives: str = "hardest",
    reference: Tensor | None = None,
    reference_labels: Tensor | None = None,
    same: Tensor | None = None,
) -> Triplets:
    """The farthest positive and the nearest negative of every anchor that has both.

        argmax_p d(a, p),  argmin_n d(a, n);  with positives="easiest"  argmin_p d(a, p)

    Half precision computes in float32.

    Args:
        embeddings: (n, features), floating.
        labels: (n,), integers; or several labels of a row, (n, classes), bool: two rows are
            positives when they share one, negatives when they share none.
        distance: cosine, sqeuclidean or euclidean.
        positives: hardest, or easiest for the nearest positive of every anchor: rows of one class
            then need not all lie together.
        reference, reference_labels: (m, features) and (m,) or (m, classes), as embeddings and
            labels: positives and negatives are rows of the reference, such as a memory bank, none
            of which is left out as the anchor itself.
        same: (n, m), bool, in the place of the labels, which are None then: which rows of the
            reference, or of the batch, are of the anchor's class.
    Returns:
        Triplets, ordered by anchor; there may be none.
    Raises:
        TypeError: for integer embeddings, for labels that are neither integers nor several bool
            for a row, and for dtypes that differ.
        ValueError: for an empty batch, wrong shapes, NaN or infinity.
    Source: Hermans, Beyer, Leibe (2017), equation 5; easiest: Xuan, Stylianou, Pless (2020),
        Improved embeddings with easy positive triplet mining.
    Example:
        >>> x = torch.tensor([[0.0], [1.0], [3.0], [4.0]])
        >>> labels = torch.tensor([0, 0, 0, 1])
        >>> found = batch_hard_triplets(x, labels, distance="euclidean")
        >>> [index.tolist() for index in found]
        [[0, 1, 2], [2, 2, 0], [3, 3, 3]]
    """
    check_choice("positives", positives, ("hardest", "easiest"))
    check_choice("distance", distance, DISTANCES)
    given = (reference, reference_labels, same)
    if fast.applies_on_a_gpu(embeddings, labels, *given):  # in float32, labels of one class
        assert labels is not None
        chosen, nearest, has_both = fast.gpu_hardest(embeddings, labels, distance, positives)
    else:
        classes = checked_batch(embeddings, labels, distance, *given)
        chosen, nearest, has_both = hardest(embeddings, classes, distance, positives)  # (n,)
    (anchors,) = has_both.nonzero(as_tuple=True)
    return Triplets(anchors, chosen[anchors], nearest[anchors])


@in_single_precision
@torch.no_grad()
def semi_hard_triplets(
    embeddings: Tensor,
    labels: Tensor | None,
    *,
    margin: float = 0.3,
    distance: str = "cosine",
    reference: Tensor | None = None,
    reference_labels: Tensor | None = None,
    same: Tensor | None = None,
) -> Triplets:
    """For each pair of a class the nearest negative farther than the positive, within the margin.

        argmin_n d(a, n)  with  d(a, p) < d(a, n) < d(a, p) + margin

    A pair without such a negative is left out. Work n·m log m and memory n·m for a
    reference of m rows, or m = n. Half precision computes in
    float32.

    Args:
        embeddings: (n, features), floating.
        labels: (n,), integers; or several labels of a row, (n, classes), bool: two rows are
            positives when they share one, negatives when they share none.
        margin: at least 0, in the unit of the distance.
        distance: cosine, sqeuclidean or euclidean.
        reference, reference_labels: (m, features) and (m,) or (m, classes), as embeddings and
            labels: positives and negatives are rows of the reference, such as a memory bank, none
            of which is left out as the anchor itself.
        same: (n, m), bool, in the place of the labels, which are None then: which rows of the
            reference, or of the batch, are of the anchor's class.
    Returns:
        Triplets, ordered by anchor, then by positive; there may be none.
    Raises:
        TypeError: for integer embeddings, for labels that are neither integers nor several bool
            for a row, and for dtypes that differ.
        ValueError: for an empty batch, wrong shapes, NaN or infinity, or a negative margin.
    Source: Schroff, Kalenichenko, Philbin (2015), section 3.2.
    Example:
        >>> x = torch.tensor([[0.0], [1.0], [3.0], [4.0]])
        >>> labels = torch.tensor([0, 0, 1, 2])
        >>> found = semi_hard_triplets(x, labels, margin=3.0, distance="euclidean")
        >>> [index.tolist() for index in found]
        [[0, 1], [1, 0], [2, 2]]
    """
    margin = check_number("margin", margin, least=0)
    classes = checked_batch(embeddings, labels, distance, reference, reference_labels, same)
    nearest, found = semi_hard(embeddings, classes, margin, distance)  # (n, m)
    anchors, positives = found.nonzero(as_tuple=True)
    return Triplets(anchors, positives, nearest[anchors, positives])
