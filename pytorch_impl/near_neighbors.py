"""Soft nearest neighbor losses of points that are near against the temperature, the quick way.

Up to ‖x‖² / T = NEAR, exp(−D / T) neither overflows nor vanishes in float32: N is then one
product and one exp, and the gradient is a product again. `soft_nearest_neighbor_loss` chooses.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

NEAR = 16.0
ROWS = 512  # of a block where none is asked for: it stays in the cache
MANY = 64  # rows of a class, or of several: a product for fewer takes as long


class _Points(NamedTuple):
    """Points around the origin, sorted by class: the partners of some stand in one window.

    x: (features, n), as products with N are fastest; square: (n,), of their lengths. labels and
    weights, of the losses in their sum: (n,). alone: (n,), 1 for points without a partner, else
    0. order: where each stood. groups: their places, and whether they are of several classes.
    rows: of a block.
    """

    x: Tensor
    square: Tensor
    labels: Tensor
    weights: Tensor
    alone: Tensor
    order: Tensor
    groups: list[tuple[int, int, bool]]
    rows: int

    def in_order(self, sorted_: Tensor) -> Tensor:
        """The points' values, (n, …), as they came."""
        return sorted_.new_empty(sorted_.shape).index_copy_(0, self.order, sorted_)


def near_loss(
    embeddings: Tensor, labels: Tensor, temperature: Tensor, reduction: str, rows: int | None
) -> Tensor | None:
    """The reduced loss by squared distances, or None for points that are too far apart."""
    x = embeddings.detach()
    x = x - x.mean(0)
    square = x.square().sum(1)
    if not 0 <= square.amax() / temperature.detach() <= NEAR:
        return None
    labels, order = labels.sort()
    twins = labels[1:] == labels[:-1]
    weights = (F.pad(twins, (1, 0)) | F.pad(twins, (0, 1))).to(x.dtype)
    alone = 1 - weights
    if reduction == "mean":
        weights /= weights.sum().clamp_min(1)
    groups = _groups(labels.unique_consecutive(return_counts=True)[1].tolist())
    x = x.index_select(0, order).T.contiguous()
    square = square.index_select(0, order)
    points = _Points(x, square, labels, weights, alone, order, groups, rows or ROWS)
    if reduction == "none":
        return _Losses.apply(embeddings, temperature, points)
    return _Loss.apply(embeddings, temperature, points, torch.is_grad_enabled())


class _Loss(torch.autograd.Function):
    """The weighted sum of the losses: its gradient is known up to a factor, and made at once."""

    @staticmethod
    def forward(
        ctx: Any, embeddings: Tensor, temperature: Tensor, points: _Points, differentiate: bool
    ) -> Tensor:
        weights = points.weights if differentiate else None
        losses, gradient = _near(points, temperature, weights)
        if gradient is not None:
            of_temperature = _by_temperature(points.x, temperature, gradient)
            ctx.save_for_backward(points.in_order(gradient.T), of_temperature)
        return losses @ points.weights

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        of_x, of_temperature = ctx.saved_tensors
        return upstream * of_x, upstream * of_temperature, None, None


class _Losses(torch.autograd.Function):
    """The losses one by one: the blocks are computed once more for the gradient."""

    @staticmethod
    def forward(ctx: Any, embeddings: Tensor, temperature: Tensor, points: _Points) -> Tensor:
        ctx.save_for_backward(temperature)
        ctx.points = points
        return points.in_order(_near(points, temperature, None)[0] * points.weights)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        (temperature,), points = ctx.saved_tensors, ctx.points
        _, gradient = _near(points, temperature, upstream[points.order] * points.weights)
        assert gradient is not None
        of_temperature = _by_temperature(points.x, temperature, gradient)
        return points.in_order(gradient.T), of_temperature, None


def _by_temperature(x: Tensor, temperature: Tensor, gradient: Tensor) -> Tensor:
    """The loss is a function of x / √T, which ties the two gradients together."""
    return -(x * gradient).sum() / (2 * temperature)


def _near(
    points: _Points, temperature: Tensor, weights: Tensor | None
) -> tuple[Tensor, Tensor | None]:
    """The losses of sorted points, (n,), and the gradient of their weighted sum, (features, n).

    With N = exp(−D / T) and W the gradient of the sum by D, that by x is
    2 x (W1 + Wᵀ1) − 2 x (W + Wᵀ): each block of N is made by one product, and goes into two. A
    point without a partner has some loss, and weight zero.
    """
    x, square, _, _, alone, _, _, rows = points
    n = x.shape[1]
    one = torch.ones_like(square)
    # D / T without the anchor's own square, which both sums share, in a single product.
    keys = torch.vstack([square, x, one])
    queries = torch.vstack([-one, 2 * x, 0 * one]) / temperature
    values = keys[1:]  # the row of ones sums
    by_others, by_partners = torch.empty_like(values), torch.empty_like(values)
    moved = torch.zeros_like(values)
    space = x.new_empty(min(rows, n), n)
    doubled = None if weights is None else 2 * weights / temperature
    for first in range(0, n, rows):
        last = min(first + rows, n)
        block = slice(first, last)
        near = torch.mm(queries[:, block].T, keys, out=space[: last - first]).exp_()
        near.diagonal(first).zero_()
        torch.mm(values, near.T, out=by_others[:, block])
        windows = list(_windows(points, near, first, last))
        for mine, window, partners in windows:
            torch.mm(values[:, window], partners.T, out=by_partners[:, mine])
        if doubled is not None:
            farther = doubled[block] / (by_others[-1, block] + alone[block])
            moved.addmm_(farther * values[:, block], near)
            closer = doubled[block] / (by_partners[-1, block] + alone[block])
            nearer = closer * values[:, block]
            for mine, window, partners in windows:
                inside = slice(mine.start - first, mine.stop - first)
                moved[:, window].addmm_(nearer[:, inside], partners, alpha=-1)
    others, same = by_others[-1] + alone, by_partners[-1] + alone
    losses = (others / same).log()
    if doubled is None:
        return losses, None
    moved.addcmul_(by_others, doubled / others)
    moved.addcmul_(by_partners, doubled / same, value=-1)
    return losses, torch.addcmul(moved[:-1], moved[-1:], x, value=-1)


def _windows(
    points: _Points, near: Tensor, first: int, last: int
) -> Iterator[tuple[slice, slice, Tensor]]:
    """Of the groups in a block: their places in it, all their places, and N between partners."""
    for begin, end, several in points.groups:
        mine, window = slice(max(begin, first), min(end, last)), slice(begin, end)
        if mine.start < mine.stop:
            partners = near[mine.start - first : mine.stop - first, window]
            if several:
                partners = partners * (points.labels[mine, None] == points.labels[window])
            yield mine, window, partners


def _groups(sizes: list[int]) -> list[tuple[int, int, bool]]:
    """Each class, or several that follow each other until they have MANY rows."""
    n, groups, begin, end, classes = sum(sizes), [], 0, 0, 0
    for size in sizes:
        end, classes = end + size, classes + 1
        if end - begin >= MANY or end == n:
            groups.append((begin, end, classes > 1))
            begin, classes = end, 0
    return groups
