"""Top-k gating: a softmax over the k largest logits alone, and experts blended with it.

    gate_e = exp(l_e) / Σ_{j in top k} exp(l_j) for the k largest logits, and exactly 0 elsewhere
    y = Σ_{e in top k} gate_e · (x · W_e + b_e)

Sources: Shazeer et al. 2017 (arXiv 1701.06538); seed topic: top-k gating with Theano.
"""

from __future__ import annotations

import math

import numpy as np
import theano.tensor as T
from theano.gradient import disconnected_grad
from theano.tensor.basic import Split
from theano.tensor.var import TensorVariable

from theano_impl.checks import (
    check_count,
    check_dtype,
    check_flag,
    check_floating,
    check_like,
    check_not_empty,
    check_number,
    check_seed,
    check_values,
    check_width,
)
from theano_impl.initializers import glorot_uniform
from theano_impl.layer import Layer


def keep_top_k(
    logits: TensorVariable, k: int, *, fill_value: float = float("-inf")
) -> TensorVariable:
    """The k largest logits of each vector where they stand, fill_value everywhere else.

    logits: (..., n), floating. Returns the same shape; the gradient reaches what is kept. Of
    equal logits the lower index is kept. NaN counts as the largest, and stays however many
    there are. ValueError for a k below 1 or a fill_value of NaN, TypeError for a k that is
    not an integer; AssertionError, when it runs, for a k above n.
    """
    logits = T.as_tensor_variable(logits)
    check_floating("logits", logits)
    k = check_count("k", k)
    n = logits.shape[logits.ndim - 1]
    logits = check_values(logits, T.ge(n, k), "k", "no more than there are logits")
    fill_value = check_number("fill_value", fill_value, finite=False)
    nan = T.isnan(logits)
    ranked = T.switch(nan, np.asarray(math.inf, logits.dtype), disconnected_grad(logits))
    # Its k-th value, and its equals counted from the left. Theano's topk cannot sort, and its
    # argsort, stable only if asked, would have to be undone by another.
    last = T.sort(ranked, axis=-1)[..., n - k].dimshuffle(*range(logits.ndim - 1), "x")
    above, equal = T.gt(ranked, last), T.eq(ranked, last)
    room = k - T.sum(above, axis=-1, keepdims=True)
    # In C, the cumsum of booleans is a boolean.
    count = T.cumsum(T.cast(equal, "int64"), axis=logits.ndim - 1)
    kept = above | (equal & (count <= room)) | nan
    return T.switch(kept, logits, np.asarray(fill_value, logits.dtype))


def top_k_gating(logits: TensorVariable, k: int) -> TensorVariable:
    """Softmax over the k largest logits of each vector, exact zeros elsewhere.

    logits: (..., n), floating. Returns the same shape; each vector sums to 1, and what was
    dropped gets no gradient. A vector with a NaN is NaN. Ties and errors as in `keep_top_k`.
    """
    kept = keep_top_k(logits, k)
    # nnet.softmax takes matrices alone.
    share = T.exp(kept - disconnected_grad(T.max(kept, axis=-1, keepdims=True)))
    return share / T.sum(share, axis=-1, keepdims=True)


def load_balance_loss(gates: TensorVariable) -> TensorVariable:
    """Squared coefficient of variation of the experts' importance, their gates' sum: a scalar.

    gates: (batch, n_experts). 0 when all experts matter alike, n_experts − 1 when only one
    does. TypeError for integers; AssertionError, when it runs, for an empty batch.
    """
    gates = T.as_tensor_variable(gates)
    check_floating("gates", gates, ndim=2)
    gates = check_not_empty("gates", gates)
    importance = T.sum(gates, axis=0)
    return T.var(importance) / T.mean(importance) ** 2


class MixtureOfExperts(Layer):
    """A blend of k linear experts out of n_experts, chosen for each row by a gate.

    x: (batch, in_features); `.output` is (batch, out_features). Only the chosen experts are
    evaluated: the cost grows with k. noisy adds normal noise to the gate's logits in training,
    of a scale that is learned for each expert. Theano has no training mode to draw it in:
    `.forward(x, noise)` is the output for training, with a noise such as
    `RandomStream(seed).normal(size=(x.shape[0], n_experts))`.
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
        seed: int | None = None,
    ) -> None:
        in_features = check_count("in_features", in_features)
        out_features = check_count("out_features", out_features)
        n_experts = check_count("n_experts", n_experts)
        k = check_count("k", k, most=n_experts)
        noisy = check_flag("noisy", noisy)
        seed = check_seed("seed", seed)
        config = {
            "in_features": in_features,
            "out_features": out_features,
            "n_experts": n_experts,
            "k": k,
            "noisy": noisy,
        }
        super().__init__(x, config=config)
        self.k = k
        self.noisy = noisy
        self.n_experts = n_experts
        self.in_features = in_features
        rng = np.random.default_rng(seed)
        gate_weight = glorot_uniform(in_features, n_experts, rng=rng)
        expert_weight = glorot_uniform(n_experts, in_features, out_features, rng=rng)
        self.gate_weight = self.add_param("gate_weight", gate_weight)
        if noisy:
            zeros = np.zeros((in_features, n_experts))
            self.noise_weight = self.add_param("noise_weight", zeros)
        self.expert_weight = self.add_param("expert_weight", expert_weight)
        self.expert_bias = self.add_param("expert_bias", np.zeros((n_experts, out_features)))
        self.output = self.forward(x, noise)

    def gates(self, x: TensorVariable, noise: TensorVariable | None = None) -> TensorVariable:
        """x: (batch, in_features). Returns (batch, n_experts), k of each row not zero.

        noise: (batch, n_experts), standard normal. ValueError for noise to a model that is
        not noisy.
        """
        x = T.as_tensor_variable(x)
        check_floating("x", x, ndim=2)
        check_dtype("x", x, self.gate_weight.dtype)
        x = check_width("x", x, self.in_features)
        logits = T.dot(x, self.gate_weight)
        if noise is not None:
            if not self.noisy:
                raise ValueError("noise: expected None for a model that is not noisy, got a tensor")
            noise = check_like("noise", T.as_tensor_variable(noise), "the logits", logits)
            logits = logits + noise * T.nnet.softplus(T.dot(x, self.noise_weight))
        return top_k_gating(logits, self.k)

    def forward(self, x: TensorVariable, noise: TensorVariable | None = None) -> TensorVariable:
        """x: (batch, in_features). Returns (batch, out_features). noise as for `gates`."""
        gates = self.gates(x, noise).T
        # Sorted by expert, so that each one takes its rows in one product. The graph has a
        # product for each expert; a scan over them would fill a batch of zeros at each step.
        experts, rows = T.neq(gates, 0).nonzero()
        # Split has no gradient for the sizes, and wants none asked for.
        counts = disconnected_grad(T.sum(T.neq(gates, 0), axis=1))
        shares = Split(self.n_experts)(x[rows], 0, counts, return_list=True)
        answers = [
            T.dot(inputs, self.expert_weight[expert]) + self.expert_bias[expert]
            for expert, inputs in enumerate(shares)
        ]
        blended = gates[experts, rows][:, None] * T.concatenate(answers, axis=0)
        output = T.zeros((x.shape[0], blended.shape[1]), blended.dtype)
        return T.inc_subtensor(output[rows], blended)

    @staticmethod
    def symbolic_inputs(dtype: str) -> list[TensorVariable]:
        return [T.matrix("x", dtype=dtype)]
