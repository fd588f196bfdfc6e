"""All triplets of a batch, or of a batch and a reference: their hinges are summed, not formed.

    Σ max(0, margin + d(a, p) − d(a, n)) / number of triplets (a, p, n)

Source: Hermans, Beyer, Leibe (2017), In Defense of the Triplet Loss, section 2 ("batch all").
"""

from __future__ import annotations

from typing import Any

import numpy as np
import theano
import theano.tensor as T
from theano.gradient import disconnected_grad
from theano.tensor.var import TensorVariable

from theano_impl.distances import DISTANCES, pairwise_distances
from theano_impl.fast import triplet_loss as fast
from theano_impl.support.checks import (
    check_choice,
    check_flag,
    check_floating,
    check_not_empty,
    check_number,
)
from theano_impl.support.labels import class_pairs
from theano_impl.support.layer import Layer
from theano_impl.support.soft_margin import soft_margin_sums
from theano_impl.support.ties import rounding_error

REDUCTIONS = ("mean", "active", "sum", "none")


def all_triplets_loss(
    embeddings: TensorVariable,
    labels: TensorVariable | None,
    *,
    margin: float = 0.3,
    distance: str = "cosine",
    reduction: str = "mean",
    soft_margin: bool = False,
    reference: TensorVariable | None = None,
    reference_labels: TensorVariable | None = None,
    same: TensorVariable | None = None,
) -> TensorVariable:
    """The hinges of all triplets in a batch: p another row of a's class, n of another class.

        Σ max(0, margin + d(a, p) − d(a, n)) / number of triplets (a, p, n)

    Zero, with zero gradient, when there is no triplet. A margin that is met to within rounding
    counts as met. Work n·m log m and memory n·m for a reference of m rows, or m = n.

    Args:
        embeddings: (n, features), float32 or float64.
        labels: (n,), integers; or several labels of a row, (n, classes), bool: two rows are
            positives when they share one, negatives when they share none.
        margin: at least 0, in the unit of the distance.
        distance: cosine, sqeuclidean or euclidean.
        reduction: mean over all triplets, active (mean over those that violate the margin), sum
            or none.
        soft_margin: whether log(1 + exp(v)) stands in the place of each hinge max(0, v). Every
            triplet is active then, and all of them are formed, in blocks of anchors.
        reference, reference_labels: (m, features) and (m,) or (m, classes), as embeddings and
            labels: positives and negatives are rows of the reference, such as a memory bank, and
            embeddings are anchors alone. No row is left out as the anchor itself. Gradients flow
            into the reference; a memory bank wants disconnected_grad.
        same: (n, m), bool, in the place of the labels, which are None then: which rows of the
            reference, or of the batch, are of the anchor's class.
    Returns:
        A scalar; with reduction none the sum of the hinges of each anchor, (n,).
    Raises:
        TypeError: for integer embeddings, for labels that are neither integers nor several bool
            for a row, and for dtypes that differ.
        ValueError: for a wrong number of axes or a negative margin.
        AssertionError: when it runs, for an empty batch or a wrong number of labels.
    Source: Hermans, Beyer, Leibe (2017), section 2 ("batch all").
    Example:
        >>> all_triplets_loss(T.eye(3), np.array([0, 0, 1]), margin=0.5).eval().item()
        0.5
    """
    margin = check_number("margin", margin, least=0)
    check_choice("distance", distance, DISTANCES)
    check_choice("reduction", reduction, REDUCTIONS)
    soft_margin = check_flag("soft_margin", soft_margin)
    embeddings = T.as_tensor_variable(embeddings)
    check_floating("embeddings", embeddings, ndim=2)
    embeddings = check_not_empty("embeddings", embeddings)
    reference, positive, negative = class_pairs(
        embeddings, labels, reference, reference_labels, same
    )
    distances = pairwise_distances(embeddings, reference, distance=distance)  # (n, m)
    valid = T.cast(T.sum(positive, axis=1) * T.sum(negative, axis=1), distances.dtype)  # (n,)
    typed_margin = np.asarray(margin, embeddings.dtype)  # a Python float would upcast float32
    if soft_margin:
        sums, active = soft_margin_sums(distances, positive, negative, typed_margin), valid
    else:
        counts, active = _active(distances, positive, negative, typed_margin, distance)
        sums = T.sum(counts * distances, axis=1) + typed_margin * active  # of each anchor, (n,)
    if reduction == "none":
        return sums
    if reduction == "sum":
        return T.sum(sums)
    count = T.sum(active if reduction == "active" else valid)
    return T.sum(sums) / T.maximum(count, 1)


