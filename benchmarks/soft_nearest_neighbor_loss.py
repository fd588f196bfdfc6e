"""Soft nearest neighbor loss, forward and backward: 64 dimensions, 10 classes."""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.harness import FLOOR, Benchmark, Contender, Target

DIMENSIONS, CLASSES, BLOCK = 64, 10, 256


def data(n: int, dtype: str) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(n)
    embeddings = rng.normal(size=(n, DIMENSIONS)) / DIMENSIONS**0.5
    return embeddings.astype(dtype), rng.integers(CLASSES, size=n)


def in_torch(n: int, dtype: str) -> dict[str, Contender]:
    import torch
    from pytorch_metric_learning.losses import NCALoss

    from pytorch_impl.soft_nearest_neighbor_loss import soft_nearest_neighbor_loss

    x, labels = map(torch.from_numpy, data(n, dtype))
    leaf = x.clone().requires_grad_()
    peer = NCALoss()

    def differentiated(loss: Any) -> Any:
        value = loss(leaf, labels)
        (gradient,) = torch.autograd.grad(value, leaf)
        return value, gradient

    def plain(embeddings: Any, labels: Any) -> Any:
        """The formula of the seed: the share of the same-label neighbors."""
        near = torch.exp(
            -(torch.cdist(embeddings, embeddings, compute_mode="donot_use_mm_for_euclid_dist") ** 2)
        )
        near = near - torch.diag(torch.diag(near))
        same = labels[:, None] == labels
        return -(torch.log((near * same).sum(1) / near.sum(1))).mean()

    def floor() -> Any:
        """The product, one pass of exp, and the product of the gradient."""
        return (x @ x.T).exp_() @ x

    return {
        "in one": lambda: differentiated(soft_nearest_neighbor_loss),
        "in blocks": lambda: differentiated(
            lambda *given: soft_nearest_neighbor_loss(*given, block_size=BLOCK)
        ),
        "plain": lambda: differentiated(plain),
        "NCALoss": lambda: differentiated(peer),
        FLOOR: floor,
    }


BENCHMARK = Benchmark(
    title="Soft nearest neighbor loss, forward and backward, 64 dimensions, 10 classes",
    size="rows",
    sizes=(256, 1024, 2048, 4096),
    contenders={"bench": in_torch},
    targets=(
        Target("bench", "in blocks", FLOOR, 1024, 2.2),
        Target("bench", "in blocks", FLOOR, 4096, 1.8),
        Target("bench", "in blocks", None, 4096, 0.25 * 4096**2 * 4, memory=True),
        Target("bench", "in one", FLOOR, 1024, 3),
        Target("bench", "in one", FLOOR, 4096, 3),
        Target("bench", "in blocks", "NCALoss", 1024, 1 / 1.4),
        Target("bench", "in blocks", "NCALoss", 4096, 1 / 1.4),
    ),
    growth={"in one": 2, "in blocks": 2},
    differs={
        "NCALoss": "normalizes the rows, and sums where we average",
        FLOOR: "only the products and the exp that no way avoids",
    },
)
