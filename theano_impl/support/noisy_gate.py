"""The logits of a gate, with noise that spreads the rows over the experts while it is trained.

    l = x · W_gate + noise · softplus(x · W_noise)

Source: Shazeer et al. 2017 (arXiv 1701.06538), section 2.1.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import theano.tensor as T
from theano.tensor.var import TensorVariable

from theano_impl.support.checks import check_dtype, check_floating, check_like, check_width
from theano_impl.support.expert_balance import load_loss
from theano_impl.support.initializers import glorot_uniform
from theano_impl.support.layer import Layer


class NoisyGate(Layer):
    """What a mixture of experts needs to choose k of n_experts for each row.

    gate_weight and, where noisy, noise_weight: (in_features, n_experts). The noise weight starts at
    zero, which makes the scale of the noise log 2 everywhere. config has in_features, n_experts, k
    and noisy.
    """

    def __init__(
        self, x: TensorVariable, *, config: dict[str, Any], rng: np.random.Generator
    ) -> None:
        super().__init__(x, config=config)
        shape = (config["in_features"], config["n_experts"])
        self.in_features, self.n_experts = shape
        self.k = config["k"]
        self.noisy = config["noisy"]
        self.gate_weight = self.add_param("gate_weight", glorot_uniform(*shape, rng=rng))
        if self.noisy:
            self.noise_weight = self.add_param("noise_weight", np.zeros(shape))

    def logits(self, x: TensorVariable, noise: TensorVariable | None = None) -> TensorVariable:
        """(batch, in_features) → (batch, n_experts). ValueError for noise if it is not noisy."""
        x = self._checked(x)
        logits = T.dot(x, self.gate_weight)
        if noise is None:
            return logits
        return logits + self._checked_noise(noise, logits) * self._noise_scale(x)

    def load_loss(self, x: TensorVariable, noise: TensorVariable) -> TensorVariable:
        """`load_loss` of a noisy gate for this noise: (batch, n_experts), standard normal."""
        x = self._checked(x)
        logits = T.dot(x, self.gate_weight)
        return load_loss(logits, self._checked_noise(noise, logits), self._noise_scale(x), self.k)

    def _checked(self, x: TensorVariable) -> TensorVariable:
        x = T.as_tensor_variable(x)
        check_floating("x", x, ndim=2)
        check_dtype("x", x, self.gate_weight.dtype)
        return check_width("x", x, self.in_features)

    def _noise_scale(self, x: TensorVariable) -> TensorVariable:
        return T.nnet.softplus(T.dot(x, self.noise_weight))

    def _checked_noise(self, noise: TensorVariable, logits: TensorVariable) -> TensorVariable:
        if not self.noisy:
            raise ValueError("noise: expected None for a model that is not noisy, got a tensor")
        return check_like("noise", T.as_tensor_variable(noise), "the logits", logits)
