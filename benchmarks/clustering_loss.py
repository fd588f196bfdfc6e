"""Clustering loss, forward and backward: 64 clusters."""

from __future__ import annotations

from functools import lru_cache, partial
from typing import Any

import numpy as np

from benchmarks.contenders import tf2_run, theano_run, torch_run
from benchmarks.harness import FLOOR, Benchmark, Contender

CLUSTERS, EPSILON = 64, 1e-6
COMPILED_AT = 16_384  # rows: compiling takes seconds


def data(n: int, dtype: str) -> np.ndarray:
    rng = np.random.default_rng(n)
    return rng.dirichlet(np.ones(CLUSTERS), size=n).astype(dtype)


def in_torch(n: int, dtype: str) -> dict[str, Contender]:
    import torch

    from pytorch_impl.clustering_loss import clustering_loss

    p = torch.from_numpy(data(n, dtype)).requires_grad_()

    def plain() -> Any:
        """As in the seed: two entropies by their logarithms."""
        y = p + EPSILON
        mean = y.mean(0)
        return -(y.log() * y).sum(-1).mean() + (mean.log() * mean).sum()

    @torch.no_grad()
    def floor() -> Any:
        """The logarithms, one product of all with them, and one pass for the gradient."""
        logarithms = p.log()
        return p.flatten() @ logarithms.flatten(), logarithms.add_(1)

    found = {"ours": torch_run(lambda: clustering_loss(p), [p]), "plain": torch_run(plain, [p])}
    if n == COMPILED_AT:
        compiled = torch.compile(clustering_loss, dynamic=False)
        found["compiled"] = torch_run(lambda: compiled(p), [p])
    return {**found, FLOOR: floor}


def in_tf2(n: int, dtype: str) -> dict[str, Contender]:
    import tensorflow as tf

    from tf2_impl.clustering_loss import clustering_loss

    p = data(n, dtype)

    def plain(p: Any) -> Any:
        y = p + EPSILON
        mean = tf.reduce_mean(y, axis=0)
        return -tf.reduce_mean(tf.reduce_sum(tf.math.log(y) * y, axis=-1)) + tf.reduce_sum(
            tf.math.log(mean) * mean
        )

    @tf.function
    def passes(p: Any) -> Any:
        """The logarithms, one product of all with them, and one pass for the gradient."""
        logarithms = tf.math.log(p)
        return tf.tensordot(p, logarithms, 2), logarithms + 1

    given = tf.constant(p)
    found = {"ours": tf2_run(clustering_loss, [p]), "plain": tf2_run(plain, [p])}
    if n == COMPILED_AT:
        found["XLA"] = tf2_run(clustering_loss, [p], xla=True)
    return {**found, FLOOR: lambda: passes(given)}


@lru_cache
def theano_functions(dtype: str) -> dict[str, Any]:
    from theano_impl.clustering_loss import clustering_loss  # sets Theano up

    import theano  # isort: skip
    import theano.tensor as T  # isort: skip

    p = T.matrix("p", dtype=dtype)
    y = p + np.asarray(EPSILON, dtype)
    mean = T.mean(y, axis=0)
    plain = -T.mean(T.sum(T.log(y) * y, axis=1)) + T.sum(T.log(mean) * mean)
    logarithms = T.log(p)
    return {
        "ours": theano_run(clustering_loss(p), [p], [p]),
        "plain": theano_run(plain, [p], [p]),
        FLOOR: theano.function([p], [T.sum(p * logarithms), logarithms + 1]),
    }


def in_theano(n: int, dtype: str) -> dict[str, Contender]:
    p = data(n, dtype)
    return {name: partial(run, p) for name, run in theano_functions(dtype).items()}


BENCHMARK = Benchmark(
    title="Clustering loss, forward and backward, 64 clusters",
    size="rows",
    sizes=(1024, 4096, 16_384, 65_536),
    contenders={"bench": in_torch, "tf2": in_tf2, "theano": in_theano},
    growth={"ours": 1},
    differs={FLOOR: "only the logarithms and the passes that no way avoids"},
)
