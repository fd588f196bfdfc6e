"""Top-k gating: a softmax over the k largest logits alone, and experts blended with it.

    gate_e = exp(l_e) / Σ_{j in top k} exp(l_j) for the k largest logits, and exactly 0 elsewhere
    y = Σ_{e in top k} gate_e · (x · W_e + b_e)

Sources: Shazeer et al. 2017 (arXiv 1701.06538); seed topic: top-k gating with Theano.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx
from torch.nn import functional as F

from pytorch_impl.checks import (
    check_count,
    check_flag,
    check_floating,
    check_like,
    check_not_empty,
    check_number,
    check_width,
)
from pytorch_impl.initializers import generator, glorot_uniform
from pytorch_impl.precision import (
    check_layer_dtype,
    in_single_precision,
    product_dtype,
    widened,
)


@in_single_precision
def keep_top_k(logits: Tensor, k: int, *, fill_value: float = float("-inf")) -> Tensor:
    """The k largest logits of each vector where they stand, fill_value everywhere else.

    logits: (..., n), floating. Returns the same shape; the gradient reaches what is kept. Of
    equal logits the lower index is kept. NaN counts as the largest, and stays however many
    there are. ValueError for k outside 1..n or a fill_value of NaN, TypeError for a k that is
    not an integer. Halves compute in float32.
    """
    check_floating("logits", logits)
    k = check_count("k", k, most=logits.shape[-1])
    fill_value = check_number("fill_value", fill_value, finite=False)
    nan = logits.isnan()
    ranked = logits.detach().masked_fill(nan, math.inf)
    # topk promises nothing about ties: take its k-th value, and count its equals from the left.
    top = ranked.topk(k).values
    last = top[..., -1:]
    above, equal = ranked > last, ranked == last
    room = (top == last).sum(-1, keepdim=True)
    kept = above | (equal & (equal.cumsum(-1) <= room)) | nan
    return logits.masked_fill(~kept, fill_value)


@in_single_precision
def top_k_gating(logits: Tensor, k: int) -> Tensor:
    """Softmax over the k largest logits of each vector, exact zeros elsewhere.

    logits: (..., n), floating. Returns the same shape; each vector sums to 1, and what was
    dropped gets no gradient. A vector with a NaN is NaN. Ties and errors as in `keep_top_k`. Halves
    compute in float32.
    """
    return keep_top_k(logits, k).softmax(-1)


@in_single_precision
def load_balance_loss(gates: Tensor) -> Tensor:
    """Squared coefficient of variation of the experts' importance, their gates' sum: a scalar.

    gates: (batch, n_experts). 0 when all experts matter alike, n_experts − 1 when only one
    does. TypeError for integers, ValueError for an empty batch. Halves compute in float32.
    """
    check_floating("gates", gates, ndim=2)
    check_not_empty("gates", gates)
    importance = gates.sum(0)
    return importance.var(correction=0) / importance.mean().square()


class MixtureOfExperts(nn.Module):
    """A blend of k linear experts out of n_experts, chosen for each row by a gate.

    Only the chosen experts are evaluated: the cost grows with k. noisy adds normal noise to
    the gate's logits in training, of a scale that is learned for each expert; it is drawn from
    PyTorch's default generator, as that of a dropout is. Under autocast and of halves the products
    are in halves, the gates and the sum of the experts in float32.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        n_experts: int,
        k: int,
        *,
        noisy: bool = False,
        seed: int | None = None,
    ) -> None:
        super().__init__()
        in_features = check_count("in_features", in_features)
        out_features = check_count("out_features", out_features)
        n_experts = check_count("n_experts", n_experts)
        k = check_count("k", k, most=n_experts)
        noisy = check_flag("noisy", noisy)
        self.config = {
            "in_features": in_features,
            "out_features": out_features,
            "n_experts": n_experts,
            "k": k,
            "noisy": noisy,
        }
        self.k = k
        self.noisy = noisy
        source = generator(seed)
        self.gate_weight = glorot_uniform(in_features, n_experts, generator=source)
        if noisy:
            self.noise_weight = nn.Parameter(torch.zeros(in_features, n_experts))
        self.expert_weight = glorot_uniform(n_experts, in_features, out_features, generator=source)
        self.expert_bias = nn.Parameter(torch.zeros(n_experts, out_features))

    def gates(self, x: Tensor, noise: Tensor | None = None) -> Tensor:
        """x: (batch, in_features). Returns (batch, n_experts), k of each row not zero.

        noise: (batch, n_experts), standard normal; drawn when left out of a noisy model in
        training mode. ValueError for noise to a model that is not noisy.
        """
        check_floating("x", x, ndim=2)
        check_layer_dtype("x", x, self.gate_weight.dtype)
        check_width("x", x, self.gate_weight.shape[0])
        logits = widened(x @ self.gate_weight)
        if noise is None and self.noisy and self.training:
            noise = torch.randn_like(logits)
        if noise is not None:
            if not self.noisy:
                raise ValueError("noise: expected None for a model that is not noisy, got a tensor")
            noise = widened(noise)
            check_like("noise", noise, "the logits", logits)
            # Beyond softplus's own threshold, 20, float64 would lose digits.
            logits = logits + noise * F.softplus(x @ self.noise_weight, threshold=40)
        return top_k_gating(logits, self.k)

    def forward(self, x: Tensor, noise: Tensor | None = None) -> Tensor:
        """x: (batch, in_features). Returns (batch, out_features). noise as for `gates`."""
        gates = self.gates(x, noise)
        # Sorted by expert, so that each one takes its rows in one product.
        experts, rows = gates.T.nonzero(as_tuple=True)
        counts = experts.bincount(minlength=gates.shape[1]).tolist()
        dtype = product_dtype(x)  # autocast does not reach into a product of our own
        chosen, weight = x.index_select(0, rows).to(dtype), self.expert_weight.to(dtype)
        answers = _GroupedProduct.apply(chosen, weight, counts)
        answers = answers + self.expert_bias.to(dtype).index_select(0, experts)
        blended = gates[rows, experts, None] * answers
        output = blended.new_zeros(x.shape[0], blended.shape[1]).index_add(0, rows, blended)
        return output.to(dtype)

    def extra_repr(self) -> str:
        return ", ".join(f"{name}={value!r}" for name, value in self.config.items())


