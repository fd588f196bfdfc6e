"""The soft margin of a triplet loss: in the place of each hinge max(0, v) stands log(1 + exp(v)).

It falls off exponentially and is never 0: a triplet that meets its margin still learns a little.
"""

from __future__ import annotations

import numpy as np
import theano.tensor as T
from theano.tensor.var import TensorVariable

from theano_impl.support.blocks import by_blocks

TRIPLETS = 2**15  # formed at a time, or those of one anchor, if these are more


def softplus(v: TensorVariable) -> TensorVariable:
    """log(1 + exp(v)), without overflow and with derivatives of any order."""
    return T.nnet.softplus(v)


def soft_margin_sums(
    distances: TensorVariable,
    positive: TensorVariable,
    negative: TensorVariable,
    margin: np.ndarray,
) -> TensorVariable:
    """Σ log(1 + exp(margin + d(a, p) − d(a, n))) over the positives and negatives of each anchor.

    All triplets are formed, those of a few anchors at a time, and formed again for a gradient.

    Args:
        distances: (n, m), of n anchors from m rows.
        positive, negative: (n, m), bool: what each row is to the anchor.
        margin: in the unit of the distance.
    Returns:
        (n,).
    """

    def sums(rows, distances, positive, negative):
        d, p, n = distances[rows], positive[rows], negative[rows]
        v = margin + d[:, :, None] - d[:, None, :]  # (anchors, positives, negatives)
        return T.sum(softplus(v) * (p[:, :, None] & n[:, None, :]), axis=(1, 2))

    anchors = T.maximum(TRIPLETS // distances.shape[1] ** 2, 1)
    return by_blocks(sums, anchors, distances, positive, negative)
