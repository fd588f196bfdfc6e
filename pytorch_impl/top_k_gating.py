"""Top-k gating: a softmax over the k largest logits alone, and experts blended with it.

    gate_e = exp(l_e) / Σ_{j in top k} exp(l_j) for the k largest logits l, exactly 0 elsewhere
    y = Σ_{e in top k} gate_e · (x · W_e + b_e)

Source: Shazeer et al. 2017 (arXiv 1701.06538).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pytorch_impl.fast import top_k_gating as fast
from pytorch_impl.support.checks import check_count, check_flag, check_floating, check_number
from pytorch_impl.support.expert_balance import load_balance_loss, load_loss
from pytorch_impl.support.expert_slots import expert_slots, take_rows
from pytorch_impl.support.initializers import generator, glorot_uniform
from pytorch_impl.support.noisy_gate import NoisyGate
from pytorch_impl.support.precision import in_single_precision, product_dtype
from pytorch_impl.support.ties import among_top_k
from pytorch_impl.support.transforms import transformed

__all__ = ["MixtureOfExperts", "keep_top_k", "load_balance_loss", "load_loss", "top_k_gating"]


@in_single_precision
def keep_top_k(logits: Tensor, k: int, *, fill_value: float = float("-inf")) -> Tensor:
    """Keep the k largest logits of each vector and set all others to fill_value.

    Args:
        logits: (..., n), floating. Of equal logits the one with the lower index is kept. NaN counts
            as the largest, and every NaN is kept. Halves are computed in float32.
        k: how many logits are kept, in 1..n.
        fill_value: any number but NaN.
    Returns:
        The shape of logits. Only the kept logits get a gradient.
    Raises:
        TypeError: logits are not floating, or k is not an integer.
        ValueError: k is outside 1..n, or fill_value is NaN.
    Example:
        >>> keep_top_k(torch.tensor([1.0, 3.0, 2.0, 2.0]), k=2, fill_value=0.0)
        tensor([0., 3., 2., 0.])
    """
    check_floating("logits", logits)
    k = check_count("k", k, most=logits.shape[-1])
    fill_value = check_number("fill_value", fill_value, finite=False)
    return logits.masked_fill(~among_top_k(logits.detach(), k), fill_value)


@in_single_precision
def top_k_gating(logits: Tensor, k: int) -> Tensor:
    """Softmax over the k largest logits of each vector, exactly 0 elsewhere.

        gate_e = exp(l_e) / Σ_{j in top k} exp(l_j)

    Args:
        logits: (..., n), floating. Of equal logits the one with the lower index is kept. Halves are
            computed in float32.
        k: how many logits are kept, in 1..n.
    Returns:
        The shape of logits. Each vector sums to 1; a vector with a NaN is NaN. Only the kept
        logits get a gradient.
    Raises:
        TypeError: logits are not floating, or k is not an integer.
        ValueError: k is outside 1..n.
    Example:
        >>> top_k_gating(torch.tensor([1.0, 1.0, 0.0]), k=2)
        tensor([0.5000, 0.5000, 0.0000])
    """
    return keep_top_k(logits, k).softmax(-1)


class MixtureOfExperts(NoisyGate):
    """A blend of k linear experts out of n_experts, chosen for each row by a gate.

    Only the chosen experts are evaluated. Under autocast, and of halves, the experts multiply in
    halves; the gates and the sum over the experts are in float32.

    Args:
        k: how many experts each row uses, in 1..n_experts.
        noisy: whether normal noise of a learned scale is added to the logits in training.
        renormalize: whether the k gates of a row sum to 1 (`top_k_gating`), or are taken from a
            softmax over all logits. None: for k > 1. A single gate would always be 1 and give
            the gate no gradient, so that for k = 1 its probability scales the output.
    Source: for k = 1, Fedus, Zoph, Shazeer 2021, Switch Transformers (arXiv 2101.03961).
    Example:
        >>> MixtureOfExperts(5, 3, n_experts=7, k=2)(torch.ones(4, 5)).shape
        torch.Size([4, 3])
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
        source = generator(seed)
        super().__init__(in_features, n_experts, k, noisy=noisy, generator=source)
        out_features = check_count("out_features", out_features)
        self.renormalize = k > 1 if renormalize is None else check_flag("renormalize", renormalize)
        shape = (*self.gate_weight.T.shape, out_features)
        self.expert_weight = glorot_uniform(*shape, generator=source)
        self.expert_bias = nn.Parameter(torch.zeros(shape[0], out_features))
        sizes = {"in_features": shape[1], "out_features": shape[2], "n_experts": shape[0]}
        choices = {"k": self.k, "noisy": self.noisy, "renormalize": self.renormalize}
        self.config = {**sizes, **choices}

    def gates(self, x: Tensor, noise: Tensor | None = None) -> Tensor:
        """(batch, in_features) → (batch, n_experts), of which k in each row are not 0.

        noise: (batch, n_experts), standard normal. If None, a noisy model in training draws it.
        """
        logits = self.logits(x, noise)
        if self.renormalize:
            return top_k_gating(logits, self.k)
        return logits.softmax(-1) * among_top_k(logits.detach(), self.k)

    def forward(self, x: Tensor, noise: Tensor | None = None) -> Tensor:
        """(batch, in_features) → (batch, out_features). noise is that of `gates`."""
        return self.outputs_and_gates(x, noise)[0]

    def outputs_and_gates(self, x: Tensor, noise: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The outputs, (batch, out_features), and their gates, (batch, n_experts)."""
        gates = self.gates(x, noise)
        if fast.applies(x, gates, self.expert_weight):  # on a CPU, where rows crowd on few experts
            return fast.outputs(x, gates, self.expert_weight, self.expert_bias), gates
        gate, expert = gates.topk(self.k)  # (batch, k)
        static = transformed(x, gates, self.expert_weight)
        slot, row = expert_slots(expert, gates.shape[1], static=static)
        rows = take_rows(F.pad(x, (0, 0, 1, 0)), row)  # (n_experts, capacity, in_features)
        answers = torch.baddbmm(self.expert_bias[:, None], rows, self.expert_weight)
        answers = take_rows(answers.flatten(0, 1), slot)  # (batch, k, out_features)
        return (gate[..., None] * answers).sum(1).to(product_dtype(x)), gates
