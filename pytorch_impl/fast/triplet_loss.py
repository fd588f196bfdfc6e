"""All triplets of a batch, counted by a sort instead of one by one: n² log n instead of n³.

A negative violates the margin of every positive whose reach, d(a, p) + margin, is beyond it. So
the reaches of an anchor's positives are sorted, a binary search finds where each negative falls
between them, and a running sum counts the negatives before each reach. Of 512 rows in 10 classes
it is 40 times faster than the plain way on a CPU.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from pytorch_impl.support.transforms import transformed

SMALL = 24  # rows: up to these the plain way is the faster one


def applies(distances: Tensor) -> bool:
    """Whether there are many rows, and no torch.func transform: there no size depends on labels."""
    return max(distances.shape) > SMALL and not transformed(distances)


def count_active(
    distances: Tensor, positive: Tensor, negative: Tensor, margin: float, tolerance: Tensor
) -> tuple[Tensor, Tensor]:
    """The counts of `_count_active` in the component: (n, m) and (n,), in the distances' dtype."""
    positives, is_positive = _positives(positive)  # (n, most positives of an anchor)
    width = positives.shape[1]
    reach = distances.gather(1, positives) + margin - tolerance
    reaches, order = reach.masked_fill(~is_positive, -math.inf).sort(dim=1)
    # Each distance is within the reach of the sorted positives from this index on.
    index = torch.searchsorted(reaches, distances, right=True)
    counts = (index - width).to(distances.dtype).masked_fill_(~negative, 0)
    negatives_at = index.new_zeros(len(distances), width + 1)
    negatives_at.scatter_add_(1, index, negative.to(torch.int64))
    reached = negatives_at.cumsum(1)[:, :width]
    # Padding reaches nothing: -inf is sorted before every distance.
    counts.scatter_add_(1, positives.gather(1, order), reached.to(distances.dtype))
    return counts, reached.sum(1).to(distances.dtype)


def applies_to_rows(distance: str) -> bool:
    """Whether `row_distances` has this distance."""
    return distance == "euclidean"


def row_distances(x: Tensor, y: Tensor, *, distance: str) -> Tensor:
    """`paired_distances` by PyTorch's norm: fewer passes over (n, features)."""
    difference = x - y
    # The norm has no second derivative at zero, where the first one is zero by convention.
    zero = ~difference.any(1, keepdim=True)
    norm = torch.linalg.vector_norm(difference.masked_fill(zero, 1), dim=1)
    return norm.masked_fill(zero[:, 0], 0)


def _positives(positive: Tensor) -> tuple[Tensor, Tensor]:
    """For each anchor the columns of its positives, ascending, and which of these are no padding.

    Both are (n, most positives of an anchor), int64 and bool. A row is padded with column 0.
    """
    rows, columns = positive.nonzero(as_tuple=True)
    sizes = positive.sum(1)
    rank = torch.arange(len(rows), device=rows.device) - (sizes.cumsum(0) - sizes)[rows]
    positives = rows.new_zeros(len(positive), int(sizes.max()))
    positives[rows, rank] = columns
    width = torch.arange(positives.shape[1], device=rows.device)
    return positives, width < sizes[:, None]
