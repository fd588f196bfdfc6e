"""Rows of an embedding table learn at a rate that grows with how rare their ids are.

    mean      = Σ count / (number of ids that occur), the padding's id 0 left out
    weight_id = max(1, mean / count_id), and 0 for the padding

    scaled gradient    gradient_id · weight_id, before the optimizer's step
    scaled update      before_id + weight_id · (after_id − before_id), around the step

With plain gradient descent the two are the same. Adam, Adagrad, RMSprop, SMORMS3 and every other
rule that divides a gradient by its own past size give the same step for any constant multiple of
it: a scaled gradient changes nothing there, and a scaled update is the way.

Word2vec drops frequent words, which damps what they learn. Here nothing is damped: an id that
occurs as often as the average, or more often, keeps its gradient, and a rarer one gets the total
of an average one. Over all tokens the weights have a mean between 1 and 2 (Σ max(count, mean) is
at most 2 Σ count), so the learning rate may stay, and none is above the mean count.

Source: seed topic, challenges with real-world embeddings (their gradients are scaled by inverse
frequency; the floor at 1 is what keeps the frequent ids from being damped).
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

# With a sparse gradient these move its rows, those of a sparse state, and no others.
BY_ROWS = (SGD, Adagrad, SparseAdam, SMORMS3)


def inverse_frequency_weights(counts: Tensor) -> Tensor:
    """(vocabulary,) weights, one for each id, in PyTorch's default dtype.

    counts: (vocabulary,) integers, how often each id occurs, such as `torch.bincount` gives.
    Padding may be among them: what stands at id 0 does not count, and its weight is 0. An id
    that never occurs has the weight of one that occurs once. ValueError for a negative count and
    when no id occurs, TypeError for counts that are not integers.
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
    """Multiply row `id` of each gradient by weights[id], in place, as `clip_grad_norm_` does.

    It works with gradient descent, with or without momentum. It cancels in every rule that divides
    the gradient by its own past size (Adam, Adagrad, RMSprop, SMORMS3 and the like): use
    `scale_updates_by_frequency` with these.

    parameters: embedding tables, (vocabulary, dim), after `backward`; those without a gradient
    are left alone. weights: (vocabulary,), of the tables' dtype; those of float16 and bfloat16
    tables may be float32, and what is scaled is rounded once. A sparse gradient stays sparse
    and costs what its rows cost, whether or not an id comes several times. ValueError for a
    table of another vocabulary, and TypeError for one of another dtype than the weights.
    """
    weights = widened(weights)
    tables = _tables(parameters, weights)
    for gradient in (table.grad for table in tables):
        if gradient is None:
            continue
        if gradient.is_sparse:
            # As they are, not coalesced: indices() would refuse rows that come several times.
            rows, own = gradient._values(), weights[gradient._indices()[0]]
        else:
            rows, own = gradient, weights
        rows.mul_(own.reshape(-1, *[1] * (rows.ndim - 1)))


def scale_updates_by_frequency(
    optimizer: Optimizer, parameters: Tensor | Iterable[Tensor], weights: Tensor
) -> None:
    """From now on, steps of an optimizer move row `id` of a table by weights[id] times as much.

    It works with every optimizer, as what is scaled is what a step has done: rows that momentum
    moves without a gradient and the decay of weights inside the step, too. `SparseDenseOptimizer`,
    schedules, closures and GradScaler are as before. Weights of 1 leave a row's step as it is, to
    the bit, and weights of 0 leave the row.

    parameters: embedding tables, (vocabulary, dim), of the optimizer. weights: (vocabulary,), of
    the tables' dtype, or float32 for tables in half precision. A step with a sparse gradient costs
    what its rows cost; with a dense one, a closure, or an optimizer that PyTorch does not have, the
    table is copied. The hooks belong to this optimizer, not to its state: set them again on one
    that is made anew, copied or unpickled. ValueError for a table of another vocabulary or of
    another optimizer, TypeError for one of another dtype than the weights.

        optimizer = SparseAdam(model.embed.parameters())
        scale_updates_by_frequency(optimizer, model.embed.table, inverse_frequency_weights(counts))
    """
    if not isinstance(optimizer, Optimizer):
        raise TypeError(f"optimizer: expected an Optimizer, got {type(optimizer).__name__}")
    weights = widened(weights)
    tables = _tables(parameters, weights)
    members = {one for group in optimizer.param_groups for one in group["params"]}
    for place, table in enumerate(tables):
        if table not in members:
            raise ValueError(f"parameters: expected those of the optimizer, got another at {place}")
    kept: list[tuple[Tensor, Tensor | slice, Tensor]] = []  # table, rows, and what they were

    @torch.no_grad()
    def before_step(optimizer: Optimizer, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        # PyTorch counts the optimizer itself among the arguments.
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
    """The tables, once all of them fit the weights."""
    check_floating("weights", weights, ndim=1)
    tables = [parameters] if isinstance(parameters, Tensor) else list(parameters)
    for place, table in enumerate(tables):
        check_dtype("weights", weights, single(table.dtype))
        if table.shape[:1] != weights.shape:
            raise ValueError(
                f"weights: expected one for each row of parameter {place}, "
                f"{tuple(table.shape)}, got shape {tuple(weights.shape)}"
            )
    return tables
