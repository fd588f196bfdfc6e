"""Mixture of experts, forward and backward: 64 experts, 64 features, 2 of them or all asked."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from benchmarks.harness import FLOOR, Benchmark, Contender, Target

FEATURES, EXPERTS, K = 64, 64, 2
OTHERS = ((64, 1), (64, 4), (64, 8), (16, 2), (256, 2))  # experts and k: what the cost grows with


def data(n: int, dtype: str, experts: int = EXPERTS) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """The rows, and the weights in canonical layout."""
    rng = np.random.default_rng(n)
    arrays = {
        "gate_weight": rng.normal(size=(FEATURES, experts)) / FEATURES**0.5,
        "expert_weight": rng.normal(size=(experts, FEATURES, FEATURES)) / FEATURES**0.5,
        "expert_bias": rng.normal(size=(experts, FEATURES)),
    }
    weights = {name: array.astype(dtype) for name, array in arrays.items()}
    return rng.normal(size=(n, FEATURES)).astype(dtype), weights


def config(k: int, experts: int = EXPERTS) -> dict[str, Any]:
    return {"in_features": FEATURES, "out_features": FEATURES, "n_experts": experts, "k": k}


def operands(x: np.ndarray, weights: dict[str, np.ndarray]) -> tuple[np.ndarray, ...]:
    """Of the floor's products: the rows, k experts' worth of them, the gate and the experts."""
    chosen = np.resize(x, (EXPERTS, max(1, len(x) * K // EXPERTS), FEATURES))
    return x, chosen, weights["gate_weight"], weights["expert_weight"]


def products(transposed: Any, x: Any, chosen: Any, gate: Any, experts: Any) -> list[Any]:
    """The gate's products, and those of k experts of equally many rows; there, and back.

    transposed: of the framework; None leaves the way back out.
    """
    logits, answers = x @ gate, chosen @ experts
    if transposed is None:
        return [logits, answers]
    return [transposed(x) @ logits, transposed(chosen, (0, 2, 1)) @ answers]


def in_torch(n: int, dtype: str) -> dict[str, Contender]:
    import torch

    from pytorch_impl.interchange import from_arrays
    from pytorch_impl.top_k_gating import top_k_gating

    rows, weights = data(n, dtype)
    x = torch.from_numpy(rows)
    few = from_arrays("top_k_gating", config(K), weights)
    gate, weight, bias = parameters = list(few.parameters())

    def differentiated(output: Any, parameters: Any) -> Any:
        return [output, *torch.autograd.grad(output.sum(), parameters)]

    def plain() -> Any:
        """The sum of the formula over all experts, most of them times zero."""
        answers = torch.einsum("ni,eio->eno", x, weight) + bias[:, None]
        return differentiated(
            (top_k_gating(x @ gate, K).T[:, :, None] * answers).sum(0), parameters
        )

    def of(experts: int, k: int) -> Contender:
        """As many experts as are asked for, of which each row takes k."""
        if (experts, k) == (EXPERTS, K):
            return lambda: differentiated(few(x), parameters)
        model = from_arrays("top_k_gating", config(k, experts), data(n, dtype, experts)[1])
        return lambda: differentiated(model(x), list(model.parameters()))

    def one_product() -> Any:
        """All experts in one batched product, blended in another."""
        answers = torch.baddbmm(bias[:, None], x.expand(EXPERTS, -1, -1), weight)
        gates = top_k_gating(x @ gate, K)
        blended = torch.bmm(gates[:, None], answers.transpose(0, 1)).squeeze(1)
        return differentiated(blended, parameters)

    given = [torch.from_numpy(one) for one in operands(rows, weights)]

    def floor() -> list[Any]:
        return products(lambda one, *_: one.mT, *given)

    return {
        "2 of 64": of(EXPERTS, K),
        "plain": plain,
        "all, one product": one_product,
        **{f"{k} of {experts}": of(experts, k) for experts, k in OTHERS},
        "64 of 64": of(EXPERTS, EXPERTS),
        FLOOR: floor,
    }


def in_tf2(n: int, dtype: str) -> dict[str, Contender]:
    import tensorflow as tf

    from tf2_impl.interchange import from_arrays

    rows, weights = data(n, dtype)
    x = tf.constant(rows)

    def differentiated(k: int) -> Contender:
        model = from_arrays("top_k_gating", config(k), weights)

        @tf.function
        def run() -> Any:
            with tf.GradientTape() as tape:
                output = model(x)
                loss = tf.reduce_sum(output)
            return [output, *map(tf.convert_to_tensor, tape.gradient(loss, model.weights))]

        return run

    @tf.function
    def floor(*given: Any) -> list[Any]:
        return products(tf.transpose, *given)

    given = [tf.constant(one) for one in operands(rows, weights)]
    asked = {"2 of 64": differentiated(K), "64 of 64": differentiated(EXPERTS)}
    return {**asked, FLOOR: lambda: floor(*given)}


def in_theano(n: int, dtype: str) -> dict[str, Contender]:
    import theano_impl  # noqa: F401, I001 (before theano)
    import theano
    import theano.tensor as T

    from theano_impl.interchange import from_arrays

    rows, weights = data(n, dtype)

    @cache  # made when it is called: a quick run leaves one out
    def function(k: int) -> Any:
        x = T.matrix("x", dtype=dtype)
        model: Any = from_arrays("top_k_gating", config(k), weights, inputs=[x])
        gradients = T.grad(T.sum(model.output), model.params)
        return theano.function([x], [model.output, *gradients])

    given = operands(rows, weights)
    return {
        "2 of 64": lambda: function(K)(rows),
        "64 of 64": lambda: function(EXPERTS)(rows),
        FLOOR: lambda: products(np.transpose, *given),
    }


def in_numpy(n: int, dtype: str) -> dict[str, Contender]:
    from numpy_infer.support.layer import Input
    from numpy_infer.top_k_gating import MixtureOfExperts, top_k_gating

    x, weights = data(n, dtype)
    few, every = (MixtureOfExperts(Input(), *weights.values(), k=k) for k in (K, EXPERTS))

    def plain() -> Any:
        gates = top_k_gating(x @ weights["gate_weight"], K).T[:, :, None]
        return (gates * (x @ weights["expert_weight"] + weights["expert_bias"][:, None])).sum(0)

    given = operands(x, weights)
    asked = {"2 of 64": lambda: few(x), "plain": plain, "64 of 64": lambda: every(x)}
    return {**asked, FLOOR: lambda: products(None, *given)}


BENCHMARK = Benchmark(
    title="Mixture of 64 experts, forward and backward (NumPy: forward), 64 features",
    size="rows",
    sizes=(256, 1024, 2048, 4096),
    contenders={"bench": in_torch, "tf2": in_tf2, "theano": in_theano, "numpy": in_numpy},
    # Cost in proportion to k would be 1 / 32. The gate, and the gradient of all 64 experts'
    # weights, are the same for every k.
    targets=tuple(
        Target(environment, "2 of 64", "64 of 64", 4096, 1 / 8)
        for environment in ("bench", "tf2", "theano", "numpy")
    ),
    growth={"2 of 64": 1, "64 of 64": 1},
    differs={
        "64 of 64": "asks all experts, as a blend that is not sparse would",
        **{f"{k} of {experts}": "asks others or more of them" for experts, k in OTHERS},
        FLOOR: "only the products that no way avoids",
    },
    thorough=("64 of 64",),  # Theano makes a graph of 64 products
)