class _GroupedProduct(torch.autograd.Function):
    """Each group of rows times its own matrix: (n, a) × (groups, a, b) → (n, b).

    counts: how many rows each group has, one after the other. Differentiable any number of
    times: its gradients are products of groups again. The gradient of a slice for each group
    would be as large as all of them; these are written where they belong.
    """

    @staticmethod
    def forward(ctx: FunctionCtx, rows: Tensor, matrices: Tensor, counts: list[int]) -> Tensor:
        ctx.save_for_backward(rows, matrices)
        ctx.counts = counts
        output = rows.new_empty(len(rows), matrices.shape[2])
        for group, matrix, place in _groups(counts, rows, matrices, output):
            torch.mm(group, matrix, out=place)
        return output

    @staticmethod
    def backward(ctx: FunctionCtx, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        rows, matrices = ctx.saved_tensors
        of_rows = of_matrices = None
        if ctx.needs_input_grad[0]:
            of_rows = _GroupedProduct.apply(gradient, matrices.transpose(1, 2), ctx.counts)
        if ctx.needs_input_grad[1]:
            of_matrices = _GroupedOuterProduct.apply(rows, gradient, ctx.counts)
        return of_rows, of_matrices, None


class _GroupedOuterProduct(torch.autograd.Function):
    """Each group of rows, transposed, times its others: (n, a), (n, b) → (groups, a, b)."""

    @staticmethod
    def forward(ctx: FunctionCtx, left: Tensor, right: Tensor, counts: list[int]) -> Tensor:
        ctx.save_for_backward(left, right)
        ctx.counts = counts
        output = left.new_zeros(len(counts), left.shape[1], right.shape[1])
        for group, place, other in _groups(counts, left, output, right):
            torch.mm(group.T, other, out=place)
        return output

    @staticmethod
    def backward(ctx: FunctionCtx, gradient: Tensor) -> tuple[Tensor, Tensor, None]:
        left, right = ctx.saved_tensors
        of_left = _GroupedProduct.apply(right, gradient.transpose(1, 2), ctx.counts)
        return of_left, _GroupedProduct.apply(left, gradient, ctx.counts), None


def _groups(
    counts: list[int], rows: Tensor, matrices: Tensor, others: Tensor
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Rows, matrix and other rows of each group that has any."""
    groups = zip(rows.split(counts), matrices.unbind(), others.split(counts), strict=True)
    return (group for count, group in zip(counts, groups, strict=True) if count)
