"""Soft nearest neighbor losses of points that are near against the temperature, the quick way.

Up to ‖x‖² / T = NEAR, exp(−D / T) neither overflows nor vanishes in float32: N is then one
product and one exp, and the gradient is a product again. `soft_nearest_neighbor_loss` chooses.
The gradient is right once: where it is to be differentiated, that of the plain formula is taken.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from pytorch_impl.support.transforms import batched, plain_gradients

NEAR = 16.0
ROWS = 512  # of a block where none is asked for: it stays in the cache
MANY = 64  # rows of a class, or of several: a product for fewer takes as long


class _Points(NamedTuple):
    """Points around the origin, sorted by class: the partners of some stand in one window.

    keys: (1 + features + 1, n), as products with N are fastest: their squared lengths, the points
    and ones. labels and weights, of the losses in their sum: (n,). alone: (n,), 1 for points
    without a partner, else 0. order: where each stood. groups: their places, and whether they
    are of several classes. rows: of a block.
    """

    keys: Tensor
    labels: Tensor
    weights: Tensor
    alone: Tensor
    order: Tensor
    groups: list[tuple[int, int, bool]]
    rows: int

    def in_order(self, sorted_: Tensor) -> Tensor:
        """The points' values, (…, n), as they came."""
        places = torch.arange(len(self.order), device=self.order.device)
        return sorted_.index_select(-1, places.scatter(0, self.order, places))


def near_loss(
    embeddings: Tensor,
    labels: Tensor,
    temperature: Tensor,
    reduction: str,
    rows: int | None,
    plain: Callable[[Tensor, Tensor], Tensor],
) -> Tensor | None:
    """The reduced loss by squared distances, or None for points that are too far apart.

    plain: the same loss of (embeddings, temperature), of which any derivative can be taken.
    """
    n, features = embeddings.shape
    labels, order = labels.sort()
    keys = embeddings.new_ones(1 + features + 1, n)
    x = keys[1:-1].copy_(embeddings.detach().index_select(0, order).T)
    x -= x.mean(1, keepdim=True)
    torch.sum(x.square(), 0, out=keys[0])
    if not 0 <= keys[0].amax() / temperature.detach() <= NEAR:
        return None
    twins = labels[1:] == labels[:-1]
    weights = (F.pad(twins, (1, 0)) | F.pad(twins, (0, 1))).to(x.dtype)
    alone = 1 - weights
    if reduction == "mean":
        weights /= weights.sum().clamp_min(1)
    groups = _groups(labels.unique_consecutive(return_counts=True)[1].tolist())
    points = _Points(keys, labels, weights, alone, order, groups, rows or ROWS)
    if reduction == "none":
        return _Losses.apply(embeddings, temperature, points, plain)
    return _Loss.apply(embeddings, temperature, points, plain, torch.is_grad_enabled())


class _Loss(torch.autograd.Function):
    """The weighted sum of the losses: its gradient is known up to a factor, and made at once."""

    @staticmethod
    def forward(
        ctx: Any,
        embeddings: Tensor,
        temperature: Tensor,
        points: _Points,
        plain: Callable[[Tensor, Tensor], Tensor],
        differentiate: bool,
    ) -> Tensor:
        weights = points.weights if differentiate else None
        losses, gradient = _near(points, temperature, weights)
        if gradient is not None:
            of_temperature = None
            if temperature.requires_grad:
                of_temperature = _by_temperature(points, temperature, gradient)
            of_x = points.in_order(gradient).T
            ctx.save_for_backward(embeddings, temperature, of_x, of_temperature)
            ctx.plain = plain
        return losses @ points.weights

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor | None, ...]:
        embeddings, temperature, of_x, of_temperature = ctx.saved_tensors
        if torch.is_grad_enabled():
            inputs, wanted = (embeddings, temperature), ctx.needs_input_grad[:2]
            return *plain_gradients(ctx.plain, inputs, wanted, grad_output), None, None, None
        if of_temperature is not None:
            of_temperature = grad_output * of_temperature
        return grad_output * of_x, of_temperature, None, None, None


