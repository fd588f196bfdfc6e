"""The neighbors of anchors for the soft nearest neighbor loss, one block of anchors at a time.

    by labels    an anchor's positives are the other rows of the batch with its label
    by pairs     as a reference, several labels of a row or the caller say: `support.labels`

Both give formula(D, others, positives, temperature), which returns (rows,), the distances of a
block of anchors to all neighbors, (rows, m), and two masks of that shape.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional as F

from pytorch_impl.distances import pairwise_distances
from pytorch_impl.support.blocks import by_blocks
from pytorch_impl.support.labels import class_pairs

Formula = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]


def losses_by_labels(
    formula: Formula,
    embeddings: Tensor,
    labels: Tensor,
    temperature: Tensor,
    distance: str,
    block_size: int | None,
) -> Tensor:
    """The loss of each anchor, (n,), by one integer label of each row, (n,)."""
    block_losses = partial(_losses_by_labels, formula=formula, distance=distance)
    return by_blocks(block_losses, block_size, embeddings, labels, temperature)


def losses_by_pairs(
    formula: Formula,
    embeddings: Tensor,
    labels: Tensor | None,
    reference: Tensor | None,
    reference_labels: Tensor | None,
    same: Tensor | None,
    temperature: Tensor,
    distance: str,
    block_size: int | None,
) -> tuple[Tensor, Tensor]:
    """The loss of each anchor, (n,), and which rows are its positives, (n, m) bool."""
    neighbors, positive, negative = class_pairs(
        embeddings, labels, reference, reference_labels, same
    )
    block_losses = partial(_losses_by_pairs, formula=formula, distance=distance)
    tensors = (embeddings, neighbors, positive, negative, temperature)
    return by_blocks(block_losses, block_size, *tensors), positive


def _losses_by_labels(
    rows: Tensor,
    embeddings: Tensor,
    labels: Tensor,
    temperature: Tensor,
    *,
    formula: Formula,
    distance: str,
) -> Tensor:
    D = pairwise_distances(embeddings[rows], embeddings, distance=distance)  # (rows, n)
    others = rows[:, None] != torch.arange(labels.shape[0], device=labels.device)
    positives = others & (labels[rows, None] == labels)
    return formula(D, others, positives, temperature)


def _losses_by_pairs(
    rows: Tensor,
    embeddings: Tensor,
    reference: Tensor,
    positive: Tensor,
    negative: Tensor,
    temperature: Tensor,
    *,
    formula: Formula,
    distance: str,
) -> Tensor:
    D = pairwise_distances(embeddings[rows], reference, distance=distance)  # (rows, m)
    return formula(D, positive[rows] | negative[rows], positive[rows], temperature)


def reduced(losses: Tensor, reduction: str, count: Callable[[], Tensor]) -> Tensor:
    """The losses, their sum, or their mean over the anchors with positives: count() of them."""
    if reduction == "none":
        return losses
    if reduction == "sum":
        return losses.sum()
    return losses.sum() / count().clamp_min(1)


def count_anchors(labels: Tensor) -> Tensor:
    """How many rows share their label with another row."""
    ordered = labels.sort().values  # equal labels are adjacent
    repeats = F.pad(ordered[1:] == ordered[:-1], (1, 1))
    return (repeats[1:] | repeats[:-1]).sum()
