"""Soft nearest neighbor loss: do the neighbors of a point belong to the class of the point?

    loss_i = −log ( Σ_{j≠i, y_j = y_i} exp(−D_ij / T)  /  Σ_{j≠i} exp(−D_ij / T) )

Source: Frosst, Papernot, Hinton (2019), "Analyzing and Improving Representations with the Soft
Nearest Neighbor Loss", arXiv 1902.01889.
"""

from __future__ import annotations

import math

import numpy as np
import theano.tensor as T
from theano.gradient import disconnected_grad
from theano.tensor.var import TensorVariable

from theano_impl.distances import DISTANCES
from theano_impl.fast import soft_nearest_neighbor_loss as fast
from theano_impl.support import checks
from theano_impl.support.learned_temperature import LearnedTemperature
from theano_impl.support.soft_neighbors import (
    count_anchors,
    losses_by_labels,
    losses_by_pairs,
    reduced,
)

REDUCTIONS = ("mean", "sum", "none")


def soft_nearest_neighbor_loss(
    embeddings: TensorVariable,
    labels: TensorVariable | None,
    *,
    temperature: float | TensorVariable = 1.0,
    distance: str = "sqeuclidean",
    reduction: str = "mean",
    block_size: int | None = None,
    reference: TensorVariable | None = None,
    reference_labels: TensorVariable | None = None,
    same: TensorVariable | None = None,
) -> TensorVariable:
    """Minus the log of the share that the anchor's class has of its soft neighborhood.

        loss_i = log Σ_{j≠i} exp(−D_ij / T) − log Σ_{j≠i, y_j = y_i} exp(−D_ij / T)

    Args:
        embeddings: (n, features), float32 or float64.
        labels: (n,), integers; or several labels of a row, (n, classes), bool: two rows are
            positives when they share one.
        temperature: T, a positive number, or a scalar variable.
        distance: D: sqeuclidean as in the paper, euclidean or cosine.
        reduction: mean over the anchors that share their label with another point, sum or none.
        block_size: rows that are computed at a time: memory is n · block_size instead of n².
        reference, reference_labels: (m, features) and (m,) or (m, classes), as embeddings and
            labels: the neighbors are rows of the reference, such as a memory bank, and none is left
            out as the anchor itself. Gradients flow into the reference.
        same: (n, m), bool, in the place of the labels, which are None then: which rows of the
            reference, or of the batch, are of the anchor's class. With a reference, several labels
            or same there are n·m bools besides the blocks.
    Returns:
        A scalar; (n,) for reduction none. An anchor that is alone in its class has loss 0 and no
        gradient.
    Raises:
        TypeError: embeddings that are not floating, labels that are not integers.
        ValueError: a temperature that is not positive, wrong numbers of axes.
        AssertionError: when it runs, for an empty batch, wrong shapes, or a variable temperature
            that is not positive.
    Example:
        >>> x = T.constant([[0.0], [1.0], [3.0]])
        >>> loss = soft_nearest_neighbor_loss(x, T.constant([0, 0, 1]))
        >>> round(float(loss.eval()), 4)  # (log(1 + e⁻⁸) + log(1 + e⁻³)) / 2
        0.0245
    """
    block_size = _check_options(distance, reduction, block_size)
    embeddings = T.as_tensor_variable(embeddings)
    labels = labels if labels is None else T.as_tensor_variable(labels)
    checks.check_floating("embeddings", embeddings, ndim=2)
    embeddings = checks.check_not_empty("embeddings", embeddings)
    temperature = checks.check_positive("temperature", temperature, embeddings)
    several = labels is None or labels.dtype == "bool"
    if several or not (reference is None and reference_labels is None and same is None):
        compared = (reference, reference_labels, same, temperature, distance, block_size)
        losses, positive = losses_by_pairs(_losses, embeddings, labels, *compared)
        return reduced(losses, reduction, T.sum(T.any(positive, axis=1)))
    labels = checks.check_labels("labels", labels, embeddings.shape[0])

    if fast.applies(embeddings, distance):  # where all D are small against T, else plain
        losses = fast.losses(embeddings, labels, temperature, block_size, _plain_losses)
    else:
        losses = _plain_losses(embeddings, labels, temperature, block_size, distance)
    return reduced(losses, reduction, count_anchors(labels))


