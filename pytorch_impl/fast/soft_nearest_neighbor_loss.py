"""Fast soft nearest neighbor loss: two products and one exp, for points near against T.

1. While all ‖x − mean‖² / T are at most NEAR, N_ij = exp(−D_ij / T) neither overflows nor vanishes
   in float32: N comes from one product and one exp, and no sum needs a logarithm of its terms.
2. The points are sorted by class, so that the positives of an anchor are a window of columns, and N
   is computed in blocks of rows that stay in the cache.
3. The gradient is written by hand as products with N. It can be taken once: where it is to be
   differentiated itself, the gradient of the plain loss takes its place.

On a GPU two kernels take the place of all this, one for the losses and one for their gradient. They
keep no array of all pairs: 32,768 rows of 64 features need 9 MiB and 1.6 times the time of two
products and an exp alone, whose array is 4 GiB.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from pytorch_impl.distances import l2_normalize
from pytorch_impl.support.devices import runs_kernels
from pytorch_impl.support.precision import in_single_precision
from pytorch_impl.support.transforms import batched, plain_gradients, transformed

MOST_FEATURES = 128  # that the blocks of a kernel hold; with more the products take all the time
NEAR = 16.0  # the largest ‖x − mean‖² / T
BLOCK_SIZE = 512  # rows of a block when the caller asks for none
MIN_GROUP = 64  # rows of a class, or of several: a product with fewer takes as long


class _SortedPoints(NamedTuple):
    """Centered points, sorted by class.

    Attributes:
        keys: (1 + features + 1, n): ‖x‖², the points in columns, and ones. Products with N are
            fastest in this layout.
        labels: (n,), sorted.
        weights: (n,), of the losses in their sum; 0 for singletons, points without positives.
        singletons: (n,), 1 for a singleton, else 0.
        order: (n,), where the sorted points were before.
        groups: of adjacent classes: first row, last row + 1, whether there are several classes.
        block_size: rows of a block.
    """

    keys: Tensor
    labels: Tensor
    weights: Tensor
    singletons: Tensor
    order: Tensor
    groups: list[tuple[int, int, bool]]
    block_size: int

    def unsorted(self, values: Tensor) -> Tensor:
        """Values of the sorted points, (..., n), in the order before sorting."""
        rows = torch.arange(len(self.order), device=self.order.device)
        return values.index_select(-1, rows.scatter(0, self.order, rows))


def applies(embeddings: Tensor, temperature: Tensor, distance: str) -> bool:
    """Whether the fast way is right here, and faster than the plain one (on a GPU it is not)."""
    if distance != "sqeuclidean" or embeddings.device.type != "cpu":
        return False
    known = embeddings.dtype in (torch.float32, torch.float64)
    if not known or transformed(embeddings, temperature):
        return False
    x = embeddings.detach()
    reach = torch.linalg.vector_norm(x - x.mean(0), dim=1).amax().square() / temperature.detach()
    return bool(reach <= NEAR)  # False for NaN


def loss(
    embeddings: Tensor,
    labels: Tensor,
    temperature: Tensor,
    reduction: str,
    block_size: int | None,
    plain_loss: Callable[[Tensor, Tensor], Tensor],
) -> Tensor:
    """The reduced loss by squared distances, where `applies` is true.

    plain_loss: the same function of (embeddings, temperature), for derivatives of the gradient.
    """
    n, features = embeddings.shape
    labels, order = labels.sort()
    keys = embeddings.new_ones(1 + features + 1, n)
    x = keys[1:-1].copy_(embeddings.detach().index_select(0, order).T)
    x -= x.mean(1, keepdim=True)
    torch.sum(x.square(), 0, out=keys[0])
    repeats = F.pad(labels[1:] == labels[:-1], (1, 1))
    weights = (repeats[1:] | repeats[:-1]).to(x.dtype)
    singletons = 1 - weights
    if reduction == "mean":
        weights /= weights.sum().clamp_min(1)
    groups = _groups(labels.unique_consecutive(return_counts=True)[1].tolist())
    size = block_size or BLOCK_SIZE
    points = _SortedPoints(keys, labels, weights, singletons, order, groups, size)
    if reduction == "none":
        return _Losses.apply(embeddings, temperature, points, plain_loss)
    return _Sum.apply(embeddings, temperature, points, plain_loss, torch.is_grad_enabled())


def applies_on_a_gpu(embeddings: Tensor, temperature: Tensor, distance: str) -> bool:
    """Whether the kernels serve these embeddings: float32 on a GPU, squared or cosine distances."""
    return (
        runs_kernels(embeddings, temperature)
        and embeddings.dtype is torch.float32
        and distance != "euclidean"
        and embeddings.shape[1] <= MOST_FEATURES
    )


def gpu_loss(
    embeddings: Tensor,
    labels: Tensor,
    temperature: Tensor,
    distance: str,
    reduction: str,
    plain_losses: Callable[[Tensor, Tensor], Tensor],
) -> Tensor:
    """The reduced loss, where `applies_on_a_gpu` is true.

    plain_losses: the losses of the anchors as a function of (embeddings, temperature), for
        derivatives of the gradient.
    """
    x = l2_normalize(embeddings) if distance == "cosine" else embeddings
    given = (labels, distance == "cosine", plain_losses)
    losses, paired = _KernelLosses.apply(x, temperature, *given)
    if reduction == "mean":
        return losses.sum() / paired.sum().clamp_min(1)
    return losses if reduction == "none" else losses.sum()


class _KernelLosses(torch.autograd.Function):
    """The loss of each anchor, and 1 for each that has positives; both (n,)."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        temperature: Tensor,
        labels: Tensor,
        cosine: bool,
        plain_losses: Callable[[Tensor, Tensor], Tensor],
    ) -> tuple[Tensor, Tensor]:
        from pytorch_impl.fast import _pair_kernels as kernels

        losses, paired, *kept = kernels.soft_neighbors(x.contiguous(), labels, temperature, cosine)
        ctx.save_for_backward(x, temperature, labels, paired, *kept)
        ctx.cosine, ctx.plain_losses = cosine, plain_losses
        ctx.mark_non_differentiable(paired)
        return losses, paired

    @staticmethod
    @in_single_precision
    def backward(ctx: Any, grad_output: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        from pytorch_impl.fast import _pair_kernels as kernels

        x, temperature, labels, paired, center, stats = ctx.saved_tensors
        if torch.is_grad_enabled() or batched(grad_output):
            inputs, wanted = (x, temperature), ctx.needs_input_grad[:2]
            return *plain_gradients(ctx.plain_losses, inputs, wanted, grad_output), None, None, None
        given = (x.contiguous(), labels, temperature, ctx.cosine, center, stats)
        grad_x = kernels.soft_neighbors_gradient(*given, grad_output * paired)
        grad_t = None
        if ctx.needs_input_grad[1]:  # the loss depends on x / √T alone, as in _temperature_gradient
            grad_t = -((x if ctx.cosine else x - center) * grad_x).sum() / (2 * temperature)
        return grad_x, grad_t, None, None, None


class _Sum(torch.autograd.Function):
    """The weighted sum of the losses. Its gradient is computed with it, up to grad_output."""

    @staticmethod
    def forward(
        ctx: Any,
        embeddings: Tensor,
        temperature: Tensor,
        points: _SortedPoints,
        plain_loss: Callable[[Tensor, Tensor], Tensor],
        differentiate: bool,
    ) -> Tensor:
        weights = points.weights if differentiate else None
        losses, grad_x = _losses_and_gradient(points, temperature, weights)
        if grad_x is not None:
            grad_t = None
            if temperature.requires_grad:
                grad_t = _temperature_gradient(points, temperature, grad_x)
            grad_embeddings = points.unsorted(grad_x).T
            ctx.save_for_backward(embeddings, temperature, grad_embeddings, grad_t)
            ctx.plain_loss = plain_loss
        return losses @ points.weights

    @staticmethod
    @in_single_precision
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor | None, ...]:
        embeddings, temperature, grad_embeddings, grad_t = ctx.saved_tensors
        if torch.is_grad_enabled():
            inputs, wanted = (embeddings, temperature), ctx.needs_input_grad[:2]
            return *plain_gradients(ctx.plain_loss, inputs, wanted, grad_output), None, None, None
        if grad_t is not None:
            grad_t = grad_output * grad_t
        return grad_output * grad_embeddings, grad_t, None, None, None


