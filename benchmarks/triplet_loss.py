"""Triplet losses, forward and backward: all triplets of a batch, and triplets that are given.

64 dimensions, 10 classes, unsquared Euclidean distances.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.harness import FLOOR, Benchmark, Contender, Target, check_equal

DIMENSIONS, CLASSES, MARGIN = 64, 10, 0.3
MOST_FORMED = 512  # rows; of 1024 the 95 million triplets would take gigabytes
MOST_PLAIN = 256  # it forms the triplets that the labels do not allow, too: 1.6 GB for 512 rows
REDUCTIONS = ("mean", "active")


def data(n: int, dtype: str) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(n)
    embeddings = rng.normal(size=(n, DIMENSIONS)) / DIMENSIONS**0.5
    return embeddings.astype(dtype), rng.integers(CLASSES, size=n)


def given(n: int, dtype: str) -> np.ndarray:
    """Anchors, positives and negatives."""
    rng = np.random.default_rng(n)
    return (rng.normal(size=(3, n, DIMENSIONS)) / DIMENSIONS**0.5).astype(dtype)


def in_torch(n: int, dtype: str) -> dict[str, Contender]:
    import torch
    from pytorch_metric_learning.distances import LpDistance
    from pytorch_metric_learning.losses import TripletMarginLoss
    from pytorch_metric_learning.reducers import AvgNonZeroReducer, MeanReducer

    from pytorch_impl.triplet_loss import all_triplets_loss, triplet_loss

    x, labels = map(torch.from_numpy, data(n, dtype))
    leaf = x.clone().requires_grad_()
    rows = [row.requires_grad_() for row in torch.from_numpy(given(n, dtype))]
    options: dict[str, Any] = {"margin": MARGIN, "distance": "euclidean"}
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
        return of_batch(lambda *batch: all_triplets_loss(*batch, reduction=reduction, **options))

    def peer(reduction: str) -> Contender:
        distance = LpDistance(normalize_embeddings=False)
        reducer = reducers[reduction]()
        return of_batch(TripletMarginLoss(margin=MARGIN, distance=distance, reducer=reducer))

    def plain(embeddings: Any, labels: Any) -> Any:
        """Every hinge by itself."""
        distances = torch.cdist(embeddings, embeddings)
        same = labels[:, None] == labels
        positive = same & ~torch.eye(n, dtype=torch.bool)
        valid = positive[:, :, None] & ~same[:, None, :]
        hinges = torch.relu(MARGIN + distances[:, :, None] - distances[:, None, :])
        return (hinges * valid).sum() / valid.sum()

    def floor() -> Any:
        """The product, one pass over its square, and the product of the gradient."""
        return (x @ x.T).clamp_(min=0) @ x

    batch = {f"all, {reduction}": ours(reduction) for reduction in REDUCTIONS}
    if n <= MOST_FORMED:
        batch |= {f"all, {reduction}, peer": peer(reduction) for reduction in REDUCTIONS}
    if n <= MOST_PLAIN:
        batch["all, plain"] = of_batch(plain)
    listed = {
        "given": of_given(lambda *rows: triplet_loss(*rows, **options)),
        "given, nn.TripletMarginLoss": of_given(built_in),
    }
    if dtype == "float64":  # the other two comparisons: the suite makes one
        check_equal(listed, {})
        check_equal({name: run for name, run in batch.items() if "active" in name}, {})
    return {**batch, **listed, FLOOR: floor}


BENCHMARK = Benchmark(
    title="Triplet losses, forward and backward, 64 dimensions, 10 classes",
    size="rows",
    sizes=(256, 512, 2048, 4096),
    contenders={"bench": in_torch},
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
