"""Classmates: for each row of a batch, the other rows with its label, as one padded table.

Few rows share a label, so what is done to the positives alone costs less than n².
"""

from __future__ import annotations

import torch
from torch import Tensor

from pytorch_impl.support.transforms import transformed


def classmates(labels: Tensor) -> tuple[Tensor, Tensor]:
    """The other rows with the label of each row, ascending, and which of these are not padding.

    labels: (n,) integers. Both are (n, size of the largest class), int64 and bool; what pads is
    the row itself. Under torch.func, where sizes cannot depend on labels, they are (n, n).
    """
    if transformed(labels):
        return _sorted_classmates(labels)
    _, classes, sizes = labels.unique(return_inverse=True, return_counts=True)
    order = classes.argsort(stable=True)
    place = torch.arange(int(sizes.max()), device=labels.device)
    first = (sizes.cumsum(0) - sizes)[:, None]
    members = order[(first + place).clamp_max(len(order) - 1)][classes]
    itself = torch.arange(len(order), device=labels.device)[:, None]
    real = (place < sizes[:, None])[classes] & (members != itself)
    return torch.where(real, members, itself), real


def _sorted_classmates(labels: Tensor) -> tuple[Tensor, Tensor]:
    """The same from a sort of each row of n², in which nothing depends on the sizes of classes."""
    itself = torch.arange(labels.shape[0], device=labels.device)[:, None]
    others = (labels[:, None] == labels) & (itself != itself.T)
    members = (~others).to(torch.int8).argsort(dim=1, stable=True)
    real = others.gather(1, members)
    return torch.where(real, members, itself), real
