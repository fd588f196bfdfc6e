"""Which rows each expert of a mixture evaluates, so that all experts are one batched product.

Each expert gets the same number of slots, its capacity: as many as the busiest expert has rows. A
row takes a slot of each of its experts. The slots that stay free hold a row of zeros, and nothing
reads their answers.
"""

from __future__ import annotations

import torch
from torch import Tensor


def expert_slots(expert: Tensor, n_experts: int, *, static: bool) -> tuple[Tensor, Tensor]:
    """The slot of each choice, (batch, k), and the row in each slot, (n_experts, capacity).

    expert: (batch, k), integers. static: no size may depend on values, so that each expert has a
    slot for every row of the batch. The rows are counted from 1, and 0 stands in the free slots.
    """
    batch, k = expert.shape
    # Experts first: a GPU counts along the last axis in parallel, along the first one by one.
    chosen = expert.new_zeros(n_experts, batch).scatter(0, expert.T, 1)
    position = chosen.cumsum(1).gather(0, expert.T).T - 1  # of a row among those of its expert
    capacity = batch if static else int(chosen.sum(1).max())
    slot = expert * capacity + position
    row = torch.arange(1, batch + 1, device=expert.device).repeat_interleave(k)
    rows = row.new_zeros(n_experts * capacity).scatter(0, slot.flatten(), row)
    return slot, rows.unflatten(0, (n_experts, capacity))


def take_rows(x: Tensor, index: Tensor) -> Tensor:
    """x[index] of a matrix, by `index_select`, whose gradient is faster than that of x[index]."""
    return x.index_select(0, index.flatten()).unflatten(0, index.shape)
