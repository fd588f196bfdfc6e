"""Title encoder, the leave-one-out loss and its gradient (NumPy: vectors of bags).

Groups of 5 titles of 1 to 8 words against 5 other titles, a 20,000 × 64 table.
"""

from __future__ import annotations

from functools import lru_cache, partial
from typing import Any

import numpy as np

from benchmarks.contenders import tf2_run, theano_run, torch_run, weights
from benchmarks.harness import FLOOR, Benchmark, Contender

COMPONENT = "title_encoder.TitleEncoder"
VOCABULARY, DIM, TITLES, LONGEST, MARGIN = 20_000, 64, 5, 8, 0.2
CONFIG = {"vocabulary_size": VOCABULARY, "dim": DIM}
MOST_PLAIN = 32  # groups, one title after the other


def data(n: int) -> np.ndarray:
    """The titles of n groups and those from elsewhere, padded with 0: (2, n, titles, longest)."""
    rng = np.random.default_rng(n)
    ids = rng.integers(1, VOCABULARY, size=(2, n, TITLES, LONGEST))
    ids[np.arange(LONGEST) >= rng.integers(1, LONGEST + 1, size=(2, n, TITLES, 1))] = 0
    return ids


def in_torch(n: int, dtype: str) -> dict[str, Contender]:
    import torch
    from torch.nn import functional as F

    from pytorch_impl.interchange import from_arrays
    from pytorch_impl.title_encoder import TitleEncoder

    ids, negatives = both = torch.from_numpy(data(n))
    arrays = weights(COMPONENT, CONFIG, dtype)
    model: Any = from_arrays("title_encoder", CONFIG, arrays)
    table = model.table
    sparse = TitleEncoder(VOCABULARY, DIM, sparse=True)
    sparse.table = table
    bag = torch.nn.EmbeddingBag.from_pretrained(table, freeze=False, mode="sum", padding_idx=0)
    bag.weight = table
    flat = both[both != 0]
    rows = torch.randn(len(flat), DIM, dtype=table.dtype)
    lookup = partial(F.embedding, weight=table, padding_idx=0)

    def plain() -> Any:
        """Each title left out by itself, with the cosines of the rest and of the others."""
        hinges = []
        for own, others in zip(ids, negatives, strict=True):
            titles, far = (F.normalize(lookup(one).sum(1)) for one in (own, others))
            for place, title in enumerate(titles):
                rest = torch.cat([titles[:place], titles[place + 1 :]]).mean(0, keepdim=True)
                positive = F.cosine_similarity(rest, title[None])
                hinges.append((MARGIN - positive + F.cosine_similarity(rest, far)).relu())
        return torch.cat(hinges).mean()

    def peer() -> Any:
        """nn.EmbeddingBag and F.normalize; all titles at once."""
        vectors = F.normalize(bag(both.reshape(-1, LONGEST))).view(2, n, TITLES, DIM)
        titles, far = vectors
        rest = F.normalize(titles.sum(1, keepdim=True) - titles, dim=2)
        return (MARGIN - (rest * titles).sum(2, keepdim=True) + rest @ far.mT).relu().mean()

    @torch.no_grad()
    def floor() -> Any:
        """Each real row read once, each row of the gradient written once."""
        return table[flat].sum(0), torch.zeros_like(table).index_add_(0, flat, rows)

    found = {
        "dense gradient": torch_run(lambda: model.loss(ids, negatives), [table]),
        "sparse gradient": torch_run(lambda: sparse.loss(ids, negatives), [table]),
        "EmbeddingBag, F.normalize": torch_run(peer, [table]),
    }
    if n <= MOST_PLAIN:
        found["plain"] = torch_run(plain, [table])
    return {**found, FLOOR: floor}


def in_tf2(n: int, dtype: str) -> dict[str, Contender]:
    import tensorflow as tf

    from tf2_impl.interchange import from_arrays

    both = data(n)
    model: Any = from_arrays("title_encoder", CONFIG, weights(COMPONENT, CONFIG, dtype))
    table = model.table.value

    def plain(ids: Any, negatives: Any) -> Any:
        """Masks instead of checks; all titles at once."""

        def vectors(ids: Any) -> Any:
            mask = tf.cast(ids != 0, dtype)[..., None]
            return tf.math.l2_normalize(tf.reduce_sum(tf.gather(table, ids) * mask, 2), 2)

        titles, far = vectors(ids), vectors(negatives)
        rest = tf.math.l2_normalize(tf.reduce_sum(titles, 1, keepdims=True) - titles, 2)
        near = tf.reduce_sum(rest * titles, 2, keepdims=True)
        return tf.reduce_mean(tf.nn.relu(MARGIN - near + tf.matmul(rest, far, transpose_b=True)))

    flat = both[both != 0]
    rows = tf.random.normal((len(flat), DIM), dtype=dtype)

    @tf.function
    def floor(flat: Any, rows: Any) -> Any:
        """Each real row read once, each row of the gradient written once."""
        gradient = tf.math.unsorted_segment_sum(rows, flat, VOCABULARY)
        return tf.reduce_sum(tf.gather(table, flat), 0), gradient

    flat = tf.constant(flat)
    return {
        "dense gradient": tf2_run(model.loss, list(both), [table]),
        "plain": tf2_run(plain, list(both), [table]),
        FLOOR: lambda: floor(flat, rows),
    }


@lru_cache
def theano_function(dtype: str) -> Any:
    import theano_impl  # isort: skip  # noqa: F401
    import theano.tensor as T

    from theano_impl.interchange import from_arrays

    ids, negatives = T.ltensor3("ids"), T.ltensor3("negatives")
    model: Any = from_arrays("title_encoder", CONFIG, weights(COMPONENT, CONFIG, dtype))
    return theano_run(model.loss(ids, negatives), [ids, negatives], model.params)


def in_theano(n: int, dtype: str) -> dict[str, Contender]:
    both, run = data(n), theano_function(dtype)
    flat = both[both != 0]
    table = weights(COMPONENT, CONFIG, dtype)["table"]

    def floor() -> np.ndarray:
        """Each real row read once, each row of the gradient written once."""
        gradient = np.zeros_like(table)
        gradient[flat] = table[flat]
        return gradient

    return {"dense gradient": lambda: run(*both), FLOOR: floor}


def in_numpy(n: int, dtype: str) -> dict[str, Contender]:
    from numpy_infer.format.network import build

    ids = data(n)[0]
    arrays = weights(COMPONENT, CONFIG, dtype)
    table = arrays["table"]
    model: Any = build(COMPONENT, CONFIG, arrays)[-1]
    flat = ids[ids != 0]

    def plain() -> np.ndarray:
        """All ids looked up: row 0 of the table is zero."""
        titles = table[ids].sum(axis=2)
        titles /= np.linalg.norm(titles, axis=2, keepdims=True)
        return titles.mean(axis=1)

    def floor() -> np.ndarray:
        """Each real row read once."""
        return table[flat].sum(axis=0)

    return {"bags": lambda: model.bags(ids), "plain": plain, FLOOR: floor}


BENCHMARK = Benchmark(
    title="Title encoder, loss and gradient (NumPy: bags), 20,000 × 64 table, groups of 5 titles",
    size="groups",
    sizes=(8, 32, 128, 512),
    contenders={"bench": in_torch, "tf2": in_tf2, "theano": in_theano, "numpy": in_numpy},
    # The dense gradient is as large as the table, whatever the batch.
    growth={"sparse gradient": 1, "bags": 1},
    differs={FLOOR: "only the rows that no way avoids to read and to write"},
)
