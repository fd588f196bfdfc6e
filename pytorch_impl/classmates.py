"""Classmates: for each row of a batch, the other rows with its label, as one padded table.

Few rows share a label, so what is done to the positives alone costs less than n².
"""

from __future__ import annotations

import torch
from torch import Tensor


def classmates(labels: Tensor) -> tuple[Tensor, Tensor]:
    """The other rows with the label of each row, ascending, and which of these are not padding.

    labels: (n,) integers. Both are (n, size of the largest class), int64 and bool; what pads is
    the row itself.
    """
    _, classes, sizes = labels.unique(return_inverse=True, return_counts=True)
    order = classes.argsort(stable=True)
    place = torch.arange(int(sizes.max()), device=labels.device)
    first = (sizes.cumsum(0) - sizes)[:, None]
    members = order[(first + place).clamp_max(len(order) - 1)][classes]
    itself = torch.arange(len(order), device=labels.device)[:, None]
    real = (place < sizes[:, None])[classes] & (members != itself)
    return torch.where(real, members, itself), real
