"""Top-k gating: a softmax over the k largest logits alone, and experts blended with it.

    gate_e = exp(l_e) / Σ_{j in top k} exp(l_j) for the k largest logits, and exactly 0 elsewhere
    y = Σ_{e in top k} gate_e · (x · W_e + b_e)

Sources: Shazeer et al. 2017 (arXiv 1701.06538); seed topic: top-k gating with Theano.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pytorch_impl.support.checks import (
    check_count,
    check_flag,
    check_floating,
    check_like,
    check_not_empty,
    check_number,
    check_width,
)
from pytorch_impl.support.initializers import generator, glorot_uniform
from pytorch_impl.support.precision import (
    check_layer_dtype,
    in_single_precision,
    product_dtype,
    widened,
)
from pytorch_impl.support.transforms import batched, transformed


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
    return logits.masked_fill(~_among_top_k(logits.detach(), k), fill_value)


def _among_top_k(logits: Tensor, k: int) -> Tensor:
    """Which of the logits are the k largest of their vector, as `keep_top_k` has it; bool."""
    nan = logits.isnan()
    ranked = logits.masked_fill(nan, math.inf)
    # topk promises nothing about ties: take its k-th value, and count its equals from the left.
    top = ranked.topk(k).values
    last = top[..., -1:]
    above, equal = ranked > last, ranked == last
    room = (top == last).sum(-1, keepdim=True)
    return above | (equal & (equal.cumsum(-1) <= room)) | nan


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
    does. An expert whose gate is 0 in every row gets no gradient from it, and does not come back;
    `load_loss` reaches it. TypeError for integers, ValueError for an empty batch. Halves compute
    in float32.
    """
    check_floating("gates", gates, ndim=2)
    check_not_empty("gates", gates)
    return _squared_variation(gates.sum(0))


@in_single_precision
def load_loss(logits: Tensor, noise: Tensor, scale: Tensor, k: int) -> Tensor:
    """Squared coefficient of variation of the experts' load, smooth in the logits: a scalar.

    The load of an expert is the number of rows that choose it. Its smooth estimate is the sum of

        P(row, e) = Φ((l_e − t_e) / s_e),    t_e = the k-th largest of l_j + noise_j · s_j, j ≠ e

    the probability that e is among the k largest once its own noise is drawn again. Every expert
    gets a gradient, those that no row chooses too. logits, before the noise; noise, standard
    normal; scale, positive, of the noise: (batch, n_experts) all. 0 for k of n_experts. Of tied
    logits the lower index is the larger one. TypeError for integers, ValueError for an empty
    batch, shapes that differ and k outside 1..n_experts.

    Source: Shazeer et al. 2017, appendix A.
    """
    check_floating("logits", logits, ndim=2)
    check_not_empty("logits", logits)
    check_like("noise", noise, "the logits", logits)
    check_like("scale", scale, "the logits", logits)
    k = check_count("k", k, most=logits.shape[1])
    noisy = logits + noise * scale
    if k == logits.shape[1]:
        return _squared_variation((1 + 0 * noisy).sum(0))  # all are chosen, whatever the noise
    ordered = noisy.sort(dim=-1, descending=True, stable=True).values
    last, next_ = ordered[:, k - 1 : k], ordered[:, k : k + 1]
    # Without an expert that is among the k largest, the next one is the k-th.
    threshold = torch.where(_among_top_k(noisy.detach(), k), next_, last)
    return _squared_variation(torch.special.ndtr((logits - threshold) / scale).sum(0))


def _squared_variation(x: Tensor) -> Tensor:
    return x.var(correction=0) / x.mean().square()