class _Losses(torch.autograd.Function):
    """The loss of each anchor, (n,). The gradient computes the blocks of N once more."""

    @staticmethod
    def forward(
        ctx: Any,
        embeddings: Tensor,
        temperature: Tensor,
        points: _SortedPoints,
        plain_loss: Callable[[Tensor, Tensor], Tensor],
    ) -> Tensor:
        ctx.save_for_backward(embeddings, temperature)
        ctx.points, ctx.plain_loss = points, plain_loss
        losses, _ = _losses_and_gradient(points, temperature, None)
        return points.unsorted(losses * points.weights)

    @staticmethod
    @in_single_precision
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor | None, ...]:
        (embeddings, temperature), points = ctx.saved_tensors, ctx.points
        if torch.is_grad_enabled() or batched(grad_output):
            inputs, wanted = (embeddings, temperature), ctx.needs_input_grad[:2]
            return *plain_gradients(ctx.plain_loss, inputs, wanted, grad_output), None, None
        weights = grad_output[points.order] * points.weights
        _, grad_x = _losses_and_gradient(points, temperature, weights)
        assert grad_x is not None
        grad_t = _temperature_gradient(points, temperature, grad_x)
        return points.unsorted(grad_x).T, grad_t, None, None


def _temperature_gradient(points: _SortedPoints, temperature: Tensor, grad_x: Tensor) -> Tensor:
    """The loss depends on x / √T alone: dL/dT = −x · dL/dx / 2T."""
    return -(points.keys[1:-1] * grad_x).sum() / (2 * temperature)


