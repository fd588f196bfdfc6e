"""Soft nearest neighbor loss: do the neighbors of a point belong to the class of the point?

    loss_i = −log ( Σ_{j≠i, y_j = y_i} exp(−D_ij / T)  /  Σ_{j≠i} exp(−D_ij / T) )

Source: Frosst, Papernot, Hinton (2019), "Analyzing and Improving Representations with the Soft
Nearest Neighbor Loss", arXiv 1902.01889.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from pytorch_impl.distances import DISTANCES
from pytorch_impl.fast import soft_nearest_neighbor_loss as fast
from pytorch_impl.support import checks
from pytorch_impl.support.learned_temperature import LearnedTemperature
from pytorch_impl.support.precision import in_single_precision
from pytorch_impl.support.soft_neighbors import (
    count_anchors,
    losses_by_labels,
    losses_by_pairs,
    reduced,
)

REDUCTIONS = ("mean", "sum", "none")


@in_single_precision
def soft_nearest_neighbor_loss(
    embeddings: Tensor,
    labels: Tensor | None,
    *,
    temperature: float | Tensor = 1.0,
    distance: str = "sqeuclidean",
    reduction: str = "mean",
    block_size: int | None = None,
    reference: Tensor | None = None,
    reference_labels: Tensor | None = None,
    same: Tensor | None = None,
) -> Tensor:
    """Minus the log of the share that the anchor's class has of its soft neighborhood.

        loss_i = log Σ_{j≠i} exp(−D_ij / T) − log Σ_{j≠i, y_j = y_i} exp(−D_ij / T)

    Args:
        embeddings: (n, features), floating. Halves compute in float32.
        labels: (n,), integers; or several labels of a row, (n, classes), bool: two rows are
            positives when they share one.
        temperature: T, a positive number, or a scalar tensor.
        distance: D: sqeuclidean as in the paper, euclidean or cosine.
        reduction: mean over the anchors that share their label with another point, sum or none.
        block_size: rows that are computed at a time: memory is n · block_size instead of n² (under
            torch.func n² all the same; in float32 on a GPU n · features, whatever it is).
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
        ValueError: an empty batch, wrong shapes, a temperature that is not positive.
    Example:
        >>> x = torch.tensor([[0.0], [1.0], [3.0]])
        >>> loss = soft_nearest_neighbor_loss(x, torch.tensor([0, 0, 1]))
        >>> round(loss.item(), 4)  # (log(1 + e⁻⁸) + log(1 + e⁻³)) / 2
        0.0245
    """
    block_size = _check_options(distance, reduction, block_size)
    checks.check_floating("embeddings", embeddings, ndim=2)
    checks.check_not_empty("embeddings", embeddings)
    temperature = checks.check_positive("temperature", temperature, embeddings)
    several = not isinstance(labels, Tensor) or labels.dtype is torch.bool
    if several or not (reference is None and reference_labels is None and same is None):
        compared = (reference, reference_labels, same, temperature, distance, block_size)
        losses, positive = losses_by_pairs(_losses, embeddings, labels, *compared)
        return reduced(losses, reduction, lambda: positive.any(1).sum())
    assert labels is not None
    checks.check_labels("labels", labels, embeddings.shape[0])

    def plain_losses(embeddings: Tensor, temperature: Tensor) -> Tensor:
        return losses_by_labels(_losses, embeddings, labels, temperature, distance, block_size)

    def plain_loss(embeddings: Tensor, temperature: Tensor) -> Tensor:
        losses = plain_losses(embeddings, temperature)
        return reduced(losses, reduction, lambda: count_anchors(labels))

    # The plain loss is what derivatives of the gradient are taken of.
    if fast.applies(embeddings, temperature, distance):  # on a CPU, where all D are small against T
        return fast.loss(embeddings, labels, temperature, reduction, block_size, plain_loss)
    if fast.applies_on_a_gpu(embeddings, temperature, distance):  # in float32
        return fast.gpu_loss(embeddings, labels, temperature, distance, reduction, plain_losses)
    return plain_loss(embeddings, temperature)


def _losses(D: Tensor, others: Tensor, positives: Tensor, temperature: Tensor) -> Tensor:
    """Minus the log of the share of the positives in all others, of each row."""
    # A singleton, an anchor without positives, gets two equal sums: loss 0, or NaN for a NaN.
    singletons = ~positives.any(1, keepdim=True)
    others, positives = others | singletons, positives | singletons
    # Subtract the distance to the nearest positive in both sums: it cancels, and keeps precision
    # when all distances are large.
    nearest = D.detach().masked_fill(~positives, math.inf).amin(1, keepdim=True)
    logits = (nearest - D) / temperature
    log_all = logits.masked_fill(~others, -math.inf).logsumexp(1)
    log_same = logits.masked_fill(~positives, -math.inf).logsumexp(1)
    return log_all - log_same


def _check_options(distance: str, reduction: str, block_size: int | None) -> int | None:
    checks.check_choice("distance", distance, DISTANCES)
    checks.check_choice("reduction", reduction, REDUCTIONS)
    return None if block_size is None else checks.check_count("block_size", block_size)


class SoftNearestNeighborLoss(LearnedTemperature):
    """`soft_nearest_neighbor_loss` as a module, called with (embeddings, labels).

    With learn_temperature, T is trained too. The parameter is `log_inverse_temperature`, −log T: T
    stays positive after any step of an optimizer, and stays in e^±32. The parameter stays in
    float32 when the model is converted to halves.

    As a penalty the loss is maximized over the embeddings, which mixes the classes, and still
    minimized over T, so that T is the scale at which the classes are most distinct. Let T learn
    faster than the embeddings: while T lags behind, the loss is above that of mixed classes.

    Args:
        temperature: T, or its start when it is learned; a positive number.
        learn_temperature: whether T is a parameter.
        distance, reduction, block_size: as in `soft_nearest_neighbor_loss`.
    Raises:
        ValueError: an option out of range.
    Example:
        >>> start = [[2.0, -2.6], [0.4, -0.6], [-0.5, -0.2], [-2.0, -0.2]]
        >>> x = torch.nn.Parameter(torch.tensor(start))
        >>> labels = torch.tensor([0, 0, 1, 1])
        >>> loss = SoftNearestNeighborLoss(learn_temperature=True)
        >>> temperature = {"params": loss.parameters(), "lr": 0.5}
        >>> optimizer = torch.optim.Adam([{"params": [x]}, temperature], lr=0.05)
        >>> for _ in range(60):
        ...     optimizer.zero_grad()
        ...     (-loss(x, labels)).backward()  # maximized over x
        ...     loss.log_inverse_temperature.grad *= -1  # minimized over T
        ...     optimizer.step()
        >>> 0.5 < loss(x, labels).item() < math.log(3) + 0.01  # the classes are mixed
        True
    """

    def __init__(
        self,
        *,
        temperature: float = 1.0,
        learn_temperature: bool = False,
        distance: str = "sqeuclidean",
        reduction: str = "mean",
        block_size: int | None = None,
    ) -> None:
        block_size = _check_options(distance, reduction, block_size)
        options = {"distance": distance, "reduction": reduction, "block_size": block_size}
        super().__init__(temperature, learn_temperature, options)

    @in_single_precision
    def forward(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        return soft_nearest_neighbor_loss(embeddings, labels, **self.options(embeddings))
