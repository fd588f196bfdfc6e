"""Triplet mining with the loss on what it found, forward and backward; and the search alone.

64 dimensions, 10 classes, unsquared Euclidean distances.
"""

from __future__ import annotations

from functools import lru_cache, partial
from typing import Any
from unittest.mock import patch

from benchmarks.contenders import labeled_rows, tf2_run, theano_run
from benchmarks.harness import FLOOR, Benchmark, Contender, Target, check_equal

MARGIN = 0.3
LOSS: dict[str, Any] = {"margin": MARGIN, "distance": "euclidean"}
MOST_PLAIN = 1024  # rows; of more the n³ comparisons take many seconds


def in_torch(n: int, dtype: str) -> dict[str, Contender]:
    import torch
    from pytorch_metric_learning.distances import LpDistance
    from pytorch_metric_learning.losses import TripletMarginLoss
    from pytorch_metric_learning.miners import BatchHardMiner
    from pytorch_metric_learning.reducers import MeanReducer

    from pytorch_impl.fast import triplet_mining as fast
    from pytorch_impl.triplet_loss import triplet_loss
    from pytorch_impl.triplet_mining import batch_hard_triplets, semi_hard_triplets

    x, labels = map(torch.from_numpy, labeled_rows(n, dtype))
    leaf = x.clone().requires_grad_()
    distance = LpDistance(normalize_embeddings=False)
    miner = BatchHardMiner(distance=distance)
    peer_loss = TripletMarginLoss(margin=MARGIN, distance=distance, reducer=MeanReducer())

    def differentiated(loss: Any) -> Any:
        value = loss(leaf, labels)
        return value, *torch.autograd.grad(value, leaf)

    def ours(embeddings: Any, labels: Any) -> Any:
        found = batch_hard_triplets(embeddings, labels, distance="euclidean")
        rows = (embeddings.index_select(0, index) for index in found)
        return triplet_loss(*rows, **LOSS)

    def plain(embeddings: Any, labels: Any) -> Any:
        """The two extremes of the distances themselves, with their gradient."""
        distances = torch.cdist(embeddings, embeddings)
        same = labels[:, None] == labels
        far = distances.masked_fill(~same, -torch.inf).amax(1)
        near = distances.masked_fill(same, torch.inf).amin(1)
        return torch.relu(MARGIN + far - near).mean()

    def peer(embeddings: Any, labels: Any) -> Any:
        return peer_loss(embeddings, labels, miner(embeddings, labels))

    def floor() -> Any:
        """The product, and one pass for each of the two extremes."""
        product = x @ x.T
        return product.amax(1), product.amin(1)

    def semi_hard() -> Any:
        return tuple(semi_hard_triplets(x, labels, **LOSS))

    def semi_hard_plain() -> Any:
        """Every triplet compared."""
        with patch.object(fast, "applies", return_value=False):
            return semi_hard()

    search: dict[str, Contender] = {"semi-hard": semi_hard, "semi-hard, plain": semi_hard_plain}
    if n > MOST_PLAIN:
        del search["semi-hard, plain"]
    if dtype == "float64":  # the other comparison: the suite makes one
        check_equal(search, {})
    return {
        "batch hard": lambda: differentiated(ours),
        "plain": lambda: differentiated(plain),
        "BatchHardMiner": lambda: differentiated(peer),
        **search,
        FLOOR: floor,
    }


def in_tf2(n: int, dtype: str) -> dict[str, Contender]:
    import tensorflow as tf

    from tf2_impl.triplet_loss import triplet_loss
    from tf2_impl.triplet_mining import batch_hard_triplets, semi_hard_triplets

    batch = labeled_rows(n, dtype)
    x, labels = map(tf.constant, batch)

    def ours(embeddings: Any, labels: Any) -> Any:
        found = batch_hard_triplets(embeddings, labels, distance="euclidean")
        return triplet_loss(*(tf.gather(embeddings, index) for index in found), **LOSS)

    def plain(embeddings: Any, labels: Any) -> Any:
        """The two extremes of the distances themselves, with their gradient."""
        square = tf.reduce_sum(embeddings * embeddings, axis=1)
        product = tf.matmul(embeddings, embeddings, transpose_b=True)
        squared = square[:, None] + square - 2 * product
        same = labels[:, None] == labels
        infinity = tf.constant(float("inf"), embeddings.dtype)
        far = tf.sqrt(tf.reduce_max(tf.where(same, squared, -infinity), axis=1))
        near = tf.sqrt(tf.reduce_min(tf.where(same, infinity, squared), axis=1))
        return tf.reduce_mean(tf.nn.relu(MARGIN + far - near))

    @tf.function
    def semi_hard(embeddings: Any, labels: Any) -> Any:
        return tuple(semi_hard_triplets(embeddings, labels, **LOSS))

    @tf.function
    def floor(x: Any) -> Any:
        """The product, and one pass for each of the two extremes."""
        product = tf.matmul(x, x, transpose_b=True)
        return tf.reduce_max(product, axis=1), tf.reduce_min(product, axis=1)

    return {
        "batch hard": tf2_run(ours, batch),
        "plain": tf2_run(plain, batch),
        "batch hard, XLA": tf2_run(ours, batch, xla=True),
        "semi-hard": lambda: semi_hard(x, labels),
        FLOOR: lambda: floor(x),
    }


@lru_cache
def theano_functions(dtype: str) -> dict[str, Any]:
    from theano_impl.triplet_loss import triplet_loss  # sets Theano up

    import theano  # isort: skip
    import theano.tensor as T  # isort: skip

    from theano_impl.triplet_mining import batch_hard_triplets, semi_hard_triplets

    x, labels = batch = [T.matrix("x", dtype=dtype), T.lvector("labels")]
    found = batch_hard_triplets(x, labels, distance="euclidean")
    product = T.dot(x, x.T)
    return {
        "batch hard": theano_run(triplet_loss(*(x[index] for index in found), **LOSS), batch, [x]),
        "semi-hard": theano.function(batch, list(semi_hard_triplets(x, labels, **LOSS))),
        # The product, and one pass for each of the two extremes.
        FLOOR: theano.function([x], [T.max(product, axis=1), T.min(product, axis=1)]),
    }


def in_theano(n: int, dtype: str) -> dict[str, Contender]:
    x, labels = labeled_rows(n, dtype)
    return {
        name: partial(run, x) if name == FLOOR else partial(run, x, labels)
        for name, run in theano_functions(dtype).items()
    }


BENCHMARK = Benchmark(
    title="Batch-hard mining and loss, forward and backward, 64 dimensions, 10 classes",
    size="rows",
    sizes=(256, 1024, 2048, 4096),
    contenders={"bench": in_torch, "tf2": in_tf2, "theano": in_theano},
    targets=(Target("bench", "batch hard", "BatchHardMiner", 1024, 1 / 3),),
    growth={"batch hard": 2, "semi-hard": 2},
    differs={
        "semi-hard": "other triplets; compared with every triplet when they are made",
        "semi-hard, plain": "compared with ours when they are made",
        FLOOR: "only the product and the passes that no way avoids",
    },
)