def _active(
    distances: TensorVariable,
    positive: TensorVariable,
    negative: TensorVariable,
    margin: np.ndarray,
    distance: str,
) -> tuple[TensorVariable, TensorVariable]:
    """The active triplets, counted by the faster way where that applies."""
    distances = disconnected_grad(distances)
    tolerance = rounding_error(distances, distance)
    if fast.applies():  # to any number of rows, which is not known here
        return fast.count_active(distances, positive, negative, margin, tolerance)
    return _count_active(distances, positive, negative, margin, tolerance)


def _count_active(
    distances: TensorVariable,
    positive: TensorVariable,
    negative: TensorVariable,
    margin: np.ndarray,
    tolerance: TensorVariable,
) -> tuple[TensorVariable, TensorVariable]:
    """Count the active triplets, those that violate the margin, by comparing all of them.

    With A the active triplets of anchor a, and A_p and A_n those with p and with n, its hinges are

        Σ_p #A_p · d(a, p) − Σ_n #A_n · d(a, n) + margin · #A

    The counts are constants: this sum has derivatives of any order, and no comparison is kept
    for a gradient, so that memory is n² bytes for each anchor instead of n³.
    Returns #A_p and −#A_n, (n, m), and #A, (n,).
    """

    def count(d, p, n, tolerance):
        """Of one anchor: its distances, its positives and its negatives, (n,)."""
        active = p[:, None] & n & (d < (d + margin - tolerance)[:, None])  # (positives, negatives)
        return T.sum(active, axis=1) - T.sum(active, axis=0)

    sequences = [distances, positive, negative]
    counts, _ = theano.scan(count, sequences, non_sequences=[tolerance], strict=True)
    counts = disconnected_grad(T.cast(counts, distances.dtype))
    return counts, T.sum(T.maximum(counts, 0), axis=1)


class AllTripletsLoss(Layer):
    """`all_triplets_loss` as a layer: `.output` is the loss; it has no `.params`.

    Args:
        embeddings, labels, reference, reference_labels, same: as of `all_triplets_loss`.
        margin, distance, reduction, soft_margin: as of `all_triplets_loss`.
    Raises:
        As `all_triplets_loss` does.
    Example:
        >>> loss = AllTripletsLoss(T.eye(3), T.constant([0, 0, 1]), margin=0.5)
        >>> loss.output.eval().item()
        0.5
    """

    def __init__(
        self,
        embeddings: TensorVariable,
        labels: TensorVariable | None,
        reference: TensorVariable | None = None,
        reference_labels: TensorVariable | None = None,
        same: TensorVariable | None = None,
        *,
        margin: float = 0.3,
        distance: str = "cosine",
        reduction: str = "mean",
        soft_margin: bool = False,
    ) -> None:
        config = {"margin": margin, "distance": distance, "reduction": reduction}
        config |= {"soft_margin": soft_margin}
        compared = (embeddings, labels, reference, reference_labels, same)
        super().__init__(*(one for one in compared if one is not None), config=config)
        given = {"reference": reference, "reference_labels": reference_labels, "same": same}
        options: dict[str, Any] = {**self.config, **given}
        self.output = all_triplets_loss(embeddings, labels, **options)
