"""Distances between all pairs of rows, forward and backward (NumPy: forward): 64 dimensions."""

from __future__ import annotations

from functools import lru_cache, partial
from typing import Any

import numpy as np

from benchmarks.contenders import tf2_run, theano_run, torch_run
from benchmarks.harness import FLOOR, Benchmark, Contender, check_equal

DIMENSIONS = 64
MOST_PLAIN = 512  # rows; its differences of 1024 rows are 64 million numbers
COMPILED_AT = 1024  # rows: compiling takes seconds


def data(n: int, dtype: str) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(n)
    x, y = rng.normal(size=(2, n, DIMENSIONS)) / DIMENSIONS**0.5
    return x.astype(dtype), y.astype(dtype)


def in_torch(n: int, dtype: str) -> dict[str, Contender]:
    import torch
    from torch.nn import functional as F

    from pytorch_impl.distances import cosine_similarity, pairwise_distances, squared_distances

    x, y = leaves = [torch.from_numpy(one).requires_grad_() for one in data(n, dtype)]

    def contender(distances: Any) -> Contender:
        return torch_run(lambda: distances(x, y), leaves)

    @torch.no_grad()
    def floor() -> Any:
        """The product, one pass over it, and the two products of the gradient."""
        product = (x @ y.T).mul_(-2)
        return product @ y, product.T @ x

    square = {"squared": contender(squared_distances)}
    square["squared, cdist"] = contender(lambda x, y: torch.cdist(x, y) ** 2)
    if n <= MOST_PLAIN:
        square["squared, plain"] = contender(lambda x, y: ((x[:, None] - y) ** 2).sum(2))
    if n == COMPILED_AT:
        square["squared, compiled"] = contender(torch.compile(squared_distances, dynamic=False))
    root = {
        "euclidean": contender(lambda x, y: pairwise_distances(x, y, distance="euclidean")),
        "euclidean, cdist": contender(torch.cdist),
    }
    cosine = {
        "cosine": contender(cosine_similarity),
        "cosine, F.normalize": contender(lambda x, y: F.normalize(x) @ F.normalize(y).T),
    }
    if dtype == "float64":  # the suite compares with the first alone
        check_equal(root, {})
        check_equal(cosine, {})
    return {**square, **root, **cosine, FLOOR: floor}


def in_tf2(n: int, dtype: str) -> dict[str, Contender]:
    import tensorflow as tf

    from tf2_impl.distances import squared_distances

    given = data(n, dtype)

    def plain(x: Any, y: Any) -> Any:
        return tf.reduce_sum((x[:, None] - y) ** 2, axis=2)

    @tf.function
    def products(x: Any, y: Any) -> Any:
        """The product, one pass over it, and the two products of the gradient."""
        product = -2 * tf.matmul(x, y, transpose_b=True)
        return product @ y, tf.matmul(product, x, transpose_a=True)

    x, y = map(tf.constant, given)
    found = {"squared": tf2_run(squared_distances, given)}
    if n <= MOST_PLAIN:
        found["squared, plain"] = tf2_run(plain, given)
    if n == COMPILED_AT:
        found["squared, XLA"] = tf2_run(squared_distances, given, xla=True)
    return {**found, FLOOR: lambda: products(x, y)}


@lru_cache
def theano_functions(dtype: str) -> dict[str, Any]:
    from theano_impl.distances import squared_distances  # sets Theano up

    import theano  # isort: skip
    import theano.tensor as T  # isort: skip

    x, y = given = [T.matrix(name, dtype=dtype) for name in "xy"]
    product = T.dot(x, y.T) * np.asarray(-2, dtype)
    return {
        "squared": theano_run(squared_distances(x, y), given, given),
        "squared, plain": theano_run(T.sum((x[:, None, :] - y) ** 2, axis=2), given, given),
        FLOOR: theano.function(given, [T.dot(product, y), T.dot(product.T, x)]),
    }


def in_theano(n: int, dtype: str) -> dict[str, Contender]:
    given = data(n, dtype)
    functions = theano_functions(dtype)
    return {
        name: partial(run, *given)
        for name, run in functions.items()
        if n <= MOST_PLAIN or "plain" not in name
    }


def in_numpy(n: int, dtype: str) -> dict[str, Contender]:
    from numpy_infer.distances import squared_distances

    x, y = data(n, dtype)

    def floor() -> np.ndarray:
        """The product, and one pass over it."""
        product = x @ y.T
        product *= -2
        return product

    found: dict[str, Contender] = {"squared": lambda: squared_distances(x, y)}
    if n <= MOST_PLAIN:
        found["squared, plain"] = lambda: ((x[:, None] - y) ** 2).sum(axis=2)
    return {**found, FLOOR: floor}


COMPARED = "another distance; compared with its peer when they are made"
BENCHMARK = Benchmark(
    title="Distances of all pairs, forward and backward (NumPy: forward), 64 dimensions",
    size="rows",
    sizes=(256, 512, 1024, 2048),
    contenders={"bench": in_torch, "tf2": in_tf2, "theano": in_theano, "numpy": in_numpy},
    growth={"squared": 2, "euclidean": 2, "cosine": 2},
    differs={
        "euclidean": COMPARED,
        "euclidean, cdist": COMPARED,
        "cosine": COMPARED,
        "cosine, F.normalize": COMPARED,
        FLOOR: "only the products and the pass that no way avoids",
    },
)
