"""Feedback network with its losses, forward and backward (NumPy: forward): 200 features, 64 hidden.

Three levels of 4, 16 and 64 classes.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from benchmarks.contenders import factors, products, tf2_run, theano_run, torch_run, weights
from benchmarks.harness import FLOOR, Benchmark, Contender

COMPONENT = "feedback_network.FeedbackNetwork"
FEATURES, CLASSES, HIDDEN = 200, (4, 16, 64), 64
CONFIG = {"in_features": FEATURES, "classes": list(CLASSES), "hidden": HIDDEN}
COMPILED_AT = 512  # rows: compiling takes seconds


def data(n: int, dtype: str) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(n)
    return rng.normal(size=(n, FEATURES)).astype(dtype), rng.integers(CLASSES, size=(n, 3))


def matrices(n: int, dtype: str) -> list[tuple[np.ndarray, np.ndarray]]:
    """Those of the products of a forward run; the first state is zero and needs none."""
    inner = [(n, FEATURES, HIDDEN), (n, HIDDEN, 3 * HIDDEN)]
    states = [(n, HIDDEN, 3 * HIDDEN)] * (len(CLASSES) - 1)
    levels = [(n, HIDDEN, count) for count in CLASSES]
    return factors([*inner, *states, *levels], n, dtype)


def in_torch(n: int, dtype: str) -> dict[str, Contender]:
    import torch
    from torch.nn import functional as F

    from pytorch_impl.feedback_network import level_losses
    from pytorch_impl.interchange import from_arrays

    x, labels = map(torch.from_numpy, data(n, dtype))
    model: Any = from_arrays("feedback_network", CONFIG, weights(COMPONENT, CONFIG, dtype))
    leaves = list(model.parameters())
    pairs = [tuple(map(torch.from_numpy, pair)) for pair in matrices(n, dtype)]

    def peer() -> Any:
        """nn.GRU on the features, once for each level, and F.cross_entropy."""
        features = model.norm(model.projection(x)).relu()
        states, _ = model.gru(features[:, None].expand(-1, len(CLASSES), -1))
        levels = enumerate(model.levels)
        found = [F.cross_entropy(level(states[:, at]), labels[:, at]) for at, level in levels]
        return torch.stack(found)

    def floor() -> None:
        """Each product, and the two of its gradient."""
        products(pairs, of_input=True)

    found = {
        "ours": torch_run(lambda: level_losses(labels, *model(x)), leaves),
        "nn.GRU": torch_run(peer, leaves),
    }
    if n == COMPILED_AT:
        compiled = torch.compile(lambda: level_losses(labels, *model(x)), dynamic=False)
        found["compiled"] = torch_run(compiled, leaves)
    return {**found, FLOOR: floor}


def in_tf2(n: int, dtype: str) -> dict[str, Contender]:
    import tensorflow as tf

    from tf2_impl.feedback_network import level_losses
    from tf2_impl.interchange import from_arrays

    given = data(n, dtype)
    model: Any = from_arrays("feedback_network", CONFIG, weights(COMPONENT, CONFIG, dtype))
    leaves = [one.value for one in model.trainable_weights]
    pairs = [tuple(map(tf.constant, pair)) for pair in matrices(n, dtype)]

    def ours(x: Any, labels: Any) -> Any:
        return level_losses(labels, *model(x))

    def plain(x: Any, labels: Any) -> Any:
        """keras.layers.GRU on the features, once for each level, and Keras's losses."""
        features = tf.nn.relu(model.norm(model.projection(x)))
        state, losses = tf.zeros_like(features), []
        for at, level in enumerate(model.levels):
            state, _ = model.gru.cell(features, [state])
            found = tf.nn.sparse_softmax_cross_entropy_with_logits(labels[:, at], level(state))
            losses.append(tf.reduce_mean(found))
        return tf.stack(losses)

    @tf.function
    def floor(pairs: Any) -> Any:
        """Each product, and the two of its gradient."""
        results = []
        for x, weight in pairs:
            found = x @ weight
            results += [
                tf.matmul(x, found, transpose_a=True),
                tf.matmul(found, weight, transpose_b=True),
            ]
        return results

    found = {"ours": tf2_run(ours, given, leaves), "GRUCell": tf2_run(plain, given, leaves)}
    if n == COMPILED_AT:
        found["XLA"] = tf2_run(ours, given, leaves, xla=True)
    return {**found, FLOOR: lambda: floor(pairs)}


@lru_cache
def theano_function(dtype: str) -> Any:
    import theano_impl  # isort: skip  # noqa: F401
    import theano.tensor as T

    from theano_impl.feedback_network import level_losses
    from theano_impl.interchange import from_arrays

    x, labels = T.matrix("x", dtype=dtype), T.lmatrix("labels")
    arrays = weights(COMPONENT, CONFIG, dtype)
    model: Any = from_arrays("feedback_network", CONFIG, arrays, inputs=[x])
    return theano_run(level_losses(labels, *model.output), [x, labels], model.params)


def in_theano(n: int, dtype: str) -> dict[str, Contender]:
    given, run = data(n, dtype), theano_function(dtype)
    pairs = matrices(n, dtype)

    def floor() -> None:
        """Each product, and the two of its gradient."""
        products(pairs, of_input=True)

    return {"ours": lambda: run(*given), FLOOR: floor}


def in_numpy(n: int, dtype: str) -> dict[str, Contender]:
    from numpy_infer.format.network import build

    x, _ = data(n, dtype)
    model = build(COMPONENT, CONFIG, weights(COMPONENT, CONFIG, dtype))[-1]
    pairs = matrices(n, dtype)

    def floor() -> None:
        """The products."""
        for x, weight in pairs:
            x @ weight

    return {"ours": lambda: model(x), FLOOR: floor}


BENCHMARK = Benchmark(
    title="Feedback network, forward and backward (NumPy: forward), 200 features, 64 hidden",
    size="rows",
    sizes=(32, 128, 512, 2048),
    contenders={"bench": in_torch, "tf2": in_tf2, "theano": in_theano, "numpy": in_numpy},
    growth={"ours": 1},
    differs={FLOOR: "only the products that no way avoids"},
)
