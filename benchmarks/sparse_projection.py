"""Sparse projection, forward and backward: 10,000 features to 64, 0.5 % of them not zero."""

from __future__ import annotations

from functools import lru_cache, partial
from typing import Any

import numpy as np

from benchmarks.harness import FLOOR, XEON, Benchmark, Contender, Reason, Target, check_equal

FEATURES, OUT, SHARE = 10_000, 64, 0.005


def data(rows: int, dtype: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The input as a dense array, the weight, and the gradient from above."""
    rng = np.random.default_rng(rows)
    x = np.zeros((rows, FEATURES))
    filled = rng.random(x.shape) < SHARE
    x[filled] = rng.normal(size=filled.sum())
    weight, upstream = rng.normal(size=(FEATURES, OUT)), rng.normal(size=(rows, OUT))
    return x.astype(dtype), weight.astype(dtype), upstream.astype(dtype)


def in_bench(rows: int, dtype: str) -> dict[str, Contender]:
    import scipy.sparse
    import torch
    from torch.nn import functional as F

    from pytorch_impl.sparse_projection import SparseProjection

    arrays = data(rows, dtype)
    dense, weight, upstream = map(torch.from_numpy, arrays)
    x = dense.to_sparse_csr()
    starts, columns, values = x.crow_indices(), x.col_indices(), x.values()
    model = SparseProjection(FEATURES, OUT, bias=False)
    model.weight = torch.nn.Parameter(weight)
    leaf = weight.clone().requires_grad_()
    read = torch.ones(len(values), OUT, dtype=weight.dtype)

    def as_new() -> Any:
        """The same parts as another tensor: nothing that was kept for x serves it."""
        return torch.sparse_csr_tensor(starts, columns, values, x.shape, check_invariants=False)

    def differentiated(product: Any, leaf: Any = leaf) -> Any:
        y = product()
        (gradient,) = torch.autograd.grad(y, leaf, upstream)
        return y, gradient

    def bag() -> Any:
        return F.embedding_bag(columns, leaf, starts[:-1], mode="sum", per_sample_weights=values)

    def floor() -> Any:
        """Each stored place reads a row both ways, and the gradient is written once."""
        return read.sum(), read.sum(), torch.zeros_like(weight)

    in_scipy = scipy.sparse.csr_matrix(arrays[0])
    forward = {**numpy_forward(*arrays[:2]), "SciPy": lambda: in_scipy @ arrays[1]}
    if dtype == "float64":
        check_equal(forward, {})

    return {
        "new batch": lambda: differentiated(lambda: model(as_new()), model.weight),
        "same batch": lambda: differentiated(lambda: model(x), model.weight),
        "plain": lambda: differentiated(lambda: x @ leaf),
        "dense": lambda: differentiated(lambda: dense @ leaf),
        "EmbeddingBag": lambda: differentiated(bag),
        FLOOR: floor,
        **{f"{name}, forward": one for name, one in forward.items()},
    }


def in_tf2(rows: int, dtype: str) -> dict[str, Contender]:
    import tensorflow as tf

    from tf2_impl.sparse_projection import SparseProjection

    dense, weight, upstream = data(rows, dtype)
    model = SparseProjection(FEATURES, OUT, bias=False, dtype=dtype)
    model.weight.assign(weight)
    leaf = tf.Variable(weight)

    def differentiated(x: Any, product: Any, leaf: Any) -> Contender:
        @tf.function
        def run(x: Any, upstream: Any) -> Any:
            with tf.GradientTape() as tape:
                y = product(x)
            return y, tape.gradient(y, leaf, upstream)

        above = tf.constant(upstream)
        return lambda: run(x, above)

    given = tf.constant(dense)
    sparse = tf.sparse.from_dense(given)
    read = tf.ones((len(sparse.values), OUT), dtype)

    @tf.function
    def floor(read: Any) -> Any:
        """Each stored place reads a row both ways, and the gradient is written once."""
        return tf.reduce_sum(read), tf.reduce_sum(read, axis=0), tf.zeros((FEATURES, OUT), dtype)

    return {
        "new batch": differentiated(sparse, model, model.weight.value),
        "dense": differentiated(given, lambda x: tf.matmul(x, leaf), leaf),
        FLOOR: lambda: floor(read),
    }


@lru_cache
def theano_functions(dtype: str) -> dict[str, Any]:
    from theano_impl.sparse_projection import SparseProjection  # sets Theano up

    import theano  # isort: skip
    import theano.sparse  # isort: skip
    import theano.tensor as T  # isort: skip

    upstream = T.matrix("upstream", dtype=dtype)

    def of(x: Any) -> Any:
        with theano.config.change_flags(floatX=dtype):
            model = SparseProjection(x, FEATURES, OUT, bias=False)
        gradient = T.grad(None, model.weight, known_grads={model.output: upstream})
        run = theano.function([x, upstream], [model.output, gradient])
        return model.weight, run

    return {
        "new batch": of(theano.sparse.csr_matrix("x", dtype=dtype)),
        "dense": of(T.matrix("x", dtype=dtype)),
    }


def in_theano(rows: int, dtype: str) -> dict[str, Contender]:
    import scipy.sparse

    dense, weight, upstream = data(rows, dtype)
    given = {"new batch": scipy.sparse.csr_matrix(dense), "dense": dense}
    read = np.ones((np.count_nonzero(dense), OUT), dtype)
    functions = theano_functions(dtype)

    def floor() -> Any:
        """Each stored place reads a row both ways, and the gradient is written once."""
        return read.sum(), read.sum(), np.zeros_like(weight)

    found: dict[str, Contender] = {}
    for name, x in given.items():
        own, run = functions[name]
        own.set_value(weight)
        found[name] = partial(run, x, upstream)
    return {**found, FLOOR: floor}


def in_numpy(rows: int, dtype: str) -> dict[str, Contender]:
    dense, weight, _ = data(rows, dtype)
    read = np.ones((np.count_nonzero(dense), OUT), dtype)

    def floor() -> Any:
        """Each stored place reads a row, and each row is written once."""
        return read.sum(), np.zeros((rows, OUT), dtype)

    return {**numpy_forward(dense, weight), FLOOR: floor}


def numpy_forward(dense: np.ndarray, weight: np.ndarray) -> dict[str, Contender]:
    from numpy_infer.sparse_projection import SparseMatrix, SparseProjection
    from numpy_infer.support.layer import Input

    x, model = SparseMatrix.from_dense(dense), SparseProjection(Input(), weight)
    return {"NumPy": lambda: model(x), "NumPy, dense": lambda: dense @ weight}


FORWARD = ("NumPy, forward", "NumPy, dense, forward", "SciPy, forward")
ROW_BY_ROW = Reason(
    "SciPy adds rows of the weight where they lie; NumPy gathers them first, 0.25 of the 0.42 ms, "
    "and multiplies them, in two calls for each row of the input",
    "2026-11-21",
    XEON,
)
BENCHMARK = Benchmark(
    title="Sparse projection, forward and backward, 10,000 features to 64, 0.5 % not zero",
    size="rows",
    sizes=(64, 256, 512, 1024),
    contenders={"bench": in_bench, "tf2": in_tf2, "theano": in_theano, "numpy": in_numpy},
    targets=(
        Target("bench", "new batch", "dense", 256, 1 / 3),
        Target("bench", "new batch", "EmbeddingBag", 256, 1),
        Target("bench", "same batch", "EmbeddingBag", 256, 0.4),
        Target("bench", "NumPy, forward", "SciPy, forward", 256, 3, reason=ROW_BY_ROW),
    ),
    growth={"new batch": 1, "same batch": 1, "NumPy": 1, "NumPy, forward": 1},
    differs={
        FLOOR: "only as many rows as no way avoids to read and to write, in order",
        **dict.fromkeys(FORWARD, "no gradient; compared with each other when they are made"),
    },
    rest=0.05,
)
