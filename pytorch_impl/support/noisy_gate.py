"""The logits of a gate, with noise that spreads the rows over the experts while it is trained.

    l = x · W_gate + noise · softplus(x · W_noise)

Source: Shazeer et al. 2017 (arXiv 1701.06538), section 2.1.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pytorch_impl.support.checks import (
    check_count,
    check_flag,
    check_floating,
    check_like,
    check_width,
)
from pytorch_impl.support.configured import ConfiguredModule
from pytorch_impl.support.expert_balance import load_loss
from pytorch_impl.support.initializers import glorot_uniform
from pytorch_impl.support.precision import check_layer_dtype, widened


class NoisyGate(ConfiguredModule):
    """What a mixture of experts needs to choose k of n_experts for each row.

    gate_weight and, where noisy, noise_weight: (in_features, n_experts). The noise weight starts at
    zero, which makes the scale of the noise log 2 everywhere.
    """

    def __init__(
        self,
        in_features: int,
        n_experts: int,
        k: int,
        *,
        noisy: bool,
        generator: torch.Generator | None,
    ) -> None:
        super().__init__()
        in_features = check_count("in_features", in_features)
        n_experts = check_count("n_experts", n_experts)
        self.k = check_count("k", k, most=n_experts)
        self.noisy = check_flag("noisy", noisy)
        self.gate_weight = glorot_uniform(in_features, n_experts, generator=generator)
        if self.noisy:
            self.noise_weight = nn.Parameter(torch.zeros(in_features, n_experts))

    def logits(self, x: Tensor, noise: Tensor | None = None) -> Tensor:
        """(batch, in_features) → (batch, n_experts), in float32 or float64.

        Noise that is left out is drawn from PyTorch's default generator if the gate is noisy and
        in training mode. ValueError for noise to a gate that is not noisy.
        """
        logits = self._clean_logits(x)
        if noise is None and self.noisy and self.training:
            noise = torch.randn_like(logits)
        if noise is None:
            return logits
        return logits + self._checked_noise(noise, logits) * self._noise_scale(x)

    def load_loss(self, x: Tensor, noise: Tensor) -> Tensor:
        """`load_loss` of a noisy gate for this noise: (batch, n_experts), standard normal."""
        logits = self._clean_logits(x)
        return load_loss(logits, self._checked_noise(noise, logits), self._noise_scale(x), self.k)

    def _clean_logits(self, x: Tensor) -> Tensor:
        check_floating("x", x, ndim=2)
        check_layer_dtype("x", x, self.gate_weight.dtype)
        check_width("x", x, self.gate_weight.shape[0])
        return widened(x @ self.gate_weight)

    def _noise_scale(self, x: Tensor) -> Tensor:
        # F.softplus returns its argument above 20, which costs float64 digits below 40.
        return widened(F.softplus(x @ self.noise_weight, threshold=40))

    def _checked_noise(self, noise: Tensor, logits: Tensor) -> Tensor:
        if not self.noisy:
            raise ValueError("noise: expected None for a model that is not noisy, got a tensor")
        noise = widened(noise)
        check_like("noise", noise, "the logits", logits)
        return noise
