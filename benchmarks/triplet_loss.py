"""Triplet losses, forward and backward: all triplets of a batch, and triplets that are given.

64 dimensions, 10 classes, unsquared Euclidean distances.
"""

from __future__ import annotations

from functools import lru_cache, partial
from typing import Any
from unittest.mock import patch

import numpy as np

from benchmarks.contenders import labeled_rows, tf2_run, theano_run
from benchmarks.harness import FLOOR, Benchmark, Contender, Target, check_equal

DIMENSIONS, MARGIN = 64, 0.3
OPTIONS: dict[str, Any] = {"margin": MARGIN, "distance": "euclidean"}
COMPILED_AT = 2048  # rows: compiling takes seconds
MOST_FORMED = 512  # rows; of 1024 the 95 million triplets would take gigabytes
MOST_PLAIN = 512  # rows; of more the n³ comparisons take many seconds
REDUCTIONS = ("mean", "active")


def given(n: int, dtype: str) -> np.ndarray:
    """Anchors, positives and negatives."""
    rng = np.random.default_rng(n)
    return (rng.normal(size=(3, n, DIMENSIONS)) / DIMENSIONS**0.5).astype(dtype)


def in_torch(n: int, dtype: str) -> dict[str, Contender]:
    import torch
    from pytorch_metric_learning.distances import LpDistance
    from pytorch_metric_learning.losses import TripletMarginLoss
    from pytorch_metric_learning.reducers import AvgNonZeroReducer, MeanReducer

    from pytorch_impl.fast import triplet_loss as fast
    from pytorch_impl.triplet_loss import all_triplets_loss, triplet_loss

    x, labels = map(torch.from_numpy, labeled_rows(n, dtype))
    leaf = x.clone().requires_grad_()
    rows = [row.requires_grad_() for row in torch.from_numpy(given(n, dtype))]
    built_in = torch.nn.TripletMarginLoss(margin=MARGIN, eps=0)
    reducers = {"mean": MeanReducer, "active": AvgNonZeroReducer}

    def of_batch(loss: Any) -> Contender:
        def run() -> Any:
            value = loss(leaf, labels)
            return value, *torch.autograd.grad(value, leaf)

        return run

    def of_given(loss: Any) -> Contender:
        def run() -> Any:
            value = loss(*rows)
            return value, *torch.autograd.grad(value, rows)

        return run

    def ours(reduction: str) -> Contender:
        return of_batch(lambda *batch: all_triplets_loss(*batch, reduction=reduction, **OPTIONS))

    def peer(reduction: str) -> Contender:
        distance = LpDistance(normalize_embeddings=False)
        reducer = reducers[reduction]()
        return of_batch(TripletMarginLoss(margin=MARGIN, distance=distance, reducer=reducer))

    def plain(*batch: Any) -> Any:
        """Every triplet compared."""
        with patch.object(fast, "applies", return_value=False):
            return all_triplets_loss(*batch, **OPTIONS)

    def floor() -> Any:
        """The product, one pass over its square, and the product of the gradient."""
        return (x @ x.T).clamp_(min=0) @ x

    batch = {f"all, {reduction}": ours(reduction) for reduction in REDUCTIONS}
    if n <= MOST_FORMED:
        batch |= {f"all, {reduction}, peer": peer(reduction) for reduction in REDUCTIONS}
    if n <= MOST_PLAIN:
        batch["all, plain"] = of_batch(plain)
    if n == COMPILED_AT:
        compiled = torch.compile(all_triplets_loss, dynamic=False)
        batch["all, mean, compiled"] = of_batch(lambda *batch: compiled(*batch, **OPTIONS))
    listed = {
        "given": of_given(lambda *rows: triplet_loss(*rows, **OPTIONS)),
        "given, nn.TripletMarginLoss": of_given(built_in),
    }
    if dtype == "float64":  # the other two comparisons: the suite makes one
        check_equal(listed, {})
        check_equal({name: run for name, run in batch.items() if "active" in name}, {})
    return {**batch, **listed, FLOOR: floor}


