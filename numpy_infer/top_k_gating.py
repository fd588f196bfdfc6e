"""Top-k gating: a softmax over the k largest logits alone, and experts blended with it.

    gate_e = exp(l_e) / Σ_{j in top k} exp(l_j) for the k largest logits l, exactly 0 elsewhere
    y = Σ_{e in top k} gate_e · (x · W_e + b_e)

Source: Shazeer et al. 2017 (arXiv 1701.06538).
"""

from __future__ import annotations

import numpy as np

from numpy_infer.support.checks import (
    check_count,
    check_dtype,
    check_flag,
    check_floating,
    check_number,
    check_weight,
    check_width,
)
from numpy_infer.support.expert_balance import load_balance_loss, load_loss
from numpy_infer.support.layer import Layer
from numpy_infer.support.ties import among_top_k

__all__ = [
    "MixtureOfExperts",
    "TopKGating",
    "keep_top_k",
    "load_balance_loss",
    "load_loss",
    "top_k_gating",
]


def keep_top_k(logits: np.ndarray, k: int, *, fill_value: float = float("-inf")) -> np.ndarray:
    """Keep the k largest logits of each vector and set all others to fill_value.

    Args:
        logits: (..., n), floating. Of equal logits the one with the lower index is kept. NaN counts
            as the largest, and every NaN is kept.
        k: how many logits are kept, in 1..n.
        fill_value: any number but NaN.
    Returns:
        The shape of logits.
    Raises:
        TypeError: logits are not floating, or k is not an integer.
        ValueError: k is outside 1..n, or fill_value is NaN.
    Example:
        >>> keep_top_k(np.array([1.0, 3.0, 2.0, 2.0]), k=2, fill_value=0.0)
        array([0., 3., 2., 0.])
    """
    check_floating("logits", logits)
    k = check_count("k", k, most=logits.shape[-1])
    fill_value = check_number("fill_value", fill_value, finite=False)
    return np.where(among_top_k(logits, k), logits, logits.dtype.type(fill_value))


def top_k_gating(logits: np.ndarray, k: int) -> np.ndarray:
    """Softmax over the k largest logits of each vector, exactly 0 elsewhere.

        gate_e = exp(l_e) / Σ_{j in top k} exp(l_j)

    Args:
        logits: (..., n), floating. Of equal logits the one with the lower index is kept.
        k: how many logits are kept, in 1..n.
    Returns:
        The shape of logits. Each vector sums to 1; a vector with a NaN is NaN.
    Raises:
        TypeError: logits are not floating, or k is not an integer.
        ValueError: k is outside 1..n.
    Example:
        >>> top_k_gating(np.array([1.0, 1.0, 0.0]), k=2)
        array([0.5, 0.5, 0. ])
    """
    return _softmax(keep_top_k(logits, k))


def _softmax(logits: np.ndarray) -> np.ndarray:
    share: np.ndarray = np.exp(logits - logits.max(axis=-1, keepdims=True))
    share /= share.sum(axis=-1, keepdims=True)
    return share


class TopKGating(Layer):
    """`top_k_gating` as a layer.

    Args:
        previous: the layer whose output is the logits.
        k: how many logits are kept, at least 1.
    Raises:
        TypeError: k is not an integer. ValueError: k is below 1.
    Example:
        >>> from numpy_infer import Input
        >>> TopKGating(Input(), k=2)(np.array([[1.0, 1.0, 0.0]]))
        array([[0.5, 0.5, 0. ]])
    """

    def __init__(self, previous: Layer, *, k: int) -> None:
        super().__init__(previous)
        self.k = check_count("k", k)

    def forward(self, logits: np.ndarray) -> np.ndarray:
        """logits: (..., n), floating, n at least k. Returns the same shape."""
        return top_k_gating(logits, self.k)


class MixtureOfExperts(Layer):
    """A blend of k linear experts out of n_experts, chosen for each row by a gate.

    Only the chosen experts are evaluated.

    Args:
        gate_weight: (in_features, n_experts).
        expert_weight: (n_experts, in_features, out_features).
        expert_bias: (n_experts, out_features).
        k: how many experts each row uses, in 1..n_experts.
        renormalize: whether the k gates of a row sum to 1 (`top_k_gating`), or are taken from a
            softmax over all logits. None: for k > 1.
        noise_weight: (in_features, n_experts), of a model that was trained with noise. It is
            checked and not used, because there is no noise outside of training.
    Example:
        >>> from numpy_infer import Input
        >>> weights = np.ones((5, 7)), np.ones((7, 5, 3)), np.ones((7, 3))
        >>> MixtureOfExperts(Input(), *weights, k=2)(np.ones((4, 5))).shape
        (4, 3)
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
                check_weight(name, weight, shape, gate_weight)
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
        """(batch, in_features) → (batch, n_experts), of which k in each row are not 0."""
        check_floating("x", x, ndim=2)
        check_dtype("x", x, self.gate_weight.dtype)
        check_width("x", x, self.gate_weight.shape[0])
        logits = x @ self.gate_weight
        if self.renormalize:
            return top_k_gating(logits, self.k)
        gates: np.ndarray = _softmax(logits) * among_top_k(logits, self.k)
        return gates

    def forward(self, x: np.ndarray) -> np.ndarray:
        """(batch, in_features) → (batch, out_features)."""
        return self.outputs_and_gates(x)[0]

    def outputs_and_gates(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The outputs, (batch, out_features), and their gates, (batch, n_experts)."""
        gates = self.gates(x)
        output = np.zeros((len(x), self.expert_bias.shape[1]), x.dtype)
        # Each expert evaluates the rows that chose it in one product.
        for gate, weight, bias in zip(gates.T, self.expert_weight, self.expert_bias, strict=True):
            rows = gate.nonzero()[0]
            if len(rows):
                output[rows] += gate[rows, None] * (x[rows] @ weight + bias)
        return output, gates
