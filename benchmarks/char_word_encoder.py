"""Word vectors from characters, forward and backward (NumPy: forward): 1 to 16 characters a word.

100 characters, 15 dimensions, 10 filters of 3 characters.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from benchmarks.contenders import tf2_run, theano_run, torch_run, weights
from benchmarks.harness import FLOOR, Benchmark, Contender

COMPONENT = "char_word_encoder.CharWordEncoder"
VOCABULARY, CHAR_DIM, FILTERS, WIDTH, LONGEST = 100, 15, 10, 3, 16
CONFIG = {
    "vocabulary_size": VOCABULARY,
    "char_dim": CHAR_DIM,
    "n_filters": FILTERS,
    "width": WIDTH,
}
MOST_PLAIN = 256  # words, one after the other
COMPILED_AT = 1024  # words: compiling takes seconds


def data(n: int) -> np.ndarray:
    """Ids, padded with 0."""
    rng = np.random.default_rng(n)
    ids = rng.integers(1, VOCABULARY, size=(n, LONGEST))
    ids[np.arange(LONGEST) >= rng.integers(1, LONGEST + 1, size=(n, 1))] = 0
    return ids


def windows(ids: np.ndarray) -> int:
    """How many there are inside the words."""
    return int(np.maximum((ids != 0).sum(1) - WIDTH + 1, 1).sum())


def in_torch(n: int, dtype: str) -> dict[str, Contender]:
    import torch
    from torch.nn import functional as F

    from pytorch_impl.interchange import from_arrays

    ids = torch.from_numpy(data(n))
    words = [row[row != 0] for row in ids]
    model: Any = from_arrays(COMPONENT, CONFIG, weights(COMPONENT, CONFIG, dtype))
    leaves = [model.table, *model.convolution.parameters()]
    given = torch.randn(windows(ids.numpy()), WIDTH * CHAR_DIM, dtype=model.table.dtype)
    kernel = model.convolution.weight.detach().flatten(1).T.contiguous()

    def plain() -> Any:
        """As in the seed: each word by itself."""
        found = []
        for word in words:
            word = F.pad(word, (0, max(0, WIDTH - len(word))))
            vectors = F.embedding(word, model.table, padding_idx=0)
            found.append(model.convolution(vectors.T[None])[0].max(1).values)
        return torch.stack(found)

    def peer() -> Any:
        """The usual way: the windows of the padding count, too."""
        vectors = F.embedding(ids, model.table, padding_idx=0)
        return F.max_pool1d(model.convolution(vectors.mT), LONGEST - WIDTH + 1)[..., 0]

    @torch.no_grad()
    def floor() -> None:
        """The products of the windows inside the words and of their gradients."""
        found = given @ kernel
        given.T @ found
        found @ kernel.T

    found = {"ours": torch_run(lambda: model(ids), leaves)}
    if n <= MOST_PLAIN:
        found["plain"] = torch_run(plain, leaves)
    if n == COMPILED_AT:
        compiled = torch.compile(model, dynamic=False)
        found["compiled"] = torch_run(lambda: compiled(ids), leaves)
    return {**found, "nn.Embedding, Conv1d, MaxPool1d": torch_run(peer, leaves), FLOOR: floor}


def in_tf2(n: int, dtype: str) -> dict[str, Contender]:
    import tensorflow as tf

    from tf2_impl.interchange import from_arrays

    ids = data(n)
    model: Any = from_arrays(COMPONENT, CONFIG, weights(COMPONENT, CONFIG, dtype))
    leaves = [one.value for one in model.trainable_weights]
    given = tf.random.normal((windows(ids), WIDTH * CHAR_DIM), dtype=dtype)
    kernel = tf.random.normal((WIDTH * CHAR_DIM, FILTERS), dtype=dtype)

    def peer(ids: Any) -> Any:
        """The usual way: the windows of the padding count, too."""
        return tf.reduce_max(model.convolution(tf.gather(model.table, ids)), axis=1)

    @tf.function
    def floor(given: Any, kernel: Any) -> Any:
        """The products of the windows inside the words and of their gradients."""
        found = given @ kernel
        return tf.matmul(given, found, transpose_a=True), tf.matmul(found, kernel, transpose_b=True)

    return {
        "ours": tf2_run(model, [ids], leaves),
        "Embedding, Conv1D, GlobalMaxPooling1D": tf2_run(peer, [ids], leaves),
        FLOOR: lambda: floor(given, kernel),
    }


@lru_cache
def theano_function(dtype: str) -> Any:
    import theano_impl  # isort: skip  # noqa: F401
    import theano.tensor as T

    from theano_impl.interchange import from_arrays

    ids = T.lmatrix("ids")
    arrays = weights(COMPONENT, CONFIG, dtype)
    model: Any = from_arrays(COMPONENT, CONFIG, arrays, inputs=[ids])
    return theano_run(model.output, [ids], model.params)


def in_theano(n: int, dtype: str) -> dict[str, Contender]:
    ids, run = data(n), theano_function(dtype)
    rng = np.random.default_rng(n)
    given = rng.normal(size=(windows(ids), WIDTH * CHAR_DIM)).astype(dtype)
    kernel = rng.normal(size=(WIDTH * CHAR_DIM, FILTERS)).astype(dtype)

    def floor() -> None:
        """The products of the windows inside the words and of their gradients."""
        found = given @ kernel
        given.T @ found
        found @ kernel.T

    return {"ours": lambda: run(ids), FLOOR: floor}


def in_numpy(n: int, dtype: str) -> dict[str, Contender]:
    from numpy_infer.format.network import build

    ids = data(n)
    words = [row[row != 0][None] for row in ids]
    model = build(COMPONENT, CONFIG, weights(COMPONENT, CONFIG, dtype))[-1]
    rng = np.random.default_rng(n)
    given = rng.normal(size=(windows(ids), WIDTH * CHAR_DIM)).astype(dtype)
    kernel = rng.normal(size=(WIDTH * CHAR_DIM, FILTERS)).astype(dtype)
    found: dict[str, Contender] = {"ours": lambda: model(ids)}
    if n <= MOST_PLAIN:
        found["one by one"] = lambda: np.concatenate([model(word) for word in words])

    def floor() -> np.ndarray:
        """The products of the windows inside the words."""
        return given @ kernel

    return {**found, FLOOR: floor}


BENCHMARK = Benchmark(
    title="Word vectors from characters, forward and backward (NumPy: forward), 1 to 16 characters",
    size="words",
    sizes=(64, 256, 1024, 4096),
    contenders={"bench": in_torch, "tf2": in_tf2, "theano": in_theano, "numpy": in_numpy},
    growth={"ours": 1},
    differs={
        "nn.Embedding, Conv1d, MaxPool1d": "a word's vector depends on its padding",
        "Embedding, Conv1D, GlobalMaxPooling1D": "a word's vector depends on its padding",
        FLOOR: "only the products that no way avoids",
    },
)