def in_tf2(n: int, dtype: str) -> dict[str, Contender]:
    import tensorflow as tf

    from tf2_impl.fast import triplet_loss as fast
    from tf2_impl.triplet_loss import all_triplets_loss, triplet_loss

    batch, rows = labeled_rows(n, dtype), list(given(n, dtype))

    def plain(*batch: Any) -> Any:
        """Every triplet compared: the way is chosen when the graph is traced."""
        with patch.object(fast, "applies", return_value=False):
            return all_triplets_loss(*batch, **OPTIONS)

    @tf.function
    def floor(x: Any) -> Any:
        """The product, one pass over its square, and the product of the gradient."""
        return tf.matmul(tf.nn.relu(tf.matmul(x, x, transpose_b=True)), x)

    def ours(reduction: str) -> Any:
        return lambda *batch: all_triplets_loss(*batch, reduction=reduction, **OPTIONS)

    found = {f"all, {reduction}": tf2_run(ours(reduction), batch) for reduction in REDUCTIONS}
    if n <= MOST_PLAIN:
        found["all, plain"] = tf2_run(plain, batch)
    if n == MOST_FORMED:  # the plain way, of n³ comparisons
        found["all, mean, XLA"] = tf2_run(ours("mean"), batch, xla=True)
    found["given"] = tf2_run(lambda *rows: triplet_loss(*rows, **OPTIONS), rows)
    x = tf.constant(batch[0])
    return {**found, FLOOR: lambda: floor(x)}


@lru_cache
def theano_functions(dtype: str) -> dict[str, Any]:
    from theano_impl.fast import triplet_loss as fast
    from theano_impl.triplet_loss import all_triplets_loss, triplet_loss  # sets Theano up

    import theano  # isort: skip
    import theano.tensor as T  # isort: skip

    x, _ = batch = [T.matrix("x", dtype=dtype), T.lvector("labels")]
    rows = [T.matrix(name, dtype=dtype) for name in ("anchor", "positive", "negative")]

    def ours(reduction: str) -> Any:
        loss = all_triplets_loss(*batch, reduction=reduction, **OPTIONS)
        return theano_run(loss, batch, [x])

    with patch.object(fast, "applies", return_value=False):  # every triplet compared
        plain = ours("mean")
    return {
        **{f"all, {reduction}": ours(reduction) for reduction in REDUCTIONS},
        "all, plain": plain,
        "given": theano_run(triplet_loss(*rows, **OPTIONS), rows, rows),
        # The product, one pass over its square, and the product of the gradient.
        FLOOR: theano.function([x], T.dot(T.maximum(T.dot(x, x.T), 0), x)),
    }


def in_theano(n: int, dtype: str) -> dict[str, Contender]:
    x, labels = labeled_rows(n, dtype)
    arguments = {"given": tuple(given(n, dtype)), FLOOR: (x,)}
    return {
        name: partial(run, *arguments.get(name, (x, labels)))
        for name, run in theano_functions(dtype).items()
        if n <= MOST_PLAIN or name != "all, plain"
    }


BENCHMARK = Benchmark(
    title="Triplet losses, forward and backward, 64 dimensions, 10 classes",
    size="rows",
    sizes=(256, 512, 2048, 4096),
    contenders={"bench": in_torch, "tf2": in_tf2, "theano": in_theano},
    targets=(
        Target("bench", "all, mean", "all, mean, peer", 512, 1 / 25),
        Target("bench", "all, active", "all, active, peer", 512, 1 / 25),
        Target("bench", "all, mean", None, 4096, 12 * 4096**2 * 4, memory=True),
        Target("bench", "given", "given, nn.TripletMarginLoss", 512, 1),
        Target("bench", "given", "given, nn.TripletMarginLoss", 4096, 1),
    ),
    growth={"all, mean": 2, "all, active": 2},
    differs={
        "all, active": "another mean; compared with its peer when they are made",
        "all, active, peer": "compared with ours when they are made",
        "given": "other triplets; compared with the built-in loss when they are made",
        "given, nn.TripletMarginLoss": "compared with ours when they are made",
        FLOOR: "only the products and the pass that no way avoids",
    },
)
