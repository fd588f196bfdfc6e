"""The neighbors of anchors for the soft nearest neighbor loss, one block of anchors at a time.

    by labels    an anchor's positives are the other rows of the batch with its label
    by pairs     as a reference, several labels of a row or the caller say: `support.labels`

Both give formula(D, others, positives, temperature), which returns (rows,), the distances of a
block of anchors to all neighbors, (rows, m), and two masks of that shape.
"""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf

from tf2_impl.distances import pairwise_distances
from tf2_impl.support.blocks import by_blocks
from tf2_impl.support.labels import class_pairs

Formula = Callable[[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor], tf.Tensor]


def losses_by_labels(
    formula: Formula,
    embeddings: tf.Tensor,
    labels: tf.Tensor,
    temperature: tf.Tensor,
    distance: str,
    block_size: int | None,
) -> tf.Tensor:
    """The loss of each anchor, (n,), by one integer label of each row, (n,)."""

    def block_losses(
        rows: tf.Tensor, embeddings: tf.Tensor, labels: tf.Tensor, temperature: tf.Tensor
    ) -> tf.Tensor:
        anchors = tf.gather(embeddings, rows)
        D = pairwise_distances(anchors, embeddings, distance=distance)  # (rows, n)
        others = rows[:, None] != tf.range(tf.shape(labels)[0])
        positives = others & (tf.gather(labels, rows)[:, None] == labels)
        return formula(D, others, positives, temperature)

    tensors = (embeddings, labels, temperature)
    return by_blocks(block_losses, block_size, *tensors, dtype=embeddings.dtype)


def losses_by_pairs(
    formula: Formula,
    embeddings: tf.Tensor,
    labels: tf.Tensor | None,
    reference: tf.Tensor | None,
    reference_labels: tf.Tensor | None,
    same: tf.Tensor | None,
    temperature: tf.Tensor,
    distance: str,
    block_size: int | None,
) -> tuple[tf.Tensor, tf.Tensor]:
    """The loss of each anchor, (n,), and which rows are its positives, (n, m) bool."""
    neighbors, positive, negative = class_pairs(
        embeddings, labels, reference, reference_labels, same
    )

    def block_losses(
        rows: tf.Tensor,
        embeddings: tf.Tensor,
        reference: tf.Tensor,
        positive: tf.Tensor,
        negative: tf.Tensor,
        temperature: tf.Tensor,
    ) -> tf.Tensor:
        anchors = tf.gather(embeddings, rows)
        D = pairwise_distances(anchors, reference, distance=distance)  # (rows, m)
        positives, negatives = tf.gather(positive, rows), tf.gather(negative, rows)
        return formula(D, positives | negatives, positives, temperature)

    tensors = (embeddings, neighbors, positive, negative, temperature)
    return by_blocks(block_losses, block_size, *tensors, dtype=embeddings.dtype), positive


def reduced(losses: tf.Tensor, reduction: str, count: Callable[[], tf.Tensor]) -> tf.Tensor:
    """The losses, their sum, or their mean over the anchors with positives: count() of them."""
    if reduction == "none":
        return losses
    if reduction == "sum":
        return tf.reduce_sum(losses)
    return tf.reduce_sum(losses) / tf.maximum(count(), 1)


def count_anchors(labels: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
    """How many rows share their label with another row."""
    ordered = tf.sort(labels)  # equal labels are adjacent; XLA has no unique
    repeats = tf.pad(ordered[1:] == ordered[:-1], [[1, 1]])
    return tf.math.count_nonzero(repeats[1:] | repeats[:-1], dtype=dtype)


def count_rows(positive: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
    """How many rows of (n, m) have a positive."""
    return tf.math.count_nonzero(tf.reduce_any(positive, axis=1), dtype=dtype)
