"""One step of a sparse and a dense optimizer together: a 20,000 × 64 table and a 64 × 64 weight."""

from __future__ import annotations

from functools import lru_cache, partial
from typing import Any

import numpy as np

from benchmarks.harness import FLOOR, Benchmark, Contender

VOCABULARY, DIM, LR = 20_000, 64, 2**-9


def data(n: int, dtype: str) -> tuple[np.ndarray, ...]:
    """The table and the weight; the ids, their rows of the gradient, and that of the weight."""
    rng = np.random.default_rng(n)
    table, ids = rng.normal(size=(VOCABULARY, DIM)), rng.integers(1, VOCABULARY, size=n)
    weight, gradient = rng.normal(size=(2, DIM, DIM)).astype(dtype)
    return table.astype(dtype), weight, ids, rng.normal(size=(n, DIM)).astype(dtype), gradient


def in_torch(n: int, dtype: str) -> dict[str, Contender]:
    import torch
    from torch.optim import Adam, SparseAdam

    from pytorch_impl.sparse_dense_optimizer import SparseDenseOptimizer

    table, weight, ids, rows, gradient = map(torch.from_numpy, data(n, dtype))
    sparse = torch.sparse_coo_tensor(ids[None], rows, table.shape, check_invariants=False)

    def parameters(slices: Any) -> list[Any]:
        found = [table.clone().requires_grad_(), weight.clone().requires_grad_()]
        found[0].grad, found[1].grad = slices, gradient.clone()
        return found

    def contender(own: list[Any], optimizers: list[Any]) -> Contender:
        def run() -> Any:
            for one in optimizers:
                one.step()
            return own

        return run

    joined, apart, whole = (parameters(one) for one in (sparse, sparse, sparse.to_dense()))
    together = SparseDenseOptimizer(joined, sparse=SparseAdam, dense=Adam)
    state = [torch.zeros_like(table) for _ in range(3)]

    def floor() -> None:
        """The touched rows of the table and its state read and written once."""
        for one in state:
            one[ids] = one[ids] + rows

    return {
        "ours": contender(joined, [together]),
        "plain": contender(apart, [SparseAdam(apart[:1]), Adam(apart[1:])]),
        "Adam, dense": contender(whole, [Adam(whole)]),
        FLOOR: floor,
    }


def in_tf2(n: int, dtype: str) -> dict[str, Contender]:
    import keras
    import tensorflow as tf

    from tf2_impl.smorms3 import SMORMS3
    from tf2_impl.sparse_dense_optimizer import SparseDenseOptimizer

    table, weight, ids, rows, gradient = map(tf.constant, data(n, dtype))
    adam = partial(keras.optimizers.Adam, LR)

    def contender(make: Any) -> Contender:
        own = [keras.Variable(one, dtype=dtype) for one in (table, weight)]
        optimizers = make()
        parts = [own] if len(optimizers) == 1 else [own[:1], own[1:]]
        for optimizer, part in zip(optimizers, parts, strict=True):
            optimizer.build(part)

        @tf.function
        def step(ids: Any, rows: Any, gradient: Any) -> None:
            gradients = [tf.IndexedSlices(rows, ids, table.shape), gradient]
            found = [gradients] if len(optimizers) == 1 else [gradients[:1], gradients[1:]]
            for optimizer, given, part in zip(optimizers, found, parts, strict=True):
                optimizer.apply(given, part)

        def run() -> Any:
            step(ids, rows, gradient)
            return [one.value for one in own]

        return run

    state = [tf.Variable(tf.zeros_like(table)) for _ in range(4)]

    @tf.function
    def floor(ids: Any, rows: Any) -> None:
        """The touched rows of the table and its state read and written once."""
        for one in state:
            one.scatter_add(tf.IndexedSlices(rows, ids))

    return {
        "ours": contender(lambda: [SparseDenseOptimizer(SMORMS3(LR), adam())]),
        "plain": contender(lambda: [SMORMS3(LR), adam()]),
        "Adam": contender(lambda: [adam()]),
        FLOOR: lambda: floor(ids, rows),
    }


@lru_cache
def theano_functions(dtype: str) -> tuple[Any, dict[str, Any]]:
    """The shared variables and the functions."""
    from theano_impl.smorms3 import SMORMS3  # sets Theano up
    from theano_impl.sparse_dense_optimizer import SparseDenseOptimizer

    import theano  # isort: skip
    import theano.tensor as T  # isort: skip

    rng = np.random.default_rng(1)
    shapes = (VOCABULARY, DIM), (DIM, DIM)
    ids, rows = T.lvector("ids"), T.matrix("rows", dtype=dtype)
    gradient = T.matrix("gradient", dtype=dtype)
    own = [theano.shared(rng.normal(size=one).astype(dtype)) for one in shapes]
    gradients = [T.grad(T.sum(own[0][ids] * rows), own[0]), gradient]
    made = partial(SMORMS3, lr=LR)
    together = SparseDenseOptimizer(own, sparse=made, dense=made).updates(gradients)
    apart = [*made(own[:1]).updates(gradients[:1]).items()]
    apart += made(own[1:]).updates(gradients[1:]).items()
    rest = [theano.shared(np.zeros(shapes[0], dtype)) for _ in range(4)]
    touched = [(one, T.inc_subtensor(one[ids], rows)) for one in rest]
    given = [ids, rows, gradient]
    return own, {
        "ours": theano.function(given, [], updates=together),
        "plain": theano.function(given, [], updates=apart),
        FLOOR: theano.function(given[:2], [], updates=touched),
    }


def in_theano(n: int, dtype: str) -> dict[str, Contender]:
    table, weight, ids, rows, gradient = data(n, dtype)
    own, functions = theano_functions(dtype)

    def contender(run: Any) -> Contender:
        def moved() -> Any:
            if dtype == "float64":  # to be compared: both from the same start
                own[0].set_value(table)
                own[1].set_value(weight)
            run(ids, rows, gradient)
            return [one.get_value(borrow=dtype == "float32") for one in own]

        return moved

    floor = functions[FLOOR]
    return {
        **{name: contender(functions[name]) for name in ("ours", "plain")},
        FLOOR: lambda: floor(ids, rows),
    }


BENCHMARK = Benchmark(
    title="One step of a sparse and a dense optimizer, 20,000 × 64 table and 64 × 64 weight",
    size="ids",
    sizes=(128, 512, 2048, 8192),
    contenders={"bench": in_torch, "tf2": in_tf2, "theano": in_theano},
    growth={"ours": 1},
    differs={
        "Adam, dense": "also moves the rows that have no gradient",
        "Adam": "another rule, and it moves every row",
        FLOOR: "only the rows that no way avoids",
    },
)
