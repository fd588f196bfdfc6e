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

import tensorflow as tf

from tf2_impl.support.checks import check_choice, check_number
from tf2_impl.support.margin_violators import Violators, margin_violators
from tf2_impl.support.mined_losses import BatchHardTripletLoss, SemiHardTripletLoss
from tf2_impl.support.precision import in_single_precision
from tf2_impl.support.triplet_search import hardest, search_batch, semi_hard
from tf2_impl.support.triplet_statistics import TripletStatistics, triplet_statistics

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

    anchors: tf.Tensor
    positives: tf.Tensor
    negatives: tf.Tensor


@in_single_precision
def batch_hard_triplets(
    embeddings: tf.Tensor,
    labels: tf.Tensor | None,
    *,
    distance: str = "cosine",
    positives: str = "hardest",
    reference: tf.Tensor | None = None,
    reference_labels: tf.Tensor | None = None,
    same: tf.Tensor | None = None,
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
        >>> x = tf.constant([[0.0], [1.0], [3.0], [4.0]])
        >>> labels = tf.constant([0, 0, 0, 1])
        >>> found = batch_hard_triplets(x, labels, distance="euclidean")
        >>> [index.numpy().tolist() for index in found]
        [[0, 1, 2], [2, 2, 0], [3, 3, 3]]
    """
    check_choice("positives", positives, ("hardest", "easiest"))
    searched = search_batch(embeddings, labels, distance, reference, reference_labels, same)
    chosen, nearest, has_both = hardest(*searched, distance, positives)  # (n,)
    anchors = tf.where(has_both)[:, 0]
    return Triplets(anchors, tf.gather(chosen, anchors), tf.gather(nearest, anchors))


@in_single_precision
def semi_hard_triplets(
    embeddings: tf.Tensor,
    labels: tf.Tensor | None,
    *,
    margin: float = 0.3,
    distance: str = "cosine",
    reference: tf.Tensor | None = None,
    reference_labels: tf.Tensor | None = None,
    same: tf.Tensor | None = None,
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
        >>> x = tf.constant([[0.0], [1.0], [3.0], [4.0]])
        >>> labels = tf.constant([0, 0, 1, 2])
        >>> found = semi_hard_triplets(x, labels, margin=3.0, distance="euclidean")
        >>> [index.numpy().tolist() for index in found]
        [[0, 1], [1, 0], [2, 2]]
    """
    margin = check_number("margin", margin, least=0)
    searched = search_batch(embeddings, labels, distance, reference, reference_labels, same)
    nearest, found = semi_hard(*searched, margin, distance)  # (n, m)
    pairs = tf.where(found)
    return Triplets(pairs[:, 0], pairs[:, 1], tf.gather_nd(nearest, pairs))
