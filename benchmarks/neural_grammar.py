"""Neural grammar, search and gradient of the scores (NumPy: search): 32 dimensions, 64 hidden."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from benchmarks.contenders import tf2_run, theano_run, torch_run, weights
from benchmarks.harness import FLOOR, Benchmark, Contender

COMPONENT = "neural_grammar.NeuralGrammar"
DIM, HIDDEN = 32, 64
CONFIG = {"dim": DIM, "hidden": HIDDEN}
MOST_PLAIN = 20  # vectors; the pairs that it scores grow with their square
PRODUCTS = (DIM, HIDDEN), (DIM, HIDDEN), (2 * HIDDEN, DIM), (DIM, 1)


def data(n: int, dtype: str) -> np.ndarray:
    return np.random.default_rng(n).normal(size=(n, DIM)).astype(dtype)


def matrices(dtype: str) -> list[tuple[np.ndarray, np.ndarray]]:
    """The rows of one merge, which are its own and two new pairs, and the weights."""
    rng = np.random.default_rng(1)
    return [
        (rng.normal(size=(3, inner)).astype(dtype), rng.normal(size=(inner, outer)).astype(dtype))
        for inner, outer in PRODUCTS
    ]


def in_torch(n: int, dtype: str) -> dict[str, Contender]:
    import torch

    from pytorch_impl.interchange import from_arrays

    x = torch.from_numpy(data(n, dtype))
    model: Any = from_arrays("neural_grammar", CONFIG, weights(COMPONENT, CONFIG, dtype))
    leaves = list(model.parameters())
    pairs = [tuple(map(torch.from_numpy, pair)) for pair in matrices(dtype)]

    def plain() -> Any:
        """As in the seed: before each merge every pair is scored by itself."""
        nodes, scores = list(x), []
        while len(nodes) > 1:
            best: Any = None
            for place in range(len(nodes) - 1):
                children = [
                    torch.relu(model.left(nodes[place])),
                    torch.relu(model.right(nodes[place + 1])),
                ]
                parent = torch.tanh(model.parent(torch.cat(children)))
                score = model.score(parent)
                if best is None or score > best[1]:
                    best = parent, score, place
            parent, score, place = best
            nodes[place : place + 2] = [parent]
            scores.append(score)
        return torch.cat([x.new_zeros(n), *scores])

    @torch.no_grad()
    def floor() -> None:
        """The products of the merges, one after the other, and at once those of the gradient."""
        for _ in range(n - 1):
            for rows, weight in pairs:
                rows @ weight
        for rows, weight in pairs:
            gradient = (rows[:1] @ weight).expand(n - 1, -1)
            rows[:1].expand(n - 1, -1).T @ gradient
            gradient @ weight.T

    found = {"ours": torch_run(lambda: model(x).scores, leaves)}
    if n <= MOST_PLAIN:
        found["plain"] = torch_run(plain, leaves)
    return {**found, FLOOR: floor}


def in_tf2(n: int, dtype: str) -> dict[str, Contender]:
    import tensorflow as tf

    from tf2_impl.interchange import from_arrays

    x = data(n, dtype)
    model: Any = from_arrays("neural_grammar", CONFIG, weights(COMPONENT, CONFIG, dtype))
    leaves = [one.value for one in model.trainable_weights]
    pairs = [tuple(map(tf.constant, pair)) for pair in matrices(dtype)]

    @tf.function
    def floor(pairs: Any) -> Any:
        """The products of the merges, one after the other, and at once those of the gradient."""
        total = tf.zeros((), dtype)
        for _ in tf.range(n - 1):
            for rows, weight in pairs:
                # One waits for the other, and is not moved out of the loop.
                total = 1e-9 * tf.reduce_sum((rows + total) @ weight)
        results = [total]
        for rows, weight in pairs:
            gradient = tf.repeat(rows[:1] @ weight, n - 1, axis=0)
            given = tf.repeat(rows[:1], n - 1, axis=0)
            results.append(tf.matmul(given, gradient, transpose_a=True))
            results.append(tf.matmul(gradient, weight, transpose_b=True))
        return results

    return {"ours": tf2_run(lambda x: model(x).scores, [x], leaves), FLOOR: lambda: floor(pairs)}


@lru_cache
def theano_function(dtype: str) -> Any:
    import theano_impl  # isort: skip  # noqa: F401
    import theano.tensor as T

    from theano_impl.interchange import from_arrays

    x = T.matrix("x", dtype=dtype)
    arrays = weights(COMPONENT, CONFIG, dtype)
    model: Any = from_arrays("neural_grammar", CONFIG, arrays, inputs=[x])
    return theano_run(model.output.scores, [x], model.params)


def in_theano(n: int, dtype: str) -> dict[str, Contender]:
    x, run, pairs = data(n, dtype), theano_function(dtype), matrices(dtype)

    def floor() -> None:
        """The products of the merges, one after the other, and at once those of the gradient."""
        for _ in range(n - 1):
            for rows, weight in pairs:
                rows @ weight
        for rows, weight in pairs:
            gradient = np.repeat(rows[:1] @ weight, n - 1, axis=0)
            np.repeat(rows[:1], n - 1, axis=0).T @ gradient
            gradient @ weight.T

    return {"ours": lambda: run(x), FLOOR: floor}


def in_numpy(n: int, dtype: str) -> dict[str, Contender]:
    from numpy_infer.format.network import build

    x, pairs = data(n, dtype), matrices(dtype)
    model = build(COMPONENT, CONFIG, weights(COMPONENT, CONFIG, dtype))[-1]

    def floor() -> None:
        """The products of the merges, one after the other."""
        for _ in range(n - 1):
            for rows, weight in pairs:
                rows @ weight

    return {"ours": lambda: model(x).scores, FLOOR: floor}


BENCHMARK = Benchmark(
    title="Neural grammar, search and gradient (NumPy: search), 32 dimensions, 64 hidden",
    size="vectors",
    sizes=(10, 20, 40, 80),
    contenders={"bench": in_torch, "tf2": in_tf2, "theano": in_theano, "numpy": in_numpy},
    growth={"ours": 1},
    differs={FLOOR: "only the products that no way avoids"},
)
