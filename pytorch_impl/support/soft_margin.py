"""The soft margin of a triplet loss: in the place of each hinge max(0, v) stands log(1 + exp(v)).

It falls off exponentially and is never 0: a triplet that meets its margin still learns a little.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from pytorch_impl.support.blocks import by_blocks

TRIPLETS = 2**15  # formed at a time, or those of one anchor, if these are more


def softplus(v: Tensor) -> Tensor:
    """log(1 + exp(v)), without overflow and with derivatives of any order."""
    # F.softplus returns its argument above 20, which costs float64 digits below 40.
    return F.softplus(v, threshold=40)


def soft_margin_sums(
    distances: Tensor, positive: Tensor, negative: Tensor, margin: float
) -> Tensor:
    """Σ log(1 + exp(margin + d(a, p) − d(a, n))) over the positives and negatives of each anchor.

    All triplets are formed, those of a few anchors at a time, and formed again for a gradient.

    Args:
        distances: (n, m), of n anchors from m rows.
        positive, negative: (n, m), bool: what each row is to the anchor.
        margin: in the unit of the distance.
    Returns:
        (n,).
    """

    def sums(rows: Tensor, distances: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
        d, p, n = distances[rows], positive[rows], negative[rows]
        v = margin + d[:, :, None] - d[:, None, :]  # (anchors, positives, negatives)
        return (softplus(v) * (p[:, :, None] & n[:, None, :])).sum((1, 2))

    anchors = max(1, TRIPLETS // max(1, distances.shape[1]) ** 2)
    return by_blocks(sums, anchors, distances, positive, negative)
