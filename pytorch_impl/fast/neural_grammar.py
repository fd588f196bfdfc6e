"""Neural grammar: the merges of the gradient without a copy of the nodes for each of them.

The merges are read once, as Python integers, and the nodes stay in a list. So a merge takes two
rows as they are: no row is gathered, and no table grows by one row.
GAIN
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from pytorch_impl.support.transforms import transformed


def applies(vectors: Tensor, weight: Tensor) -> bool:
    """Whether values may be read: not under torch.func, torch.export and forward mode."""
    return not transformed(vectors, weight)


def replay(vectors: Tensor, merges: Tensor, parents: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """The embeddings of all nodes, (2n−1, dim), differentiable."""
    nodes = list(vectors)
    for left, right in merges.tolist():
        nodes.append(parents(nodes[left], nodes[right]))
    return torch.stack(nodes)
