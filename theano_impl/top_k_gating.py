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

from theano_impl.support.checks import (
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
from theano_impl.support.initializers import glorot_uniform
from theano_impl.support.layer import Layer


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
    return T.switch(_among_top_k(logits, k), logits, np.asarray(fill_value, logits.dtype))


def _among_top_k(logits: TensorVariable, k: int) -> TensorVariable:
    """Which of the logits are the k largest of their vector, as `keep_top_k` has it; bool."""
    n = logits.shape[logits.ndim - 1]
    nan = T.isnan(logits)
    ranked = T.switch(nan, np.asarray(math.inf, logits.dtype), disconnected_grad(logits))
    # Its k-th value, and its equals counted from the left. Theano's topk cannot sort, and its
    # argsort, stable only if asked, would have to be undone by another.
    last = T.sort(ranked, axis=-1)[..., n - k].dimshuffle(*range(logits.ndim - 1), "x")
    above, equal = T.gt(ranked, last), T.eq(ranked, last)
    room = k - T.sum(above, axis=-1, keepdims=True)
    # In C, the cumsum of booleans is a boolean.
    count = T.cumsum(T.cast(equal, "int64"), axis=logits.ndim - 1)
    return above | (equal & (count <= room)) | nan


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
    does. An expert whose gate is 0 in every row gets no gradient from it, and does not come back;
    `load_loss` reaches it. TypeError for integers; AssertionError, when it runs, for an empty
    batch.
    """
    gates = T.as_tensor_variable(gates)
    check_floating("gates", gates, ndim=2)
    gates = check_not_empty("gates", gates)
    return _squared_variation(T.sum(gates, axis=0))


def load_loss(
    logits: TensorVariable, noise: TensorVariable, scale: TensorVariable, k: int
) -> TensorVariable:
    """Squared coefficient of variation of the experts' load, smooth in the logits: a scalar.

    The load of an expert is the number of rows that choose it. Its smooth estimate is the sum of

        P(row, e) = Φ((l_e − t_e) / s_e),    t_e = the k-th largest of l_j + noise_j · s_j, j ≠ e

    the probability that e is among the k largest once its own noise is drawn again. Every expert
    gets a gradient, those that no row chooses too. logits, before the noise; noise, standard
    normal; scale, positive, of the noise: (batch, n_experts) all. 0 for k of n_experts. Of tied
    logits the lower index is the larger one. TypeError for integers, ValueError for k below 1;
    AssertionError, when it runs, for an empty batch, shapes that differ and k above n_experts.

    Source: Shazeer et al. 2017, appendix A.
    """
    logits, noise, scale = map(T.as_tensor_variable, (logits, noise, scale))
    check_floating("logits", logits, ndim=2)
    logits = check_not_empty("logits", logits)
    noise = check_like("noise", noise, "the logits", logits)
    scale = check_like("scale", scale, "the logits", logits)
    k = check_count("k", k)
    n = logits.shape[1]
    logits = check_values(logits, T.ge(n, k), "k", "no more than there are logits")
    noisy = logits + noise * scale
    # The sort is a permutation by indices, lower ones first among equals, as a gradient needs it.
    rows = T.arange(noisy.shape[0])[:, None]
    ordered = noisy[rows, T.argsort(-noisy, axis=1, kind="mergesort")]
    # Without an expert that is among the k largest, the next one is the k-th.
    last, next_ = ordered[:, k - 1 : k], ordered[:, T.minimum(k, n - 1)].dimshuffle(0, "x")
    threshold = T.switch(_among_top_k(noisy, k), next_, T.addbroadcast(last, 1))
    root = np.asarray(math.sqrt(0.5), logits.dtype)
    chosen = T.erfc(root * (threshold - logits) / scale) / np.asarray(2, logits.dtype)
    chosen = T.switch(T.eq(n, k), 1 + 0 * noisy, chosen)  # all are chosen, whatever the noise
    return _squared_variation(T.sum(chosen, axis=0))


def _squared_variation(x: TensorVariable) -> TensorVariable:
    return T.var(x) / T.mean(x) ** 2


class MixtureOfExperts(Layer):
    """A blend of k linear experts out of n_experts, chosen for each row by a gate.

    x: (batch, in_features); `.output` is (batch, out_features). Only the chosen experts are
    evaluated: the cost grows with k. noisy adds normal noise to the gate's logits in training,
    of a scale that is learned for each expert. Theano has no training mode to draw it in:
    `.forward(x, noise)` is the output for training, with a noise such as
    `RandomStream(seed).normal(size=(x.shape[0], n_experts))`.

    renormalize: whether the k gates of a row are divided by their sum, a softmax over the kept
    logits as in `top_k_gating`, or stay their share of a softmax over all logits. Left out, they
    are for k > 1. A single gate would be 1 whatever the logits: the gate and the balance of its
    experts would get no gradient, so that with k = 1 its probability scales the output.

    Source of the latter: Fedus, Zoph, Shazeer 2021, Switch Transformers (arXiv 2101.03961).
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
        in_features = check_count("in_features", in_features)
        out_features = check_count("out_features", out_features)
        n_experts = check_count("n_experts", n_experts)
        k = check_count("k", k, most=n_experts)
        noisy = check_flag("noisy", noisy)
        renormalize = k > 1 if renormalize is None else check_flag("renormalize", renormalize)
        seed = check_seed("seed", seed)
        config = {
            "in_features": in_features,
            "out_features": out_features,
            "n_experts": n_experts,
            "k": k,
            "noisy": noisy,
            "renormalize": renormalize,
        }
        super().__init__(x, config=config)
        self.k = k
        self.noisy = noisy
        self.renormalize = renormalize
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
        x = self._checked(x)
        logits = T.dot(x, self.gate_weight)
        if noise is not None:
            logits = logits + self._checked_noise(noise, logits) * self._noise_scale(x)
        if self.renormalize:
            return top_k_gating(logits, self.k)
        kept = T.cast(_among_top_k(logits, self.k), logits.dtype)
        return T.nnet.softmax(logits) * kept

    def forward(self, x: TensorVariable, noise: TensorVariable | None = None) -> TensorVariable:
        """x: (batch, in_features). Returns (batch, out_features). noise as for `gates`."""
        return self.outputs_and_gates(x, noise)[0]

    def outputs_and_gates(
        self, x: TensorVariable, noise: TensorVariable | None = None
    ) -> tuple[TensorVariable, TensorVariable]:
        """The outputs and the gates that blended them, for `load_balance_loss`.

        x: (batch, in_features). noise as for `gates`. (batch, out_features), (batch, n_experts).
        """
        by_row = self.gates(x, noise)
        gates = by_row.T
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
        return T.inc_subtensor(output[rows], blended), by_row

    def load_loss(self, x: TensorVariable, noise: TensorVariable) -> TensorVariable:
        """The `load_loss` of a noisy model for this noise, (batch, n_experts), standard normal."""
        x = self._checked(x)
        logits = T.dot(x, self.gate_weight)
        noise = self._checked_noise(noise, logits)
        return load_loss(logits, noise, self._noise_scale(x), self.k)

    def _noise_scale(self, x: TensorVariable) -> TensorVariable:
        return T.nnet.softplus(T.dot(x, self.noise_weight))

    def _checked(self, x: TensorVariable) -> TensorVariable:
        x = T.as_tensor_variable(x)
        check_floating("x", x, ndim=2)
        check_dtype("x", x, self.gate_weight.dtype)
        return check_width("x", x, self.in_features)

    def _checked_noise(self, noise: TensorVariable, logits: TensorVariable) -> TensorVariable:
        if not self.noisy:
            raise ValueError("noise: expected None for a model that is not noisy, got a tensor")
        return check_like("noise", T.as_tensor_variable(noise), "the logits", logits)

    @staticmethod
    def symbolic_inputs(dtype: str) -> list[TensorVariable]:
        return [T.matrix("x", dtype=dtype)]
