"""The neighbors of anchors for the soft nearest neighbor loss, one block of anchors at a time.

    by labels    an anchor's positives are the other rows of the batch with its label
    by pairs     as a reference, several labels of a row or the caller say: `support.labels`

Both give formula(D, others, positives, temperature), which returns (rows,), the distances of a
block of anchors to all neighbors, (rows, m), and two masks of that shape.
"""

from __future__ import annotations

from collections.abc import Callable

import theano.tensor as T
from theano.tensor.extra_ops import Unique
from theano.tensor.var import TensorVariable

from theano_impl.distances import pairwise_distances
from theano_impl.support.blocks import by_blocks
from theano_impl.support.labels import class_pairs

Formula = Callable[[TensorVariable, TensorVariable, TensorVariable, TensorVariable], TensorVariable]


def losses_by_labels(
    formula: Formula,
    embeddings: TensorVariable,
    labels: TensorVariable,
    temperature: TensorVariable,
    distance: str,
    block_size: int | None,
) -> TensorVariable:
    """The loss of each anchor, (n,), by one integer label of each row, (n,)."""

    def block_losses(
        rows: TensorVariable,
        embeddings: TensorVariable,
        labels: TensorVariable,
        temperature: TensorVariable,
    ) -> TensorVariable:
        D = pairwise_distances(embeddings[rows], embeddings, distance=distance)  # (rows, n)
        others = T.neq(rows[:, None], T.arange(labels.shape[0]))
        positives = others & T.eq(labels[rows][:, None], labels)
        return formula(D, others, positives, temperature)

    return by_blocks(block_losses, block_size, embeddings, labels, temperature)


def losses_by_pairs(
    formula: Formula,
    embeddings: TensorVariable,
    labels: TensorVariable | None,
    reference: TensorVariable | None,
    reference_labels: TensorVariable | None,
    same: TensorVariable | None,
    temperature: TensorVariable,
    distance: str,
    block_size: int | None,
) -> tuple[TensorVariable, TensorVariable]:
    """The loss of each anchor, (n,), and which rows are its positives, (n, m) bool."""
    neighbors, positive, negative = class_pairs(
        embeddings, labels, reference, reference_labels, same
    )

    def block_losses(
        rows: TensorVariable,
        embeddings: TensorVariable,
        positive: TensorVariable,
        negative: TensorVariable,
        temperature: TensorVariable,
        reference: TensorVariable | None = None,
    ) -> TensorVariable:
        reference = embeddings if reference is None else reference
        D = pairwise_distances(embeddings[rows], reference, distance=distance)  # (rows, m)
        return formula(D, positive[rows] | negative[rows], positive[rows], temperature)

    variables = [embeddings, positive, negative, temperature]
    if neighbors is not embeddings:  # a scan takes no variable twice
        variables.append(neighbors)
    return by_blocks(block_losses, block_size, *variables), positive


def reduced(losses: TensorVariable, reduction: str, n_anchors: TensorVariable) -> TensorVariable:
    """The losses, their sum, or their mean over the anchors with positives."""
    if reduction == "none":
        return losses
    if reduction == "sum":
        return T.sum(losses)
    return T.sum(losses) / T.maximum(T.cast(n_anchors, losses.dtype), 1)


def count_anchors(labels: TensorVariable) -> TensorVariable:
    """How many rows share their label with another row."""
    _, classes, sizes = Unique(return_inverse=True, return_counts=True)(labels)
    return T.sum(sizes[classes] > 1)
