"""Gradients of an embedding table scaled by frequency: a 20,000 × 64 table."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from benchmarks.harness import FLOOR, Benchmark, Contender

VOCABULARY, DIM = 20_000, 64
MOST_PLAIN = 1024  # ids, one after the other


def data(n: int, dtype: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The ids, the gradient of each, and the weights of all."""
    rng = np.random.default_rng(n)
    ids, rows = rng.integers(1, VOCABULARY, size=n), rng.normal(size=(n, DIM))
    return ids, rows.astype(dtype), rng.uniform(1, 9, size=VOCABULARY).astype(dtype)


def in_torch(n: int, dtype: str) -> dict[str, Contender]:
    import torch

    from pytorch_impl.frequency_scaling import scale_gradients_by_frequency

    ids, rows, weights = map(torch.from_numpy, data(n, dtype))
    table = torch.zeros(VOCABULARY, DIM, dtype=rows.dtype)
    sparse = torch.sparse_coo_tensor(ids[None], rows, table.shape, check_invariants=False)
    dense = sparse.to_dense()

    def ours(gradient: Any) -> Contender:
        def run() -> Any:
            table.grad = gradient.clone()  # it is scaled in place
            scale_gradients_by_frequency(table, weights)
            return table.grad

        return run

    def plain() -> Any:
        """As in the seed: row by row."""
        table.grad = sparse.clone()
        for row, own in zip(table.grad._values(), table.grad._indices()[0], strict=True):
            row.mul_(weights[own])
        return table.grad

    def floor() -> Any:
        """The rows read once and written once."""
        return rows.clone().mul_(2)

    found = {"sparse": ours(sparse), "dense": ours(dense)}
    if n <= MOST_PLAIN:
        found["plain"] = plain
    return {**found, FLOOR: floor}


def in_tf2(n: int, dtype: str) -> dict[str, Contender]:
    import tensorflow as tf

    from tf2_impl.frequency_scaling import scale_gradients_by_frequency

    ids, rows, weights = map(tf.constant, data(n, dtype))
    whole = tf.math.unsorted_segment_sum(rows, ids, VOCABULARY)

    @tf.function
    def sparse(ids: Any, rows: Any, weights: Any) -> Any:
        slices = tf.IndexedSlices(rows, ids, tf.constant((VOCABULARY, DIM)))
        scaled: Any = scale_gradients_by_frequency([slices], weights)[0]
        return scaled.values

    @tf.function
    def dense(whole: Any, weights: Any) -> Any:
        return scale_gradients_by_frequency([whole], weights)

    @tf.function
    def floor(rows: Any) -> Any:
        """The rows read once and written once."""
        return 2 * rows

    return {
        "sparse": lambda: sparse(ids, rows, weights),
        "dense": lambda: dense(whole, weights),
        FLOOR: lambda: floor(rows),
    }


@lru_cache
def theano_functions(dtype: str) -> dict[str, Any]:
    from theano_impl.frequency_scaling import scale_gradients_by_frequency  # sets Theano up

    import theano  # isort: skip
    import theano.tensor as T  # isort: skip

    ids, weights = T.lvector("ids"), T.vector("weights", dtype=dtype)
    rows, table = T.matrix("rows", dtype=dtype), T.matrix("table", dtype=dtype)
    gradient = T.grad(T.sum(table[ids] * rows), table)
    given = [ids, rows, weights, table]
    return {
        "rows": theano.function(given, scale_gradients_by_frequency([gradient], weights)),
        "table": theano.function(given, gradient * weights.dimshuffle(0, "x")),
        FLOOR: theano.function([ids, rows, table], gradient),
    }


def in_theano(n: int, dtype: str) -> dict[str, Contender]:
    ids, rows, weights = data(n, dtype)
    table, functions = np.zeros((VOCABULARY, DIM), dtype), theano_functions(dtype)
    return {
        "ours": lambda: functions["rows"](ids, rows, weights, table),
        "plain": lambda: functions["table"](ids, rows, weights, table),
        FLOOR: lambda: functions[FLOOR](ids, rows, table),
    }


BENCHMARK = Benchmark(
    title="Gradients scaled by frequency, 20,000 × 64 table",
    size="ids",
    sizes=(256, 1024, 4096, 16_384),
    contenders={"bench": in_torch, "tf2": in_tf2, "theano": in_theano},
    # A dense gradient is as large as the table, whatever the ids.
    growth={"sparse": 1},
    differs={
        "dense": "rows that come several times are one row; the sparse one is compared",
        FLOOR: "only the rows that no way avoids; in Theano the gradient without scaling",
    },
)
