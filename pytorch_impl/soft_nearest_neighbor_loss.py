"""Soft nearest neighbor loss: how far each point is from having neighbors of its own class.

    −log ( Σ_{j≠i, y_j = y_i} exp(−D_ij / T) / Σ_{j≠i} exp(−D_ij / T) ),   mean over i

Sources: Frosst, Papernot, Hinton 2019 (arXiv 1902.01889); seed topic: nearest neighbors in
PyTorch.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.utils.checkpoint import checkpoint

from pytorch_impl.checks import (
    check_choice,
    check_count,
    check_dtype,
    check_floating,
    check_labels,
    check_not_empty,
    check_number,
)
from pytorch_impl.distances import DISTANCES, pairwise_distances

REDUCTIONS = ("mean", "sum", "none")
# Up to this ‖x‖² / T, exp(−D / T) neither overflows nor vanishes in float32.
NEAR = 16.0
ROWS = 128  # of a block where none is asked for: it stays in the cache


def soft_nearest_neighbor_loss(
    embeddings: Tensor,
    labels: Tensor,
    *,
    temperature: float | Tensor = 1.0,
    distance: str = "sqeuclidean",
    reduction: str = "mean",
    block_size: int | None = None,
) -> Tensor:
    """Minus the log of the share that an anchor's own class has of its neighborhood.

    embeddings: (n, features); labels: (n,) integers. temperature: a positive number, or a
    scalar tensor, whose range is not checked. distance: sqeuclidean as in the paper, euclidean or
    cosine. reduction: mean over the anchors that share their label with another, sum, or none
    for (n,). An anchor alone in its class has loss zero and no gradient. With block_size,
    memory is n · block_size instead of n²: the rows are computed in blocks. Squared distances
    that are small against the temperature take a quicker way, whose gradient cannot be
    differentiated again. TypeError for integers, ValueError for an empty batch or wrong shapes.
    """
    check_choice("distance", distance, DISTANCES)
    check_choice("reduction", reduction, REDUCTIONS)
    if block_size is not None:
        check_count("block_size", block_size)
    check_floating("embeddings", embeddings, ndim=2)
    check_not_empty("embeddings", embeddings)
    check_labels("labels", labels, embeddings.shape[0])
    _check_temperature(temperature, embeddings)
    _, classes, sizes = labels.unique(return_inverse=True, return_counts=True)
    paired = (sizes[classes] > 1).to(embeddings.dtype)
    weights = paired / paired.sum().clamp_min(1) if reduction == "mean" else paired
    if distance == "sqeuclidean" and embeddings.dtype in (torch.float32, torch.float64):
        scale = torch.as_tensor(temperature, dtype=embeddings.dtype, device=embeddings.device)
        centered = embeddings - embeddings.detach().mean(0)
        if 0 <= centered.detach().square().sum(1).amax() / scale.detach() <= NEAR:
            # Sorted by class, the partners of a block stand in one narrow window.
            order = classes.argsort(stable=True)
            ends = sizes.cumsum(0)
            windows = torch.stack([ends - sizes, ends], 1)[classes[order]]
            given = (centered[order], scale, windows, weights[order], block_size or ROWS)
            if reduction == "none":
                return _NearLosses.apply(*given)[order.argsort()]
            return _NearLoss.apply(*given, torch.is_grad_enabled())
    rows = torch.arange(embeddings.shape[0], device=labels.device)
    if block_size is None:
        losses = _anchor_losses(rows, embeddings, labels, temperature, distance)
    else:
        blocks = (
            checkpoint(
                _anchor_losses,
                block,
                embeddings,
                labels,
                temperature,
                distance,
                use_reentrant=False,
                preserve_rng_state=False,
            )
            for block in rows.split(block_size)
        )
        losses = torch.cat(list(blocks))
    if reduction == "none":
        return losses
    return losses.sum() / paired.sum().clamp_min(1) if reduction == "mean" else losses.sum()


class _NearLoss(torch.autograd.Function):
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


class _NearLosses(torch.autograd.Function):
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


def _anchor_losses(
    rows: Tensor, embeddings: Tensor, labels: Tensor, temperature: float | Tensor, distance: str
) -> Tensor:
    """The losses of the anchors at these rows, (rows,)."""
    distances = pairwise_distances(embeddings[rows], embeddings, distance=distance)
    others = rows[:, None] != torch.arange(labels.shape[0], device=labels.device)
    partners = others & (labels[rows, None] == labels)
    # An anchor without partner gets two equal sums: zero, and NaN if there is one.
    lonely = ~partners.any(1, keepdim=True)
    others, partners = others | lonely, partners | lonely
    # Both sums share a factor, the nearest partner's: far away it would swallow their digits.
    nearest = distances.detach().masked_fill(~partners, math.inf).amin(1, keepdim=True)
    logits = (nearest - distances) / temperature
    of_others = logits.masked_fill(~others, -math.inf).logsumexp(1)
    return of_others - logits.masked_fill(~partners, -math.inf).logsumexp(1)


def _check_temperature(temperature: float | Tensor, embeddings: Tensor) -> None:
    if not isinstance(temperature, Tensor):
        check_number("temperature", temperature, above=0)
        return
    check_dtype("temperature", temperature, embeddings.dtype)
    if temperature.ndim:
        raise ValueError(f"temperature: expected a scalar, got shape {tuple(temperature.shape)}")


class SoftNearestNeighborLoss(nn.Module):
    """`soft_nearest_neighbor_loss` as a module, called with (embeddings, labels).

    learn_temperature makes 1/T a parameter, `inverse_temperature`, as in the paper; it starts
    at 1/temperature and nothing holds it above zero.
    """

    def __init__(
        self,
        *,
        temperature: float = 1.0,
        learn_temperature: bool = False,
        distance: str = "sqeuclidean",
        reduction: str = "mean",
        block_size: int | None = None,
    ) -> None:
        super().__init__()
        check_number("temperature", temperature, above=0)
        check_choice("distance", distance, DISTANCES)
        check_choice("reduction", reduction, REDUCTIONS)
        if block_size is not None:
            check_count("block_size", block_size)
        self.config = {
            "temperature": temperature,
            "learn_temperature": learn_temperature,
            "distance": distance,
            "reduction": reduction,
            "block_size": block_size,
        }
        if learn_temperature:
            self.inverse_temperature = nn.Parameter(torch.tensor(1 / temperature))

    def forward(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        options: dict[str, Any] = dict(self.config)
        if options.pop("learn_temperature"):
            check_floating("embeddings", embeddings)
            check_dtype("embeddings", embeddings, self.inverse_temperature.dtype)
            options["temperature"] = 1 / self.inverse_temperature
        return soft_nearest_neighbor_loss(embeddings, labels, **options)

    def extra_repr(self) -> str:
        return ", ".join(f"{name}={value!r}" for name, value in self.config.items())
