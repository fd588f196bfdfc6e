"""Rare event memory: 64 queries, 64 dimensions, 10 classes; the loss and its gradient, the update.

NumPy: what the memory recalls.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from benchmarks.contenders import theano_run, torch_run
from benchmarks.harness import FLOOR, Benchmark, Contender, check_equal

QUERIES, DIM, CLASSES, MARGIN = 64, 64, 10, 0.1
COMPILED_AT = 16_384  # slots: compiling takes seconds


def data(size: int, dtype: str) -> list[np.ndarray]:
    """The queries, their labels, and the memory: keys, labels, ages."""
    rng = np.random.default_rng(size)
    keys = rng.normal(size=(size, DIM))
    keys /= np.linalg.norm(keys, axis=1, keepdims=True)
    queries, labels = rng.normal(size=(QUERIES, DIM)), rng.integers(CLASSES, size=QUERIES)
    key_labels, ages = rng.integers(CLASSES, size=size), rng.permutation(size)
    floats = [one.astype(dtype) for one in (queries, keys, key_labels, ages)]
    return [floats[0], labels, *floats[1:]]


def in_torch(size: int, dtype: str) -> dict[str, Contender]:
    import torch
    from torch.nn import functional as F

    from pytorch_impl.rare_event_memory import memory_loss, updated_memory

    given = [torch.from_numpy(one) for one in data(size, dtype)]
    queries, labels, keys, key_labels, ages = given
    queries.requires_grad_()

    def plain() -> Any:
        """As in the seed: each query looks for its two neighbors by itself."""
        hinges = []
        for query, label in zip(F.normalize(queries), labels, strict=True):
            similarities, same = keys @ query, key_labels == label
            near = similarities[same].max()
            hinges.append((MARGIN + similarities[~same].max() - near).relu())
        return torch.stack(hinges).mean()

    def sums() -> list[Any]:
        """The update of the memory, slot after slot, where none of the queries is NaN."""
        unit = F.normalize(queries.detach())
        nearest = (unit @ keys.T).argmax(1)
        match = key_labels[nearest] == labels
        new_keys, new_labels, used = keys.clone(), key_labels.clone(), torch.zeros(size).bool()
        for slot in nearest[match].unique():
            added = unit[match & (nearest == slot)].sum(0)
            new_keys[slot], used[slot] = F.normalize(keys[slot] + added, dim=0), True
        oldest = ages.masked_fill(used, -1).argsort(descending=True)[: int((~match).sum())]
        new_keys[oldest], new_labels[oldest], used[oldest] = (
            unit[~match],
            labels[~match].to(keys.dtype),
            True,
        )
        return [new_keys, new_labels, (ages + 1).masked_fill(used, 0)]

    @torch.no_grad()
    def floor() -> Any:
        """The product, and one pass over the similarities for both neighbors."""
        return (queries @ keys.T).max(1)

    @torch.no_grad()
    def floor_of_update() -> Any:
        """The product, one pass over the similarities, the new keys and the order of the ages."""
        return (queries @ keys.T).max(1), keys.clone(), ages.argsort()

    update = {
        "update": lambda: updated_memory(*given),
        "update, slot by slot": sums,
    }
    if dtype == "float64":  # the suite compares with the loss alone
        check_equal(update, {})
    found = {
        "loss": torch_run(lambda: memory_loss(*given[:4]), [queries]),
        "loss, plain": torch_run(plain, [queries]),
    }
    if size == COMPILED_AT:
        compiled = torch.compile(memory_loss, dynamic=False)
        found["loss, compiled"] = torch_run(lambda: compiled(*given[:4]), [queries])
    return {**found, **update, FLOOR: floor, "update, floor": floor_of_update}


def in_tf2(size: int, dtype: str) -> dict[str, Contender]:
    import tensorflow as tf

    from tf2_impl.rare_event_memory import memory_loss, updated_memory

    given = [tf.constant(one) for one in data(size, dtype)]
    queries, _, keys, *_ = given
    update = tf.function(updated_memory)

    def differentiated(loss: Any) -> Contender:
        others = given[1:4]

        @tf.function
        def run(queries: Any, *others: Any) -> Any:
            with tf.GradientTape() as tape:
                tape.watch(queries)
                found = loss(queries, *others)
            return found, tape.gradient(found, queries)

        return lambda: run(queries, *others)

    def plain(queries: Any, labels: Any, keys: Any, key_labels: Any) -> Any:
        """The largest of the similarities with masks."""
        similarities = tf.matmul(tf.math.l2_normalize(queries, 1), keys, transpose_b=True)
        same = key_labels == tf.cast(labels, keys.dtype)[:, None]
        low = tf.constant(-2, keys.dtype)
        near = tf.reduce_max(tf.where(same, similarities, low), axis=1)
        far = tf.reduce_max(tf.where(same, low, similarities), axis=1)
        return tf.reduce_mean(tf.nn.relu(MARGIN + far - near))

    @tf.function
    def product(queries: Any, keys: Any) -> Any:
        """The product, and one pass over the similarities for both neighbors."""
        return tf.reduce_max(tf.matmul(queries, keys, transpose_b=True), axis=1)

    return {
        "loss": differentiated(memory_loss),
        "loss, plain": differentiated(plain),
        "update": lambda: update(*given),
        FLOOR: lambda: product(queries, keys),
    }


@lru_cache
def theano_functions(dtype: str) -> dict[str, Any]:
    from theano_impl.rare_event_memory import memory_loss, updated_memory  # sets Theano up

    import theano  # isort: skip
    import theano.tensor as T  # isort: skip

    queries, keys = T.matrix("queries", dtype=dtype), T.matrix("keys", dtype=dtype)
    labels = T.lvector("labels")
    key_labels, ages = T.vector("key_labels", dtype=dtype), T.vector("ages", dtype=dtype)
    given = [queries, labels, keys, key_labels]
    update = updated_memory(queries, labels, keys, key_labels, ages)
    return {
        "loss": theano_run(memory_loss(*given), given, [queries]),
        "update": theano.function([*given, ages], list(update)),
        FLOOR: theano.function([queries, keys], T.max(T.dot(queries, keys.T), axis=1)),
    }


def in_theano(size: int, dtype: str) -> dict[str, Contender]:
    given, functions = data(size, dtype), theano_functions(dtype)
    return {
        "loss": lambda: functions["loss"](*given[:4]),
        "update": lambda: functions["update"](*given),
        FLOOR: lambda: functions[FLOOR](given[0], given[2]),
    }


def in_numpy(size: int, dtype: str) -> dict[str, Contender]:
    from numpy_infer.rare_event_memory import RareEventMemory, updated_memory
    from numpy_infer.support.layer import Input

    given = data(size, dtype)
    queries, _, keys, key_labels, ages = given
    model = RareEventMemory(Input(), keys, key_labels, ages)

    def plain() -> Any:
        """The nearest key by its similarity; the labels and the slots, the similarities."""
        similarities = queries / np.linalg.norm(queries, axis=1, keepdims=True) @ keys.T
        slots = similarities.argmax(axis=1)
        near = np.concatenate([queries, keys[slots]], axis=1)
        return [key_labels[slots], similarities.max(axis=1), slots, near]

    def floor() -> np.ndarray:
        """The product, and one pass over the similarities."""
        return (queries @ keys.T).max(axis=1)

    return {
        "recall": lambda: list(model(queries)),
        "recall, plain": plain,
        "update": lambda: list(updated_memory(*given)),
        FLOOR: floor,
    }


BENCHMARK = Benchmark(
    title="Rare event memory, 64 queries, 64 dimensions: loss and gradient, update; NumPy: recall",
    size="slots",
    sizes=(1024, 4096, 16_384, 65_536),
    contenders={"bench": in_torch, "tf2": in_tf2, "theano": in_theano, "numpy": in_numpy},
    growth={"loss": 1, "update": 1, "recall": 1},
    differs={
        "update": "no loss; in PyTorch compared slot by slot when it is made",
        "update, slot by slot": "compared with ours when it is made",
        "update, floor": "only the product, the pass, the copy and the order",
        FLOOR: "only the product and the pass that no way avoids",
    },
)
