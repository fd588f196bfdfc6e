"""Triplet loss: an anchor must be nearer to its positive than to its negative, by a margin.

    max(0, margin + d(anchor, positive) − d(anchor, negative))

Sources: Schroff et al. 2015 (FaceNet); seed topics: a speaker encoder trained on triplets,
triplet loss in TensorFlow 2.
"""

from __future__ import annotations

import numpy as np
import theano.tensor as T
from theano.gradient import disconnected_grad
from theano.tensor.var import TensorVariable

from theano_impl.distances import DISTANCES, paired_distances, pairwise_distances
from theano_impl.support.checks import (
    check_choice,
    check_floating,
    check_labels,
    check_like,
    check_not_empty,
    check_number,
)
from theano_impl.support.layer import Layer
from theano_impl.support.ties import rounding_error

REDUCTIONS = ("mean", "sum", "none")
ALL_TRIPLETS_REDUCTIONS = ("mean", "active", "sum", "none")


def triplet_loss(
    anchor: TensorVariable,
    positive: TensorVariable,
    negative: TensorVariable,
    *,
    margin: float = 0.3,
    distance: str = "cosine",
    reduction: str = "mean",
) -> TensorVariable:
    """Hinge of each row's triplet; the gradient is zero where the margin is met exactly.

    anchor, positive, negative: (batch, features). distance: cosine, sqeuclidean or euclidean.
    reduction: mean, sum, or none for (batch,). TypeError for integers, ValueError for a
    negative margin; AssertionError, when it runs, for an empty batch or shapes that differ.
    """
    margin = check_number("margin", margin, least=0)
    check_choice("distance", distance, DISTANCES)
    check_choice("reduction", reduction, REDUCTIONS)
    anchor = T.as_tensor_variable(anchor)
    positive = T.as_tensor_variable(positive)
    negative = T.as_tensor_variable(negative)
    check_floating("anchor", anchor, ndim=2)
    anchor = check_not_empty("anchor", anchor)
    positive = check_like("positive", positive, "anchor", anchor)
    negative = check_like("negative", negative, "anchor", anchor)
    near = paired_distances(anchor, positive, distance=distance)
    far = paired_distances(anchor, negative, distance=distance)
    violation = np.asarray(margin, anchor.dtype) + near - far
    # nnet.relu has gradient 0.5 at exactly 0; a switch the other way round would hide NaN.
    hinge = T.switch(violation <= 0, T.zeros_like(violation), violation)
    if reduction == "none":
        return hinge
    return T.mean(hinge) if reduction == "mean" else T.sum(hinge)


def all_triplets_loss(
    embeddings: TensorVariable,
    labels: TensorVariable,
    *,
    margin: float = 0.3,
    distance: str = "cosine",
    reduction: str = "mean",
) -> TensorVariable:
    """Hinge over every (anchor, positive, negative) that the labels of a batch allow.

    embeddings: (n, features); labels: (n,) integers. reduction: mean over all triplets,
    active (mean over those that violate the margin), sum, or none for each anchor's sum, (n,).
    Zero, with zero gradient, when there is no such triplet. A margin that is met to within
    rounding counts as met. Work n² log n, memory n²: the n³ triplets are counted, not formed.
    """
    margin = check_number("margin", margin, least=0)
    check_choice("distance", distance, DISTANCES)
    check_choice("reduction", reduction, ALL_TRIPLETS_REDUCTIONS)
    embeddings, labels = T.as_tensor_variable(embeddings), T.as_tensor_variable(labels)
    check_floating("embeddings", embeddings, ndim=2)
    embeddings = check_not_empty("embeddings", embeddings)
    labels = check_labels("labels", labels, embeddings.shape[0])
    distances = pairwise_distances(embeddings, embeddings, distance=distance)
    constant = disconnected_grad(distances)
    tolerance = rounding_error(constant, distance)
    typed_margin = np.asarray(margin, embeddings.dtype)  # a Python float would upcast float32
    weights, active, valid = _count_triplets(constant, labels, typed_margin, tolerance)
    sums = T.sum(weights * distances, axis=1) + typed_margin * active
    if reduction == "none":
        return sums
    if reduction == "sum":
        return T.sum(sums)
    count = T.sum(active if reduction == "active" else valid)
    return T.sum(sums) / T.maximum(count, 1)


def _count_triplets(
    distances: TensorVariable, labels: TensorVariable, margin: np.ndarray, tolerance: TensorVariable
) -> tuple[TensorVariable, TensorVariable, TensorVariable]:
    """How often each distance enters the sum of the active hinges, with its sign.

    A positive enters once for each negative within its reach, a negative once for each
    positive that reaches it: with these counts the sum of n³ hinges is one of n² products.
    Returns weights (n, n), and per anchor the number of active and of valid triplets, (n,).
    """
    n = labels.shape[0]
    same = T.eq(labels[:, None], labels)
    positive = same & T.eq(T.eye(n), 0)
    negative = T.eq(same, 0)
    reach = distances + margin - tolerance
    # Theano searches in one sorted row, not in many: sort reaches and distances together and
    # count. A reach comes before the distance that equals it: that negative is out of reach.
    order = T.argsort(T.concatenate([reach, distances], axis=1), axis=1, kind="mergesort")
    rank = T.argsort(order, axis=1, kind="mergesort")
    rows = T.arange(n)[:, None]
    is_reach = order < n
    counted = T.cast(T.concatenate([positive, negative], axis=1), "int64")[rows, order]
    negatives_before = T.cumsum(T.switch(is_reach, 0, counted), axis=1)
    positives_before = T.cumsum(T.switch(is_reach, counted, 0), axis=1)
    reached = negatives_before[rows, rank[:, :n]]
    reaching = T.sum(positive, axis=1, keepdims=True) - positives_before[rows, rank[:, n:]]
    weights = T.switch(positive, reached, T.switch(same, 0, -reaching))
    active = T.sum(reached * positive, axis=1)
    valid = T.sum(positive, axis=1) * T.sum(negative, axis=1)
    return tuple(T.cast(count, distances.dtype) for count in (weights, active, valid))


class TripletLoss(Layer):
    """`triplet_loss` as a layer: `.output` is the loss; it has no `.params`."""

    def __init__(
        self,
        anchor: TensorVariable,
        positive: TensorVariable,
        negative: TensorVariable,
        *,
        margin: float = 0.3,
        distance: str = "cosine",
        reduction: str = "mean",
    ) -> None:
        config = {"margin": margin, "distance": distance, "reduction": reduction}
        super().__init__(anchor, positive, negative, config=config)
        self.output = triplet_loss(anchor, positive, negative, **self.config)
