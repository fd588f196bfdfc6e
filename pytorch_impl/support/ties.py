"""Ties: values that differ by no more than rounding are equal, and the lower index wins.

A matrix product rounds the same two vectors differently at different places, and each
framework in its own way. Without a tolerance, equal vectors would tie in none of them.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor


def rounding_error(distances: Tensor, distance: str) -> Tensor:
    """The difference below which two of these distances, (n, m), count as equal; a scalar."""
    scale = distances.new_ones(()) if distance == "cosine" else distances.max()
    return 32 * torch.finfo(distances.dtype).eps * scale


def first_minimum(values: Tensor, tolerance: Tensor) -> Tensor:
    """Index of the smallest value on the last axis; of equal ones, the lowest index."""
    smallest = values.amin(dim=-1, keepdim=True)
    # Not over int8: compiled for AVX2, argmax over int8 gives 0 for every row (PyTorch 2.13).
    return (values <= smallest + tolerance).to(torch.int32).argmax(dim=-1)


def tied_ranks(values: Tensor, tolerance: Tensor) -> Tensor:
    """Rank of each of these values, (n, m), within its row; tied ones share theirs, from 0 up.

    Of the values in order, those that follow one another within the tolerance are tied.
    """
    ordered, order = values.sort(dim=1)
    steps = ordered.diff(dim=1) > tolerance
    ranks = torch.nn.functional.pad(steps.cumsum(1), (1, 0))
    return torch.empty_like(ranks).scatter_(1, order, ranks)


def among_top_k(x: Tensor, k: int) -> Tensor:
    """Whether each number is among the k largest on the last axis: (..., n) → (..., n), bool.

    Of equal numbers the one with the lower index is larger, without a tolerance. NaN counts as the
    largest number, and every NaN is among them, even if there are more than k.
    """
    nan = x.isnan()
    if x.is_cuda:  # a stable sort is one launch, and what follows is ten
        chosen = x.argsort(dim=-1, descending=True, stable=True)[..., :k]
        return nan.scatter(-1, chosen, True)
    ranked = x.masked_fill(nan, math.inf)
    # torch.topk promises no order among equal numbers: only the k-th value is taken from it. The
    # numbers equal to it are counted from the left, until k are chosen.
    top = ranked.topk(k).values
    kth = top[..., -1:]
    above, equal = ranked > kth, ranked == kth
    room = (top == kth).sum(-1, keepdim=True)
    return above | (equal & (equal.cumsum(-1) <= room)) | nan
