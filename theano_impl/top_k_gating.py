"""Top-k gating: a softmax over the k largest logits alone, and experts blended with it.

    gate_e = exp(l_e) / Σ_{j in top k} exp(l_j) for the k largest logits l, exactly 0 elsewhere
    y = Σ_{e in top k} gate_e · (x · W_e + b_e)

Source: Shazeer et al. 2017 (arXiv 1701.06538).
"""

from __future__ import annotations

import numpy as np
import theano.tensor as T
from theano.gradient import disconnected_grad
from theano.tensor.basic import Split
from theano.tensor.var import TensorVariable

from theano_impl.support.checks import (
    check_count,
    check_flag,
    check_floating,
    check_number,
    check_seed,
    check_values,
)
from theano_impl.support.expert_balance import load_balance_loss, load_loss
from theano_impl.support.initializers import glorot_uniform
from theano_impl.support.noisy_gate import NoisyGate
from theano_impl.support.ties import among_top_k

__all__ = ["MixtureOfExperts", "keep_top_k", "load_balance_loss", "load_loss", "top_k_gating"]


def keep_top_k(
    logits: TensorVariable, k: int, *, fill_value: float = float("-inf")
) -> TensorVariable:
    """Keep the k largest logits of each vector and set all others to fill_value.

    Args:
        logits: (..., n), floating. Of equal logits the one with the lower index is kept. NaN counts
            as the largest, and every NaN is kept.
        k: how many logits are kept, in 1..n.
        fill_value: any number but NaN.
    Returns:
        The shape of logits. Only the kept logits get a gradient.
    Raises:
        TypeError: logits are not floating, or k is not an integer.
        ValueError: k is below 1, or fill_value is NaN.
        AssertionError: when the function runs, for k above n.
    Example:
        >>> keep_top_k(T.constant([1.0, 3.0, 2.0, 2.0]), k=2, fill_value=0.0).eval()
        array([0., 3., 2., 0.])
    """
    logits = T.as_tensor_variable(logits)
    check_floating("logits", logits)
    k = check_count("k", k)
    n = logits.shape[logits.ndim - 1]
    logits = check_values(logits, T.ge(n, k), "k", "no more than there are logits")
    fill_value = check_number("fill_value", fill_value, finite=False)
    return T.switch(among_top_k(logits, k), logits, np.asarray(fill_value, logits.dtype))


def top_k_gating(logits: TensorVariable, k: int) -> TensorVariable:
    """Softmax over the k largest logits of each vector, exactly 0 elsewhere.

        gate_e = exp(l_e) / Σ_{j in top k} exp(l_j)

    Args:
        logits: (..., n), floating. Of equal logits the one with the lower index is kept.
        k: how many logits are kept, in 1..n.
    Returns:
        The shape of logits. Each vector sums to 1; a vector with a NaN is NaN. Only the kept
        logits get a gradient.
    Raises:
        TypeError: logits are not floating, or k is not an integer.
        ValueError: k is below 1.
        AssertionError: when the function runs, for k above n.
    Example:
        >>> top_k_gating(T.constant([1.0, 1.0, 0.0]), k=2).eval()
        array([0.5, 0.5, 0. ])
    """
    kept = keep_top_k(logits, k)
    # T.nnet.softmax takes matrices alone.
    share = T.exp(kept - disconnected_grad(T.max(kept, axis=-1, keepdims=True)))
    return share / T.sum(share, axis=-1, keepdims=True)


class MixtureOfExperts(NoisyGate):
    """A blend of k linear experts out of n_experts, chosen for each row by a gate.

    Only the chosen experts are evaluated. Theano has no training mode to draw noise in:
    `.forward(x, noise)` is the output in training, with a noise such as
    `RandomStream(seed).normal(size=(x.shape[0], n_experts))`.

    Args:
        x: (batch, in_features); `.output` is (batch, out_features).
        k: how many experts each row uses, in 1..n_experts.
        noisy: whether normal noise of a learned scale is added to the logits in training.
        renormalize: whether the k gates of a row sum to 1 (`top_k_gating`), or are taken from a
            softmax over all logits. None: for k > 1. A single gate would always be 1 and give
            the gate no gradient, so that for k = 1 its probability scales the output.
    Source: for k = 1, Fedus, Zoph, Shazeer 2021, Switch Transformers (arXiv 2101.03961).
    Example:
        >>> x = T.ones((4, 5))
        >>> MixtureOfExperts(x, 5, 3, n_experts=7, k=2).output.eval().shape
        (4, 3)
    """

    def __init__(
        self,
        x: TensorVariable,
        in_features: int,
        out_features: int,
        n_experts: int,
        k: int,
        *,
        noise: TensorVariable | None = None,
        noisy: bool = False,
        renormalize: bool | None = None,
        seed: int | None = None,
    ) -> None:
        n_experts = check_count("n_experts", n_experts)
        k = check_count("k", k, most=n_experts)
        self.renormalize = k > 1 if renormalize is None else check_flag("renormalize", renormalize)
        config = {
            "in_features": check_count("in_features", in_features),
            "out_features": check_count("out_features", out_features),
            "n_experts": n_experts,
            "k": k,
            "noisy": check_flag("noisy", noisy),
            "renormalize": self.renormalize,
        }
        rng = np.random.default_rng(check_seed("seed", seed))
        super().__init__(x, config=config, rng=rng)
        shape = (self.n_experts, self.in_features, config["out_features"])
        self.expert_weight = self.add_param("expert_weight", glorot_uniform(*shape, rng=rng))
        self.expert_bias = self.add_param("expert_bias", np.zeros((shape[0], shape[2])))
        self.output = self.forward(x, noise)

    def gates(self, x: TensorVariable, noise: TensorVariable | None = None) -> TensorVariable:
        """(batch, in_features) → (batch, n_experts), of which k in each row are not 0.

        noise: (batch, n_experts), standard normal.
        """
        logits = self.logits(x, noise)
        if self.renormalize:
            return top_k_gating(logits, self.k)
        return T.nnet.softmax(logits) * T.cast(among_top_k(logits, self.k), logits.dtype)

    def forward(self, x: TensorVariable, noise: TensorVariable | None = None) -> TensorVariable:
        """(batch, in_features) → (batch, out_features). noise is that of `gates`."""
        return self.outputs_and_gates(x, noise)[0]

    def outputs_and_gates(
        self, x: TensorVariable, noise: TensorVariable | None = None
    ) -> tuple[TensorVariable, TensorVariable]:
        """The outputs, (batch, out_features), and their gates, (batch, n_experts)."""
        gates = self.gates(x, noise)
        chosen = T.neq(gates, 0)
        # The choices sorted by expert, so that each expert evaluates its rows in one product. A
        # scan over the experts would fill a batch of zeros at each step of its gradient.
        expert, row = chosen.T.nonzero()
        counts = disconnected_grad(T.sum(chosen, axis=0))  # Split has no gradient for the sizes
        rows = Split(self.n_experts)(x[row], 0, counts, return_list=True)
        answers = [
            T.dot(rows[e], self.expert_weight[e]) + self.expert_bias[e]
            for e in range(self.n_experts)
        ]
        blended = gates[row, expert][:, None] * T.concatenate(answers, axis=0)
        output = T.zeros((x.shape[0], blended.shape[1]), blended.dtype)
        return T.inc_subtensor(output[row], blended), gates

    @staticmethod
    def symbolic_inputs(dtype: str) -> list[TensorVariable]:
        return [T.matrix("x", dtype=dtype)]
