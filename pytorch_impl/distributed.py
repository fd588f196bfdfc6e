"""The whole batch on every rank, for losses that compare its rows with one another.

    forward     batch = rows of rank 0, rows of rank 1, …
    backward    gradient of a row = Σ over ranks of the gradient that the rank's loss gives it

Every rank computes the loss of the whole batch. The sum counts this loss once for each rank, and
DistributedDataParallel takes the mean over ranks of the gradients of the parameters. Together they
are the gradient of one process with all rows, for parameters before and after the gathering: do not
scale the loss.

Source: all-gather and reduce-scatter of torch.distributed, each of which is the transpose of the
other.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from pytorch_impl.support.checks import check_rank

if dist.is_available():
    # DistributedDataParallel imports this module, and defaults of its functions keep the process
    # group of that moment. Imported after `init_process_group`, it would keep the group's threads
    # beyond `destroy_process_group`, and one of them may abort the interpreter at its end.
    import torch.distributed.nn

if dist.is_available():  # before PyTorch 2.12 the two have other names
    all_gather = getattr(dist, "all_gather_single", None) or dist.all_gather_into_tensor
    reduce_scatter = getattr(dist, "reduce_scatter_single", None) or dist.reduce_scatter_tensor


def gather_batch(*tensors: Tensor) -> tuple[Tensor, ...]:
    """The rows of all ranks, in the order of the ranks, as one tensor for each argument.

    Every rank has to call it, and to call backward if one does: otherwise the other ranks wait.

    Args:
        tensors: (rows, ...) floating, int32 or int64, such as embeddings and labels. The number of
            rows may differ between ranks, and may be zero.
    Returns:
        As many tensors, (all rows, ...), of the same dtype and device. Gradients flow back to the
        rank that a row is from. In a group of one rank, the tensors themselves.
    Raises:
        RuntimeError: without a process group. TypeError, ValueError: for what cannot be gathered;
            on every rank, where the ranks differ in dtype, in shape beyond the rows, or in whether
            a gradient is wanted.
    Example:
        >>> dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
        >>> embeddings, labels = gather_batch(torch.ones(2, 3), torch.tensor([0, 1]))
        >>> dist.destroy_process_group()
        >>> embeddings.shape
        torch.Size([2, 3])
    """
    if not (dist.is_available() and dist.is_initialized()):
        raise RuntimeError(
            "gather_batch: expected a process group (torch.distributed.init_process_group "
            "in a program started by torchrun), got none"
        )
    for index, x in enumerate(tensors):
        _check_tensor(f"tensors[{index}]", x)
    if dist.get_world_size() == 1:
        return tensors
    kinds: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(kinds, [_kind(x) for x in tensors])
    _check_alike([[kind for _, *kind in rank] for rank in kinds])
    counts = [[rows for rows, *_ in rank] for rank in kinds]
    return tuple(map(_gather_rows, tensors, zip(*counts, strict=True)))


def _gather_rows(x: Tensor, counts: tuple[int, ...]) -> Tensor:
    """The rows of all ranks; counts: the number of rows of each."""
    longest = max(counts)
    padding = x.new_zeros(longest - len(x), *x.shape[1:])
    blocks = _AllGather.apply(torch.cat([x, padding]) if len(padding) else x)
    if min(counts) == longest:
        return blocks
    parts = zip(blocks.split(longest), counts, strict=True)
    return torch.cat([block[:count] for block, count in parts])


class _AllGather(torch.autograd.Function):
    """Blocks of one shape from all ranks, joined along the rows."""

    @staticmethod
    def forward(ctx: Any, block: Tensor) -> Tensor:
        joined = block.new_empty(dist.get_world_size() * len(block), *block.shape[1:])
        all_gather(joined, block.contiguous())
        return joined

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        own = gradient.new_empty(len(gradient) // dist.get_world_size(), *gradient.shape[1:])
        reduce_scatter(own, gradient.contiguous(), op=dist.ReduceOp.SUM)
        return own


def _kind(x: Tensor) -> tuple[int, tuple[int, ...], torch.dtype, bool]:
    """The number of rows, and what all ranks share: shape of a row, dtype, gradient wanted."""
    return len(x), tuple(x.shape[1:]), x.dtype, x.requires_grad and torch.is_grad_enabled()


def _check_tensor(name: str, x: Tensor) -> None:
    if not isinstance(x, Tensor):
        raise TypeError(f"{name}: expected a torch.Tensor, got {type(x).__name__}")
    if not (x.is_floating_point() or x.dtype in (torch.int32, torch.int64)):
        raise TypeError(f"{name}: expected floating point numbers, int32 or int64, got {x.dtype}")
    check_rank(name, x, ndim=None)


def _check_alike(kinds: list[list[Any]]) -> None:
    """An error on every rank unless all ranks have tensors of the same kinds, in order."""
    first = kinds[0]
    for rank, kind in enumerate(kinds):
        if len(kind) != len(first):
            raise ValueError(
                f"tensors: expected {len(first)} of them as on rank 0, "
                f"got {len(kind)} on rank {rank}"
            )
        for index, (wanted, got) in enumerate(zip(first, kind, strict=True)):
            if got != wanted:
                raise ValueError(
                    f"tensors[{index}]: expected {_describe(*wanted)} as on rank 0, "
                    f"got {_describe(*got)} on rank {rank}"
                )


def _describe(shape: tuple[int, ...], dtype: torch.dtype, wants_gradient: bool) -> str:
    return f"rows of shape {shape}, {dtype}, {'with' if wants_gradient else 'without'} gradient"