class _Losses(torch.autograd.Function):
    """The losses one by one: the blocks are computed once more for the gradient."""

    @staticmethod
    def forward(
        ctx: Any,
        embeddings: Tensor,
        temperature: Tensor,
        points: _Points,
        plain: Callable[[Tensor, Tensor], Tensor],
    ) -> Tensor:
        ctx.save_for_backward(embeddings, temperature)
        ctx.points, ctx.plain = points, plain
        return points.in_order(_near(points, temperature, None)[0] * points.weights)

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor | None, ...]:
        (embeddings, temperature), points = ctx.saved_tensors, ctx.points
        if torch.is_grad_enabled() or batched(grad_output):
            inputs, wanted = (embeddings, temperature), ctx.needs_input_grad[:2]
            return *plain_gradients(ctx.plain, inputs, wanted, grad_output), None, None
        _, gradient = _near(points, temperature, grad_output[points.order] * points.weights)
        assert gradient is not None
        of_temperature = _by_temperature(points, temperature, gradient)
        return points.in_order(gradient).T, of_temperature, None, None


def _by_temperature(points: _Points, temperature: Tensor, gradient: Tensor) -> Tensor:
    """The loss is a function of x / √T, which ties the two gradients together."""
    return -(points.keys[1:-1] * gradient).sum() / (2 * temperature)


def _near(
    points: _Points, temperature: Tensor, weights: Tensor | None
) -> tuple[Tensor, Tensor | None]:
    """The losses of sorted points, (n,), and the gradient of their weighted sum, (features, n).

    With N = exp(−D / T) and W the gradient of the sum by D, that by x is
    2 x (W1 + Wᵀ1) − 2 x (W + Wᵀ): each block of N is made by one product, and each block of W
    in its place. A point without a partner has some loss, and weight zero.
    """
    keys, _, _, alone, _, _, rows = points
    n = keys.shape[1]
    # D / T without the anchor's own square, which both sums share, in a single product.
    sharpness = 1 / temperature
    queries = keys * (2 * sharpness)
    queries[0], queries[-1] = -sharpness, 0
    values = keys[1:]  # the row of ones sums
    losses = torch.empty_like(alone)
    moved = torch.zeros_like(values)
    space = keys.new_empty(min(rows, n), n)
    doubled = None if weights is None else 2 * sharpness * weights
    for first in range(0, n, rows):
        block = slice(first, min(first + rows, n))
        near = torch.mm(queries[:, block].T, keys, out=space[: block.stop - first]).exp_()
        near.diagonal(first).zero_()
        windows = list(_windows(points, near, block))
        others = near.sum(1) + alone[block]
        same = torch.cat([partners.sum(1) for _, _, partners in windows]) + alone[block]
        ratio = others / same
        torch.log(ratio, out=losses[block])
        if doubled is not None:
            for mine, within, partners in windows:
                within.addcmul_(partners, ratio[mine, None], value=-1)
            weight = doubled[block] / others
            moved[:, block].addcmul_(torch.mm(values, near.T), weight)
            moved.addmm_(weight * values[:, block], near)
    if doubled is None:
        return losses, None
    return losses, moved[:-1].addcmul_(moved[-1:], values[:-1], value=-1)


def _windows(points: _Points, near: Tensor, block: slice) -> Iterator[tuple[slice, Tensor, Tensor]]:
    """Of the groups in a block: their places in it, N within the group, and N between partners."""
    for begin, end, several in points.groups:
        mine = slice(max(begin, block.start) - block.start, min(end, block.stop) - block.start)
        if mine.start < mine.stop:
            window = slice(begin, end)
            within = partners = near[mine, window]
            if several:
                labels = points.labels[block][mine, None]
                partners = within * (labels == points.labels[window])
            yield mine, within, partners


def _groups(sizes: list[int]) -> list[tuple[int, int, bool]]:
    """Each class, or several that follow each other until they have MANY rows."""
    n, groups, begin, end, classes = sum(sizes), [], 0, 0, 0
    for size in sizes:
        end, classes = end + size, classes + 1
        if end - begin >= MANY or end == n:
            groups.append((begin, end, classes > 1))
            begin, classes = end, 0
    return groups