class MixtureOfExperts(nn.Module):
    """A blend of k linear experts out of n_experts, chosen for each row by a gate.

    Only the chosen experts are evaluated: the cost grows with k. noisy adds normal noise to
    the gate's logits in training, of a scale that is learned for each expert; it is drawn from
    PyTorch's default generator, as that of a dropout is. Under autocast and of halves the products
    are in halves, the gates and the sum of the experts in float32.

    renormalize: whether the k gates of a row are divided by their sum, a softmax over the kept
    logits as in `top_k_gating`, or stay their share of a softmax over all logits. Left out, they
    are for k > 1. A single gate would be 1 whatever the logits: the gate and the balance of its
    experts would get no gradient, so that with k = 1 its probability scales the output.

    Source of the latter: Fedus, Zoph, Shazeer 2021, Switch Transformers (arXiv 2101.03961).
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        n_experts: int,
        k: int,
        *,
        noisy: bool = False,
        renormalize: bool | None = None,
        seed: int | None = None,
    ) -> None:
        super().__init__()
        in_features = check_count("in_features", in_features)
        out_features = check_count("out_features", out_features)
        n_experts = check_count("n_experts", n_experts)
        k = check_count("k", k, most=n_experts)
        noisy = check_flag("noisy", noisy)
        renormalize = k > 1 if renormalize is None else check_flag("renormalize", renormalize)
        self.config = {
            "in_features": in_features,
            "out_features": out_features,
            "n_experts": n_experts,
            "k": k,
            "noisy": noisy,
            "renormalize": renormalize,
        }
        self.k = k
        self.noisy = noisy
        self.renormalize = renormalize
        source = generator(seed)
        self.gate_weight = glorot_uniform(in_features, n_experts, generator=source)
        if noisy:
            self.noise_weight = nn.Parameter(torch.zeros(in_features, n_experts))
        self.expert_weight = glorot_uniform(n_experts, in_features, out_features, generator=source)
        self.expert_bias = nn.Parameter(torch.zeros(n_experts, out_features))

    def gates(self, x: Tensor, noise: Tensor | None = None) -> Tensor:
        """x: (batch, in_features). Returns (batch, n_experts), k of each row not zero.

        noise: (batch, n_experts), standard normal; drawn when left out of a noisy model in
        training mode. ValueError for noise to a model that is not noisy. The gates of a noisy
        model in training are others at each call: `outputs_and_gates` gives those of its outputs.
        """
        self._check(x)
        logits = widened(x @ self.gate_weight)
        if noise is None and self.noisy and self.training:
            noise = torch.randn_like(logits)
        if noise is not None:
            logits = logits + self._checked_noise(noise, logits) * self._noise_scale(x)
        if self.renormalize:
            return top_k_gating(logits, self.k)
        return logits.softmax(-1) * _among_top_k(logits.detach(), self.k)

    def forward(self, x: Tensor, noise: Tensor | None = None) -> Tensor:
        """x: (batch, in_features). Returns (batch, out_features). noise as for `gates`."""
        return self.outputs_and_gates(x, noise)[0]

    def outputs_and_gates(self, x: Tensor, noise: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The outputs and the gates that blended them, for `load_balance_loss`.

        x: (batch, in_features). noise as for `gates`. (batch, out_features), (batch, n_experts).
        """
        gates = self.gates(x, noise)
        if transformed(x, gates, self.expert_weight):
            return self._blend_all(x, gates), gates
        # Sorted by expert, so that each one takes its rows in one product.
        experts, rows = gates.T.nonzero(as_tuple=True)
        counts = experts.bincount(minlength=gates.shape[1]).tolist()
        dtype = product_dtype(x)  # autocast does not reach into a product of our own
        chosen, weight = x.index_select(0, rows).to(dtype), self.expert_weight.to(dtype)
        answers = _GroupedProduct.apply(chosen, weight, counts)
        answers = answers + self.expert_bias.to(dtype).index_select(0, experts)
        blended = gates[rows, experts, None] * answers
        outputs = blended.new_zeros(x.shape[0], blended.shape[1]).index_add(0, rows, blended)
        return outputs.to(dtype), gates

    def load_loss(self, x: Tensor, noise: Tensor) -> Tensor:
        """The `load_loss` of a noisy model for this noise, (batch, n_experts), standard normal."""
        self._check(x)
        logits = widened(x @ self.gate_weight)
        noise = self._checked_noise(noise, logits)
        return load_loss(logits, noise, self._noise_scale(x), self.k)

    def _blend_all(self, x: Tensor, gates: Tensor) -> Tensor:
        """The formula with every expert evaluated: no size depends on which are chosen."""
        answers = torch.einsum("ni,eio->neo", x, self.expert_weight) + self.expert_bias
        return (gates[..., None] * answers).sum(1).to(product_dtype(x))

    def _noise_scale(self, x: Tensor) -> Tensor:
        # Beyond softplus's own threshold, 20, float64 would lose digits.
        return widened(F.softplus(x @ self.noise_weight, threshold=40))

    def _check(self, x: Tensor) -> None:
        check_floating("x", x, ndim=2)
        check_layer_dtype("x", x, self.gate_weight.dtype)
        check_width("x", x, self.gate_weight.shape[0])

    def _checked_noise(self, noise: Tensor, logits: Tensor) -> Tensor:
        if not self.noisy:
            raise ValueError("noise: expected None for a model that is not noisy, got a tensor")
        noise = widened(noise)
        check_like("noise", noise, "the logits", logits)
        return noise

    def extra_repr(self) -> str:
        return ", ".join(f"{name}={value!r}" for name, value in self.config.items())


