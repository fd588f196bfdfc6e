"""The soft margin of a triplet loss: in the place of each hinge max(0, v) stands log(1 + exp(v)).

It falls off exponentially and is never 0: a triplet that meets its margin still learns a little.
"""

from __future__ import annotations

import tensorflow as tf

from tf2_impl.support.blocks import by_blocks

TRIPLETS = 2**15  # formed at a time, or those of one anchor, if these are more


def softplus(v: tf.Tensor) -> tf.Tensor:
    """log(1 + exp(v)), without overflow and with derivatives of any order."""
    return tf.math.softplus(v)


def soft_margin_sums(
    distances: tf.Tensor, positive: tf.Tensor, negative: tf.Tensor, margin: float
) -> tf.Tensor:
    """Σ log(1 + exp(margin + d(a, p) − d(a, n))) over the positives and negatives of each anchor.

    All triplets are formed, those of a few anchors at a time, and formed again for a gradient.

    Args:
        distances: (n, m), of n anchors from m rows.
        positive, negative: (n, m), bool: what each row is to the anchor.
        margin: in the unit of the distance.
    Returns:
        (n,).
    """

    def sums(
        rows: tf.Tensor, distances: tf.Tensor, positive: tf.Tensor, negative: tf.Tensor
    ) -> tf.Tensor:
        d, p, n = (tf.gather(x, rows) for x in (distances, positive, negative))
        v = margin + d[:, :, None] - d[:, None, :]  # (anchors, positives, negatives)
        valid = tf.cast(p[:, :, None] & n[:, None, :], v.dtype)
        return tf.reduce_sum(softplus(v) * valid, axis=(1, 2))

    anchors = tf.maximum(TRIPLETS // tf.shape(distances)[1] ** 2, 1)
    return by_blocks(sums, anchors, distances, positive, negative, dtype=distances.dtype)