def _losses_and_gradient(
    points: _SortedPoints, temperature: Tensor, weights: Tensor | None
) -> tuple[Tensor, Tensor | None]:
    """The losses of sorted points, (n,), and the gradient of their weighted sum, (features, n).

    For W = d(sum)/dD, the gradient by x is 2 x (W1 + Wᵀ1) − 2 x (W + Wᵀ). Each block of N comes
    from one product, and W takes its memory. A singleton gets some loss here: its weight is 0.
    """
    keys, _, _, singletons, _, _, block_size = points
    n = keys.shape[1]
    # One product gives (2 x_i·x_j − ‖x_j‖²) / T: ‖x_i‖² would cancel between the two sums.
    inverse_temperature = 1 / temperature
    queries = keys * (2 * inverse_temperature)
    queries[0], queries[-1] = -inverse_temperature, 0
    values = keys[1:]  # the points, and ones, which give the row sums
    losses = torch.empty_like(singletons)
    grad = torch.zeros_like(values)
    scratch = keys.new_empty(min(block_size, n), n)
    scaled_weights = None if weights is None else 2 * inverse_temperature * weights
    for first in range(0, n, block_size):
        block = slice(first, min(first + block_size, n))
        N = torch.mm(queries[:, block].T, keys, out=scratch[: block.stop - first]).exp_()
        N.diagonal(first).zero_()
        windows = list(_windows(points, N, block))
        sum_all = N.sum(1) + singletons[block]
        sum_same = torch.cat([same.sum(1) for _, _, same in windows]) + singletons[block]
        ratio = sum_all / sum_same
        torch.log(ratio, out=losses[block])
        if scaled_weights is not None:
            for rows, window, same in windows:
                window.addcmul_(same, ratio[rows, None], value=-1)  # N becomes W, up to a factor
            factor = scaled_weights[block] / sum_all
            grad[:, block].addcmul_(torch.mm(values, N.T), factor)
            grad.addmm_(factor * values[:, block], N)
    if scaled_weights is None:
        return losses, None
    return losses, grad[:-1].addcmul_(grad[-1:], values[:-1], value=-1)


def _windows(
    points: _SortedPoints, N: Tensor, block: slice
) -> Iterator[tuple[slice, Tensor, Tensor]]:
    """For each group that overlaps this block of rows: three views or arrays.

    1. its rows in the block, 2. N restricted to the group's columns, 3. the same with 0 between
    different classes.
    """
    for begin, end, several in points.groups:
        rows = slice(max(begin, block.start) - block.start, min(end, block.stop) - block.start)
        if rows.start < rows.stop:
            columns = slice(begin, end)
            window = same = N[rows, columns]
            if several:
                labels = points.labels[block][rows, None]
                same = window * (labels == points.labels[columns])
            yield rows, window, same


def _groups(sizes: list[int]) -> list[tuple[int, int, bool]]:
    """Join adjacent classes until a group has MIN_GROUP rows: (first, last + 1, several)."""
    n, groups, begin, end, classes = sum(sizes), [], 0, 0, 0
    for size in sizes:
        end, classes = end + size, classes + 1
        if end - begin >= MIN_GROUP or end == n:
            groups.append((begin, end, classes > 1))
            begin, classes = end, 0
    return groups
