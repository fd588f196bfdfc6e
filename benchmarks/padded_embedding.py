"""Padded embedding, forward and backward: a 50,000 × 64 table, lists of 1 to 30 ids, the mean."""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.harness import FLOOR, Benchmark, Contender, Target

VOCABULARY, DIM, LONGEST = 50_000, 64, 30


def data(lists: int, dtype: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The padded ids, the table with its row 0 zero, and the gradient from above."""
    rng = np.random.default_rng(lists)
    ids = rng.integers(1, VOCABULARY, size=(lists, LONGEST))
    ids[np.arange(LONGEST) >= rng.integers(1, LONGEST + 1, size=(lists, 1))] = 0
    table = rng.normal(size=(VOCABULARY, DIM))
    table[0] = 0
    return ids, table.astype(dtype), rng.normal(size=(lists, DIM)).astype(dtype)


def in_torch(lists: int, dtype: str) -> dict[str, Contender]:
    import torch
    from torch.nn import EmbeddingBag

    from pytorch_impl.padded_embedding import PaddedEmbedding

    ids, table, upstream = map(torch.from_numpy, data(lists, dtype))
    real = ids != 0
    flat, count = ids[real], real.sum(1)
    offsets = count.cumsum(0) - count

    def ours(sparse: bool) -> Any:
        model = PaddedEmbedding(VOCABULARY, DIM, sparse=sparse)
        model.table = torch.nn.Parameter(table)
        return model

    def peer(**options: Any) -> Any:
        return EmbeddingBag.from_pretrained(table, freeze=False, mode="mean", **options)

    def contender(model: Any, *given: Any) -> Contender:
        (leaf,) = model.parameters()

        def run() -> Any:
            vectors = model(*given)
            (gradient,) = torch.autograd.grad(vectors, leaf, upstream)
            return vectors, gradient

        return run

    leaf = table.clone().requires_grad_()
    read = torch.ones(len(flat), DIM, dtype=table.dtype)

    def plain() -> Any:
        """All ids looked up, the padding masked out of the sum, and the sum divided."""
        mask = (ids != 0)[:, :, None].to(leaf.dtype)
        vectors = (leaf[ids] * mask).sum(1) / mask.sum(1)
        (gradient,) = torch.autograd.grad(vectors, leaf, upstream)
        return vectors, gradient

    def floor() -> Any:
        """Each real id reads a row, and writes one of the gradient."""
        return read.sum(), torch.zeros_like(read)

    return {
        "dense gradient": contender(ours(sparse=False), ids),
        "sparse gradient": contender(ours(sparse=True), ids),
        "plain": plain,
        "EmbeddingBag, padded": contender(peer(padding_idx=0), ids),
        "EmbeddingBag, flat": contender(peer(), flat, offsets),
        "EmbeddingBag, flat, sparse": contender(peer(sparse=True), flat, offsets),
        FLOOR: floor,
    }


def in_tf2(lists: int, dtype: str) -> dict[str, Contender]:
    import tensorflow as tf

    from tf2_impl.padded_embedding import PaddedEmbedding

    ids, table, upstream = map(tf.constant, data(lists, dtype))
    model = PaddedEmbedding(VOCABULARY, DIM, dtype=dtype)
    model.table.assign(table)

    def differentiated(vectors_of: Any) -> Contender:
        @tf.function
        def run() -> Any:
            with tf.GradientTape() as tape:
                vectors = vectors_of(ids)
            return vectors, tape.gradient(vectors, model.table.value, upstream)

        def dense() -> Any:
            vectors, gradient = run()
            return vectors, tf.convert_to_tensor(gradient)

        return dense

    def plain(ids: Any) -> Any:
        mask = tf.cast(ids != 0, dtype)[:, :, None]
        return tf.reduce_sum(tf.gather(model.table, ids) * mask, 1) / tf.reduce_sum(mask, 1)

    read = tf.ones((tf.math.count_nonzero(ids), DIM), dtype)

    @tf.function
    def floor(read: Any) -> Any:
        """Each real id reads a row, and writes one of the gradient."""
        return tf.reduce_sum(read), tf.zeros_like(read)

    found = {"ours": differentiated(model), "plain": differentiated(plain)}
    return {**found, FLOOR: lambda: floor(read)}


def in_theano(lists: int, dtype: str) -> dict[str, Contender]:
    from theano_impl.padded_embedding import PaddedEmbedding  # sets Theano up

    import theano  # isort: skip
    import theano.tensor as T  # isort: skip

    ids, table, upstream = data(lists, dtype)
    symbol = T.lmatrix("ids")
    with theano.config.change_flags(floatX=dtype):
        model = PaddedEmbedding(symbol, VOCABULARY, DIM)
    model.table.set_value(table)

    def contender(vectors: Any) -> Contender:
        gradient = T.grad(None, model.table, known_grads={vectors: T.constant(upstream)})
        run = theano.function([symbol], [vectors, gradient])
        return lambda: run(ids)

    mask = T.cast(T.neq(symbol, 0), dtype)[:, :, None]
    plain = T.sum(model.table[symbol] * mask, axis=1) / T.sum(mask, axis=1)
    read = np.ones((np.count_nonzero(ids), DIM), dtype)

    def floor() -> Any:
        """Each real id reads a row, and writes one of the gradient."""
        return read.sum(), np.zeros_like(read)

    return {"ours": contender(model.output), "plain": contender(plain), FLOOR: floor}


BENCHMARK = Benchmark(
    title="Padded embedding, forward and backward, 50,000 × 64 table, lists of 1 to 30 ids",
    size="lists",
    sizes=(128, 512, 2048, 8192),
    contenders={"bench": in_torch, "tf2": in_tf2, "theano": in_theano},
    targets=(
        Target("bench", "dense gradient", "EmbeddingBag, padded", 512, 1),
        Target("bench", "dense gradient", "EmbeddingBag, flat", 512, 1.6),
        Target("bench", "sparse gradient", "dense gradient", 512, 1 / 2),
    ),
    # The dense gradient is as large as the table, whatever the batch.
    growth={"sparse gradient": 1, "ours": 1},
    differs={FLOOR: "only as many rows as no way avoids to read and to write, in order"},
)