class _GroupedProduct(torch.autograd.Function):
    """Each group of rows times its own matrix: (n, a) × (groups, a, b) → (n, b).

    counts: how many rows each group has, one after the other. Differentiable any number of
    times: its gradients are products of groups again. The gradient of a slice for each group
    would be as large as all of them; these are written where they belong.
    """

    @staticmethod
    def forward(rows: Tensor, matrices: Tensor, counts: list[int]) -> Tensor:
        output = rows.new_empty(len(rows), matrices.shape[2])
        for group, matrix, place in _groups(counts, rows, matrices, output):
            torch.mm(group, matrix, out=place)
        return output

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.save_for_backward(*inputs[:2])
        ctx.counts = inputs[2]

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        rows, matrices = ctx.saved_tensors
        of_rows = of_matrices = None
        if ctx.needs_input_grad[0]:
            of_rows = _grouped_product(grad_output, matrices.transpose(1, 2), ctx.counts)
        if ctx.needs_input_grad[1]:
            of_matrices = _grouped_outer_product(rows, grad_output, ctx.counts)
        return of_rows, of_matrices, None


class _GroupedOuterProduct(torch.autograd.Function):
    """Each group of rows, transposed, times its others: (n, a), (n, b) → (groups, a, b)."""

    @staticmethod
    def forward(left: Tensor, right: Tensor, counts: list[int]) -> Tensor:
        output = left.new_zeros(len(counts), left.shape[1], right.shape[1])
        for group, place, other in _groups(counts, left, output, right):
            torch.mm(group.T, other, out=place)
        return output

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.save_for_backward(*inputs[:2])
        ctx.counts = inputs[2]

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor, Tensor, None]:
        left, right = ctx.saved_tensors
        of_left = _grouped_product(right, grad_output.transpose(1, 2), ctx.counts)
        return of_left, _grouped_product(left, grad_output, ctx.counts), None


def _grouped_product(rows: Tensor, matrices: Tensor, counts: list[int]) -> Tensor:
    """`_GroupedProduct`, or for many gradients in a batch the products one after the other."""
    if not (batched(rows) or batched(matrices)):
        return _GroupedProduct.apply(rows, matrices, counts)
    pairs = zip(rows.split(counts), matrices.unbind(), strict=True)
    return torch.cat([group @ matrix for group, matrix in pairs])


def _grouped_outer_product(left: Tensor, right: Tensor, counts: list[int]) -> Tensor:
    """`_GroupedOuterProduct`, or for many gradients in a batch the products one by one."""
    if not (batched(left) or batched(right)):
        return _GroupedOuterProduct.apply(left, right, counts)
    pairs = zip(left.split(counts), right.split(counts), strict=True)
    return torch.stack([mine.mT @ theirs for mine, theirs in pairs])


def _groups(
    counts: list[int], rows: Tensor, matrices: Tensor, others: Tensor
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Rows, matrix and other rows of each group that has any."""
    groups = zip(rows.split(counts), matrices.unbind(), others.split(counts), strict=True)
    return (group for count, group in zip(counts, groups, strict=True) if count)
