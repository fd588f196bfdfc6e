"""Soft nearest neighbor losses of points that are near against the temperature, the quick way.

Up to ‖x‖² / T = NEAR, exp(−D / T) neither overflows nor vanishes in float32: N is then one
product and one exp, and the gradient is a product again. `soft_nearest_neighbor_loss` chooses.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

NEAR = 16.0


class NearLoss(torch.autograd.Function):
    """The weighted sum of the losses: its gradient is known up to a factor, and made at once."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        temperature: Tensor,
        windows: Tensor,
        weights: Tensor,
        rows: int,
        differentiate: bool,
    ) -> Tensor:
        losses, gradient = _near(x, temperature, windows, rows, weights if differentiate else None)
        if gradient is not None:
            ctx.save_for_backward(gradient, _by_temperature(x, temperature, gradient))
        return losses @ weights

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        of_x, of_temperature = ctx.saved_tensors
        return upstream * of_x, upstream * of_temperature, None, None, None, None


class NearLosses(torch.autograd.Function):
    """The losses one by one: the blocks are computed once more for the gradient."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, temperature: Tensor, windows: Tensor, weights: Tensor, rows: int
    ) -> Tensor:
        ctx.save_for_backward(x, temperature, windows, weights)
        ctx.rows = rows
        return _near(x, temperature, windows, rows, None)[0]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        x, temperature, windows, weights = ctx.saved_tensors
        _, gradient = _near(x, temperature, windows, ctx.rows, upstream * weights)
        return gradient, _by_temperature(x, temperature, gradient), None, None, None


def _by_temperature(x: Tensor, temperature: Tensor, gradient: Tensor) -> Tensor:
    """The loss is a function of x / √T, which ties the two gradients together."""
    return -(x * gradient).sum() / (2 * temperature)


def _near(
    x: Tensor, temperature: Tensor, windows: Tensor, rows: int, weights: Tensor | None
) -> tuple[Tensor, Tensor | None]:
    """The losses of sorted points, (n,), and the gradient of their weighted sum, (n, features).

    windows: (n, 2), where the class of each begins and ends. With N = exp(−D / T) and W the
    gradient of the sum by D, that by x is 2 (W1 + Wᵀ1) x − 2 (W + Wᵀ) x: each block of N is made
    by one product, and goes into two.
    """
    square = x.square().sum(1, keepdim=True)
    one = torch.ones_like(square)
    # D / T without the anchor's own square, which both sums share, in a single product.
    keys = torch.cat([x, square], 1).T.contiguous()
    queries = torch.cat([2 * x, -one], 1) / temperature
    values = torch.cat([x, one], 1)  # the column of ones sums
    losses, moved = torch.empty_like(x[:, 0]), torch.zeros_like(values)
    space = x.new_empty(min(rows, len(x)), len(x))
    starts, ends = windows[::rows, 0].tolist(), windows[:, 1].tolist()
    for first, begin in zip(range(0, len(x), rows), starts, strict=True):
        last = min(first + rows, len(x))
        block, window = slice(first, last), slice(begin, ends[last - 1])
        near = torch.mm(queries[block], keys, out=space[: last - first]).exp_()
        near[:, block].diagonal().zero_()
        column = torch.arange(window.start, window.stop, device=x.device)
        start, end = windows[block, None].unbind(2)
        partners = near[:, window] * ((column >= start) & (column < end))
        by_others, by_partners = near @ values, partners @ values[window]
        alone = end - start == 1
        others = by_others[:, -1:].masked_fill(alone, 1)
        same = by_partners[:, -1:].masked_fill(alone, 1)
        losses[block] = (others / same).log()[:, 0]
        if weights is not None:
            weight = weights[block, None] / temperature
            farther, closer = weight / others, weight / same
            moved[block] += farther * by_others - closer * by_partners
            moved.addmm_(near.T, farther * values[block])
            moved[window].addmm_(partners.T, closer * values[block], alpha=-1)
    if weights is None:
        return losses, None
    return losses, 2 * (moved[:, :-1] - moved[:, -1:] * x)
