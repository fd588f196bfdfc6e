"""Definition of the queue of past embeddings: row after row goes into a list."""

from __future__ import annotations

import numpy as np

from fourfold.definition import BadInput, Case, Definition, Mutant, Operation
from shared_tests.fixtures import digits, normal

FRAMEWORKS = ("pytorch_impl", "tf2_impl", "theano_impl")


def embedding_queue(embeddings, labels, sizes, features, capacity):
    """What the queue holds after batches of these sizes."""
    assert sum(sizes) == len(embeddings)
    held = {}
    for i, row in enumerate(zip(embeddings, labels, strict=True)):
        held[i % capacity] = row
    rows = [held[slot] for slot in sorted(held)]
    return {
        "embeddings": np.array([x for x, _ in rows]).reshape(-1, features),
        "labels": np.array([y for _, y in rows], int),
    }


def batches(*sizes, seed=1):
    """Rows for batches of these sizes, and labels that no floating point number below 64 bit has."""
    n = sum(sizes)
    labels = 2**60 + np.arange(n) * 7 % 5
    return {"embeddings": normal(n, 3, seed=seed), "labels": labels, "sizes": np.array(sizes)}


SEVEN = {"features": 3, "capacity": 7}
PIXELS, NUMBERS = digits(23)

DEFINITION = Definition(
    "embedding_queue",
    operations=(
        Operation(
            "EmbeddingQueue",
            embedding_queue,
            cases=(
                Case("oldest overwritten", batches(3, 5, 3), SEVEN),
                Case("not full", batches(2, 3), SEVEN),
                Case("just full", batches(2, 5), SEVEN),
                Case("one over", batches(2, 6), SEVEN),
                Case("more rows than slots", batches(3, 17, 2), SEVEN),
                Case("as many rows as slots", batches(2, 7), SEVEN),
                Case("one slot", batches(2, 1), {"features": 3, "capacity": 1}),
                Case("empty batches", batches(0, 3, 0), SEVEN),
                Case("nothing", batches(0), SEVEN),
                Case(
                    "digits",
                    {"embeddings": PIXELS, "labels": NUMBERS, "sizes": np.array([11, 5, 7])},
                    {"features": 64, "capacity": 13},
                ),
            ),
            bad_inputs=(
                BadInput({"features": 0}),
                BadInput({"capacity": 0}),
                BadInput({"capacity": 2.5}, TypeError),
                BadInput({"embeddings": np.ones((11, 3), int)}, TypeError),
                BadInput({"embeddings": np.ones((11, 5))}),
                BadInput({"embeddings": np.ones(11)}),
                BadInput({"labels": np.ones(11)}, TypeError),
                BadInput({"labels": np.ones((11, 1), int)}),
            ),
            differentiable=False,
        ),
    ),
    mutants=(
        Mutant(
            "every batch from the first slot on",
            "EmbeddingQueue",
            "oldest overwritten",
            {
                "pytorch_impl": ("self.count + kept", "kept"),
                "tf2_impl": ("tf.convert_to_tensor(self.count) + kept", "kept"),
                "theano_impl": ("self.count + kept", "kept"),
            },
        ),
        Mutant(
            "the first ones stay of more rows than slots",
            "EmbeddingQueue",
            "more rows than slots",
            {
                "pytorch_impl": (
                    "torch.arange(max(n - capacity, 0), n, ",
                    "torch.arange(min(n, capacity), ",
                ),
                "tf2_impl": (
                    "tf.range(tf.maximum(n - capacity, 0), n)",
                    "tf.range(tf.minimum(n, capacity))",
                ),
                "theano_impl": (
                    "T.arange(T.maximum(n - capacity, 0), n)",
                    "T.arange(T.minimum(n, capacity))",
                ),
            },
        ),
        Mutant(
            "empty slots among what is held",
            "EmbeddingQueue",
            "not full",
            {
                "pytorch_impl": ("min(int(self.count), len(self.labels))", "len(self.labels)"),
                "tf2_impl": (
                    'tf.minimum(tf.convert_to_tensor(self.count), self.config["capacity"])',
                    'self.config["capacity"]',
                ),
                "theano_impl": ("T.minimum(count, capacity)", "capacity"),
            },
        ),
    ),
)
