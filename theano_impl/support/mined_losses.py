"""The triplet loss of mined triplets: of the hardest ones of a batch, and of the semi-hard ones.

Sources: Schroff, Kalenichenko, Philbin (2015), FaceNet; Hermans, Beyer, Leibe (2017), In Defense
of the Triplet Loss.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import theano.tensor as T
from theano.gradient import disconnected_grad
from theano.tensor.var import TensorVariable

from theano_impl.distances import DISTANCES, paired_distances, pairwise_distances
from theano_impl.support.checks import check_choice, check_number
from theano_impl.support.layer import Layer
from theano_impl.support.ties import rounding_error
from theano_impl.support.triplet_search import hardest, search_batch, semi_hard

REDUCTIONS = ("mean", "sum", "none")


class BatchHardTripletLoss(Layer):
    """The triplet loss of `batch_hard_triplets`, as a layer: `.output` is the loss.

        Σ max(0, margin + max_p d(a, p) − min_n d(a, n)) / number of anchors that have both

    Zero, with zero gradient, when there is no triplet. A margin that is met to within rounding
    counts as met. It has no `.params`.

    Args:
        embeddings, labels, reference, reference_labels, same: as of `batch_hard_triplets`.
            Gradients flow into the reference.
        margin: at least 0, in the unit of the distance.
        distance: cosine, sqeuclidean or euclidean.
        reduction: mean over the triplets, sum, or none: the hinge of each anchor, (n,), which is 0
            for an anchor without a triplet.
    Raises:
        ValueError: for a negative margin, and for a distance or a reduction that is not known.
    Source: Hermans, Beyer, Leibe (2017), equation 5.
    Example:
        >>> import theano.tensor as T
        >>> x, labels = T.constant([[0.0], [1.0], [3.0]]), T.constant([0, 0, 1])
        >>> loss = BatchHardTripletLoss(x, labels, margin=3.0, distance="euclidean")
        >>> loss.output.eval().item()  # of 1 and 2
        1.5
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
    ) -> None:
        config = _checked_options(margin, distance, reduction)
        compared = (embeddings, labels, reference, reference_labels, same)
        super().__init__(*(one for one in compared if one is not None), config=config)
        searched = search_batch(embeddings, labels, distance, reference, reference_labels, same)
        farthest, nearest, found = hardest(*searched, distance)  # (n,)
        reference = embeddings if reference is None else reference
        rows = (reference[index] for index in (farthest, nearest))  # (n, features)
        near, far = (paired_distances(embeddings, row, distance=distance) for row in rows)  # (n,)
        tolerance = rounding_error(disconnected_grad(T.stack([near, far])), distance)
        typed_margin = np.asarray(
            config["margin"], near.dtype
        )  # a Python float would upcast float32
        self.output = _reduced(typed_margin + near - far, found, tolerance, reduction)


class SemiHardTripletLoss(Layer):
    """The triplet loss of `semi_hard_triplets`, as a layer: `.output` is the loss.

        Σ (margin + d(a, p) − d(a, n)) / number of semi-hard triplets (a, p, n)

    Zero, with zero gradient, when there is no triplet. It has no `.params`.

    Args:
        embeddings, labels, reference, reference_labels, same: as of `semi_hard_triplets`.
            Gradients flow into the reference.
        margin: at least 0, in the unit of the distance.
        distance: cosine, sqeuclidean or euclidean.
        reduction: mean over the triplets, sum, or none: the sum of the hinges of each anchor, (n,).
    Raises:
        ValueError: for a negative margin, and for a distance or a reduction that is not known.
    Source: Schroff, Kalenichenko, Philbin (2015), section 3.2.
    Example:
        >>> import theano.tensor as T
        >>> x, labels = T.constant([[0.0], [1.0], [3.0]]), T.constant([0, 0, 1])
        >>> loss = SemiHardTripletLoss(x, labels, margin=3.0, distance="euclidean")
        >>> loss.output.eval().item()  # of 1 and 2
        1.5
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
    ) -> None:
        config = _checked_options(margin, distance, reduction)
        compared = (embeddings, labels, reference, reference_labels, same)
        super().__init__(*(one for one in compared if one is not None), config=config)
        searched = search_batch(embeddings, labels, distance, reference, reference_labels, same)
        nearest, found = semi_hard(*searched, margin, distance)  # (n, m)
        reference = embeddings if reference is None else reference
        # The distances are computed again, for their gradient: the mining compares squares.
        distances = pairwise_distances(embeddings, reference, distance=distance)
        rows = T.arange(distances.shape[0])[:, None]
        tolerance = rounding_error(disconnected_grad(distances), distance)
        typed_margin = np.asarray(config["margin"], distances.dtype)
        violation = typed_margin + distances - distances[rows, nearest]
        self.output = _reduced(violation, found, tolerance, reduction)


def _checked_options(margin: float, distance: str, reduction: str) -> dict[str, Any]:
    margin = check_number("margin", margin, least=0)
    check_choice("distance", distance, DISTANCES)
    check_choice("reduction", reduction, REDUCTIONS)
    return {"margin": margin, "distance": distance, "reduction": reduction}


def _reduced(
    violation: TensorVariable, found: TensorVariable, tolerance: TensorVariable, reduction: str
) -> TensorVariable:
    """The hinges of what was found, (n,) or (n, m), reduced over all or added for each anchor."""
    active = found & (disconnected_grad(violation) > tolerance)
    hinges = T.switch(active, violation, T.zeros_like(violation))
    if reduction == "none":
        return T.sum(hinges, axis=1) if hinges.ndim > 1 else hinges
    total = T.sum(hinges)
    count = T.cast(T.maximum(T.sum(found), 1), total.dtype)
    return total / count if reduction == "mean" else total
