"""Rows of an embedding table learn at a rate that grows with how rare their ids are.

    mean      = Σ count / (number of ids that occur), the padding's id 0 left out
    weight_id = max(1, mean / count_id), and 0 for the padding

    scaled gradient    gradient_id · weight_id, before the optimizer's step
    scaled update      before_id + weight_id · (after_id − before_id), around the step

For plain gradient descent both are the same. Adam, Adagrad, RMSprop, SMORMS3 and every other rule
that divides a gradient by its own past size make the same step for any constant multiple of it: a
scaled gradient changes nothing there, and a scaled update is the way.

Word2vec drops frequent words, which reduces what they learn. Here nothing is reduced: an id that
occurs as often as the average, or more often, keeps its gradient, and a rarer id gets the total
gradient of an average one. The mean of the weights over all tokens is between 1 and 2, because
Σ max(count, mean) is at most 2 Σ count: the learning rate can stay. No weight is above the mean.

Source: gradients scaled by the inverse frequency of the words, from a fixed table of one weight for
each id, as a remedy for rare words that get few updates. The lower bound of 1 is added here.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim import SGD, Adagrad, Optimizer, SparseAdam

from pytorch_impl.smorms3 import SMORMS3
from pytorch_impl.sparse_dense_optimizer import SparseDenseOptimizer
from pytorch_impl.support.checks import check_dtype, check_floating, check_integers
from pytorch_impl.support.precision import single, widened

# With a sparse gradient these move only its rows, and the rows of a sparse state.
BY_ROWS = (SGD, Adagrad, SparseAdam, SMORMS3)


def inverse_frequency_weights(counts: Tensor) -> Tensor:
    """One weight for each id of a vocabulary: the rarer an id, the larger its weight.

        weight_id = max(1, mean / count_id), and 0 for the padding's id 0

    Args:
        counts: (vocabulary,) integers, how often each id occurs, as from `torch.bincount`. The
            count of id 0 is ignored. An id that never occurs has the weight of one that occurs
            once.
    Returns:
        (vocabulary,) floating, in PyTorch's default dtype.
    Raises:
        TypeError: counts that are not integers. ValueError: a negative count, no id that occurs.
    Example:
        >>> inverse_frequency_weights(torch.tensor([9, 1, 2, 6])).tolist()  # the mean is 3
        [0.0, 3.0, 1.5, 1.0]
    """
    check_integers("counts", counts, ndim=1)
    if counts.numel() and counts.min() < 0:
        raise ValueError(f"counts: expected no negative numbers, got {int(counts.min())}")
    found = counts[1:][counts[1:] > 0].double()
    if not found.numel():
        raise ValueError(f"counts: expected an id above 0 that occurs, got {counts.tolist()!s:.99}")
    weights = (found.mean() / counts.double().clamp(min=1)).clamp(min=1)
    weights[0] = 0
    return weights.to(torch.get_default_dtype())


@torch.no_grad()
def scale_gradients_by_frequency(parameters: Tensor | Iterable[Tensor], weights: Tensor) -> None:
    """Multiply row `id` of each table's gradient by weights[id], in place.

        gradient_id ← gradient_id · weight_id

    For gradient descent, with or without momentum. It cancels in every rule that divides the
    gradient by its own past size (Adam, Adagrad, RMSprop, SMORMS3 and others): use
    `scale_updates_by_frequency` with these.

    Args:
        parameters: embedding tables, (vocabulary, dim), after `backward`. A table without a
            gradient is left alone. A sparse gradient stays sparse, and costs what its rows cost.
        weights: (vocabulary,), of the tables' dtype, or float32 for half tables.
    Raises:
        TypeError: weights of another dtype. ValueError: a table of another vocabulary.
    Example:
        >>> table = torch.ones(3, 2, requires_grad=True)
        >>> table.sum().backward()
        >>> scale_gradients_by_frequency(table, torch.tensor([0.0, 3.0, 1.0]))
        >>> table.grad.tolist()
        [[0.0, 0.0], [3.0, 3.0], [1.0, 1.0]]
    """
    weights = widened(weights)
    tables = _tables(parameters, weights)
    for gradient in (table.grad for table in tables):
        if gradient is None:
            continue
        if gradient.is_sparse:
            # The stored rows: indices() would refuse a gradient that is not coalesced.
            rows, own = gradient._values(), weights[gradient._indices()[0]]
        else:
            rows, own = gradient, weights
        rows.mul_(own.reshape(-1, *[1] * (rows.ndim - 1)))


def scale_updates_by_frequency(
    optimizer: Optimizer, parameters: Tensor | Iterable[Tensor], weights: Tensor
) -> None:
    """Let each step of an optimizer move row `id` of a table by weights[id] times as much.

        row_id ← before_id + weight_id · (after_id − before_id)

    For every optimizer, because the result of a step is scaled: also rows that momentum moves
    without a gradient, and weight decay inside the step. `SparseDenseOptimizer`, schedules,
    closures and GradScaler work as before. A weight of 1 keeps a row's step to the bit, and a
    weight of 0 keeps the row.

    A step with a sparse gradient costs what its rows cost. The table is copied for a dense
    gradient, for a closure, and for an optimizer that is not PyTorch's own. The hooks belong to
    this optimizer and not to its state: set them again on one that is made anew, copied or
    unpickled.

    Args:
        optimizer: any `torch.optim.Optimizer`.
        parameters: embedding tables of the optimizer, (vocabulary, dim).
        weights: (vocabulary,), of the tables' dtype, or float32 for half tables.
    Raises:
        TypeError: no optimizer, weights of another dtype. ValueError: a table of another
            vocabulary, or not of the optimizer.
    Example:
        >>> table = torch.zeros(3, 1, requires_grad=True)
        >>> optimizer = torch.optim.Adam([table], lr=0.1)
        >>> scale_updates_by_frequency(optimizer, table, torch.tensor([0.0, 3.0, 1.0]))
        >>> table.grad = -torch.ones(3, 1)
        >>> optimizer.step()
        >>> table.detach().flatten()
        tensor([0.0000, 0.3000, 0.1000])
    """
    if not isinstance(optimizer, Optimizer):
        raise TypeError(f"optimizer: expected an Optimizer, got {type(optimizer).__name__}")
    weights = widened(weights)
    tables = _tables(parameters, weights)
    members = {one for group in optimizer.param_groups for one in group["params"]}
    for index, table in enumerate(tables):
        if table not in members:
            raise ValueError(f"parameters: expected those of the optimizer, got another at {index}")
    kept: list[tuple[Tensor, Tensor | slice, Tensor]] = []  # table, indices, rows before the step

    @torch.no_grad()
    def before_step(optimizer: Optimizer, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        # The optimizer itself is among the arguments.
        closure = any(one not in (None, optimizer) for one in (*args, *kwargs.values()))
        kept.clear()
        for table in tables:
            if closure or table.grad is not None:
                rows = slice(None) if closure else _moved_rows(optimizer, table)
                kept.append((table, rows, table[rows].clone()))

    @torch.no_grad()
    def after_step(optimizer: Optimizer, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        for table, rows, before in kept:
            own = weights[rows].reshape(-1, *[1] * (table.ndim - 1))
            after = widened(table[rows])
            # Exact for weights of 0 and 1; of halves, rounded once.
            table[rows] = torch.lerp(widened(before), after, own).to(table.dtype)
        kept.clear()

    optimizer.register_step_pre_hook(before_step)
    optimizer.register_step_post_hook(after_step)


def _moved_rows(optimizer: Optimizer, table: Tensor) -> Tensor | slice:
    """The rows that a step can move: all, or those of a sparse gradient and a sparse momentum."""
    assert table.grad is not None
    if isinstance(optimizer, SparseDenseOptimizer):
        optimizer = optimizer.sparse
    if not (table.grad.is_sparse and isinstance(optimizer, BY_ROWS)):
        return slice(None)
    state = [one for one in optimizer.state.get(table, {}).values() if isinstance(one, Tensor)]
    sparse = [table.grad, *(one for one in state if one.is_sparse)]
    return torch.cat([one._indices()[0] for one in sparse]).unique()


def _tables(parameters: Tensor | Iterable[Tensor], weights: Tensor) -> list[Tensor]:
    """The tables as a list. An error unless all of them fit the weights."""
    check_floating("weights", weights, ndim=1)
    tables = [parameters] if isinstance(parameters, Tensor) else list(parameters)
    for index, table in enumerate(tables):
        check_dtype("weights", weights, single(table.dtype))
        if table.shape[:1] != weights.shape:
            raise ValueError(
                f"weights: expected one for each row of parameter {index}, "
                f"{tuple(table.shape)}, got shape {tuple(weights.shape)}"
            )
    return tables
