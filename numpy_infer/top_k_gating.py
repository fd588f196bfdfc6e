"""Top-k gating: a softmax over the k largest logits alone, and experts blended with it.

    gate_e = exp(l_e) / Σ_{j in top k} exp(l_j) for the k largest logits, and exactly 0 elsewhere
    y = Σ_{e in top k} gate_e · (x · W_e + b_e)

Sources: Shazeer et al. 2017 (arXiv 1701.06538); seed topic: top-k gating with Theano.
"""

from __future__ import annotations

import numpy as np

from numpy_infer.support.checks import (
    check_count,
    check_dtype,
    check_flag,
    check_floating,
    check_not_empty,
    check_number,
    check_shape,
    check_width,
)
from numpy_infer.support.layer import Layer
from numpy_infer.support.normal_cdf import normal_cdf


def keep_top_k(logits: np.ndarray, k: int, *, fill_value: float = float("-inf")) -> np.ndarray:
    """The k largest logits of each vector where they stand, fill_value everywhere else.

    logits: (..., n), floating. Returns the same shape. Of equal logits the lower index is
    kept. NaN counts as the largest, and stays however many there are. ValueError for k outside
    1..n or a fill_value of NaN, TypeError for a k that is not an integer.
    """
    check_floating("logits", logits)
    k = check_count("k", k, most=logits.shape[-1])
    fill_value = check_number("fill_value", fill_value, finite=False)
    return np.where(_among_top_k(logits, k), logits, logits.dtype.type(fill_value))


def _among_top_k(logits: np.ndarray, k: int) -> np.ndarray:
    """Which of the logits are the k largest of their vector, as `keep_top_k` has it; bool."""
    nan = np.isnan(logits)
    ranked = np.where(nan, logits.dtype.type(np.inf), logits)
    # The k-th value, and its equals counted from the left: no full sort.
    last = np.partition(ranked, -k, axis=-1)[..., -k, None]
    above, equal = ranked > last, ranked == last
    kept = above | equal
    tied = np.count_nonzero(kept, axis=-1) > k  # seldom any: to count from the left takes long
    if tied.any():
        room = k - above[tied].sum(axis=-1, keepdims=True)
        kept[tied] &= above[tied] | (equal[tied].cumsum(axis=-1) <= room)
    kept |= nan
    return kept


def top_k_gating(logits: np.ndarray, k: int) -> np.ndarray:
    """Softmax over the k largest logits of each vector, exact zeros elsewhere.

    logits: (..., n), floating. Returns the same shape; each vector sums to 1. A vector with a
    NaN is NaN. Ties and errors as in `keep_top_k`.
    """
    kept = keep_top_k(logits, k)
    share = np.exp(kept - kept.max(axis=-1, keepdims=True))
    share /= share.sum(axis=-1, keepdims=True)
    return share


def load_balance_loss(gates: np.ndarray) -> np.ndarray:
    """Squared coefficient of variation of the experts' importance, their gates' sum: a scalar.

    gates: (batch, n_experts). 0 when all experts matter alike, n_experts − 1 when only one
    does. An expert whose gate is 0 in every row gets no gradient from it, and does not come back;
    `load_loss` reaches it. TypeError for integers, ValueError for an empty batch.
    """
    check_floating("gates", gates, ndim=2)
    check_not_empty("gates", gates)
    return _squared_variation(gates.sum(axis=0))


def load_loss(logits: np.ndarray, noise: np.ndarray, scale: np.ndarray, k: int) -> np.ndarray:
    """Squared coefficient of variation of the experts' load, smooth in the logits: a scalar.

    The load of an expert is the number of rows that choose it. Its smooth estimate is the sum of

        P(row, e) = Φ((l_e − t_e) / s_e),    t_e = the k-th largest of l_j + noise_j · s_j, j ≠ e

    the probability that e is among the k largest once its own noise is drawn again. logits, before
    the noise; noise, standard normal; scale, positive, of the noise: (batch, n_experts) all. 0 for
    k of n_experts. Of tied logits the lower index is the larger one. TypeError for integers,
    ValueError for an empty batch, shapes that differ and k outside 1..n_experts.

    Source: Shazeer et al. 2017, appendix A.
    """
    check_floating("logits", logits, ndim=2)
    check_not_empty("logits", logits)
    for name, array in {"noise": noise, "scale": scale}.items():
        check_floating(name, array)
        check_dtype(name, array, logits.dtype)
        check_shape(name, array, logits.shape)
    k = check_count("k", k, most=logits.shape[1])
    noisy = logits + noise * scale
    if k == logits.shape[1]:
        return _squared_variation((1 + 0 * noisy).sum(axis=0))  # all are chosen
    ordered = np.sort(noisy, axis=1)[:, ::-1]
    # Without an expert that is among the k largest, the next one is the k-th.
    threshold = np.where(_among_top_k(noisy, k), ordered[:, k, None], ordered[:, k - 1, None])
    return _squared_variation(normal_cdf((logits - threshold) / scale).sum(axis=0))


