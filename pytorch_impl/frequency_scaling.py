"""Gradient rows of an embedding table, scaled by how rare their ids are.

    mean      = Σ count / (number of ids that occur), the padding's id 0 left out
    weight_id = max(1, mean / count_id), and 0 for the padding

Word2vec drops frequent words, which damps what they learn. Here nothing is damped: an id that
occurs as often as the average, or more often, keeps its gradient, and a rarer one gets the total
of an average one. Over all tokens the weights have a mean between 1 and 2 (Σ max(count, mean) is
at most 2 Σ count), so the learning rate may stay, and none is above the mean count.

Source: seed topic, challenges with real-world embeddings (their gradients are scaled by inverse
frequency; the floor at 1 is what keeps the frequent ids from being damped).
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from pytorch_impl.checks import check_dtype, check_floating, check_integers
from pytorch_impl.precision import single, widened


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

    parameters: embedding tables, (vocabulary, dim), after `backward`; those without a gradient
    are left alone. weights: (vocabulary,), of the tables' dtype; those of float16 and bfloat16
    tables may be float32, and what is scaled is rounded once. A sparse gradient stays sparse
    and costs what its rows cost, whether or not an id comes several times. ValueError for a
    table of another vocabulary, and TypeError for one of another dtype than the weights.
    """
    check_floating("weights", weights, ndim=1)
    weights = widened(weights)
    tables = [parameters] if isinstance(parameters, Tensor) else list(parameters)
    for place, table in enumerate(tables):
        check_dtype("weights", weights, single(table.dtype))
        if table.shape[:1] != weights.shape:
            raise ValueError(
                f"weights: expected one for each row of parameter {place}, "
                f"{tuple(table.shape)}, got shape {tuple(weights.shape)}"
            )
    for gradient in (table.grad for table in tables):
        if gradient is None:
            continue
        if gradient.is_sparse:
            # As they are, not coalesced: indices() would refuse rows that come several times.
            rows, own = gradient._values(), weights[gradient._indices()[0]]
        else:
            rows, own = gradient, weights
        rows.mul_(own.reshape(-1, *[1] * (rows.ndim - 1)))