def _plain_losses(
    embeddings: TensorVariable,
    labels: TensorVariable,
    temperature: TensorVariable,
    block_size: int | None,
    distance: str = "sqeuclidean",
) -> TensorVariable:
    return losses_by_labels(_losses, embeddings, labels, temperature, distance, block_size)


def _losses(
    D: TensorVariable,
    others: TensorVariable,
    positives: TensorVariable,
    temperature: TensorVariable,
) -> TensorVariable:
    """Minus the log of the share of the positives in all others, of each row."""
    # A singleton, an anchor without positives, gets two equal sums: loss 0, or NaN for a NaN.
    singletons = T.eq(T.any(positives, axis=1, keepdims=True), 0)
    others, positives = others | singletons, positives | singletons
    # Subtract the distance to the nearest positive in both sums: it cancels, and keeps precision
    # when all distances are large.
    infinity = np.asarray(math.inf, D.dtype)
    masked = T.switch(positives, disconnected_grad(D), infinity)
    nearest = T.min(masked, axis=1, keepdims=True)
    logits = (nearest - D) / temperature
    log_all = _log_sum_exp(T.switch(others, logits, -infinity))
    log_same = _log_sum_exp(T.switch(positives, logits, -infinity))
    return log_all - log_same


def _log_sum_exp(logits: TensorVariable) -> TensorVariable:
    """Of each row. Theano stabilizes log(sum(exp(x))) itself, but not with a mask in between."""
    largest = disconnected_grad(T.max(logits, axis=1, keepdims=True))
    return T.log(T.sum(T.exp(logits - largest), axis=1)) + largest[:, 0]


def _check_options(distance: str, reduction: str, block_size: int | None) -> int | None:
    checks.check_choice("distance", distance, DISTANCES)
    checks.check_choice("reduction", reduction, REDUCTIONS)
    return None if block_size is None else checks.check_count("block_size", block_size)


class SoftNearestNeighborLoss(LearnedTemperature):
    """`soft_nearest_neighbor_loss` as a layer: `.output` is the loss.

    With learn_temperature, T is trained too. The parameter is `log_inverse_temperature`, −log T: T
    stays positive after any step of an optimizer, and stays in e^±32. `inverse_temperature` is 1/T.

    As a penalty the loss is maximized over the embeddings, which mixes the classes, and still
    minimized over T, so that T is the scale at which the classes are most distinct. Let T learn
    faster than the embeddings: while T lags behind, the loss is above that of mixed classes.

    Args:
        embeddings, labels: as in `soft_nearest_neighbor_loss`.
        temperature: T, or its start when it is learned; a positive number.
        learn_temperature: whether T is a parameter.
        distance, reduction, block_size: as in `soft_nearest_neighbor_loss`.
    Raises:
        ValueError: an option out of range.
    Example:
        >>> import theano
        >>> start = np.array([[2.0, -2.6], [0.4, -0.6], [-0.5, -0.2], [-2.0, -0.2]])
        >>> x = theano.shared(start.astype(theano.config.floatX))
        >>> loss = SoftNearestNeighborLoss(x, T.constant([0, 0, 1, 1]), learn_temperature=True)
        >>> logarithm = loss.log_inverse_temperature
        >>> grad_x, grad_t = T.grad(loss.output, [x, logarithm])
        >>> maximize, minimize = (x, x + 0.05 * grad_x), (logarithm, logarithm - 1.0 * grad_t)
        >>> step = theano.function([], loss.output, updates=[maximize, minimize])
        >>> losses = [float(step()) for _ in range(60)]
        >>> 0.5 < losses[-1] < math.log(3) + 0.01  # the classes are mixed
        True
    """

    def __init__(
        self,
        embeddings: TensorVariable,
        labels: TensorVariable,
        *,
        temperature: float = 1.0,
        learn_temperature: bool = False,
        distance: str = "sqeuclidean",
        reduction: str = "mean",
        block_size: int | None = None,
    ) -> None:
        block_size = _check_options(distance, reduction, block_size)
        options = {"distance": distance, "reduction": reduction, "block_size": block_size}
        super().__init__(embeddings, labels, temperature, learn_temperature, options)
        arguments = self.options(embeddings)
        self.output = soft_nearest_neighbor_loss(embeddings, labels, **arguments)