def _squared_variation(x: np.ndarray) -> np.ndarray:
    return x.var() / np.square(x.mean())


class TopKGating(Layer):
    """`top_k_gating` as a layer."""

    def __init__(self, previous: Layer, *, k: int) -> None:
        super().__init__(previous)
        k = check_count("k", k)
        self.k = k

    def forward(self, logits: np.ndarray) -> np.ndarray:
        return top_k_gating(logits, self.k)


class MixtureOfExperts(Layer):
    """A blend of k linear experts, chosen for each row by a gate; only these are evaluated.

    gate_weight: (in_features, n_experts), expert_weight: (n_experts, in_features,
    out_features), expert_bias: (n_experts, out_features). A model that was trained with noise
    has a noise_weight too, of no use here: there is none outside of training. renormalize: whether
    the k gates of a row are divided by their sum (left out: for k > 1), or stay their share of a
    softmax over all logits.
    """

    def __init__(
        self,
        previous: Layer,
        gate_weight: np.ndarray,
        expert_weight: np.ndarray,
        expert_bias: np.ndarray,
        *,
        k: int,
        renormalize: bool | None = None,
        noise_weight: np.ndarray | None = None,
    ) -> None:
        super().__init__(previous)
        check_floating("gate_weight", gate_weight, ndim=2)
        check_floating("expert_weight", expert_weight, ndim=3)
        in_features, n_experts = gate_weight.shape
        out_features = expert_weight.shape[2]
        shapes = {
            "expert_weight": (expert_weight, (n_experts, in_features, out_features)),
            "expert_bias": (expert_bias, (n_experts, out_features)),
            "noise_weight": (noise_weight, (in_features, n_experts)),
        }
        for name, (weight, shape) in shapes.items():
            if weight is not None:
                check_dtype(name, weight, gate_weight.dtype)
                check_shape(name, weight, shape)
        k = check_count("k", k, most=n_experts)
        self.gate_weight = gate_weight
        self.expert_weight = expert_weight
        self.expert_bias = expert_bias
        self.k = k
        self.renormalize = k > 1 if renormalize is None else check_flag("renormalize", renormalize)

    @staticmethod
    def array_shapes(
        in_features: int,
        out_features: int,
        n_experts: int,
        k: int,
        noisy: bool = False,
        renormalize: bool = True,
    ) -> dict[str, tuple[int, ...]]:
        """The arrays of a model file, for the configuration that the frameworks share."""
        shapes: dict[str, tuple[int, ...]] = {
            "gate_weight": (in_features, n_experts),
            "expert_weight": (n_experts, in_features, out_features),
            "expert_bias": (n_experts, out_features),
        }
        return {**shapes, "noise_weight": (in_features, n_experts)} if noisy else shapes

    def gates(self, x: np.ndarray) -> np.ndarray:
        """x: (batch, in_features). Returns (batch, n_experts), k of each row not zero."""
        check_floating("x", x, ndim=2)
        check_dtype("x", x, self.gate_weight.dtype)
        check_width("x", x, self.gate_weight.shape[0])
        logits = x @ self.gate_weight
        if self.renormalize:
            return top_k_gating(logits, self.k)
        share = np.exp(logits - logits.max(axis=-1, keepdims=True))
        share /= share.sum(axis=-1, keepdims=True)
        return share * _among_top_k(logits, self.k)

    def forward(self, x: np.ndarray) -> np.ndarray:
        """x: (batch, in_features). Returns (batch, out_features)."""
        return self.outputs_and_gates(x)[0]

    def outputs_and_gates(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The outputs, (batch, out_features), and their gates, (batch, n_experts)."""
        gates = self.gates(x)
        output = np.zeros((len(x), self.expert_bias.shape[1]), x.dtype)
        # Each expert takes its rows in one product.
        for gate, weight, bias in zip(gates.T, self.expert_weight, self.expert_bias, strict=True):
            rows = gate.nonzero()[0]
            if len(rows):
                output[rows] += gate[rows, None] * (x[rows] @ weight + bias)
        return output, gates
