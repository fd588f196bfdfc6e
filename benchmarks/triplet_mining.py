"""Triplet mining with the loss on what it found, forward and backward; and the search alone.

64 dimensions, 10 classes, unsquared Euclidean distances.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.harness import FLOOR, Benchmark, Contender, Target, check_equal

DIMENSIONS, CLASSES, MARGIN = 64, 10, 0.3


def data(n: int, dtype: str) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(n)
    embeddings = rng.normal(size=(n, DIMENSIONS)) / DIMENSIONS**0.5
    return embeddings.astype(dtype), rng.integers(CLASSES, size=n)


def in_torch(n: int, dtype: str) -> dict[str, Contender]:
    import torch
    from pytorch_metric_learning.distances import LpDistance
    from pytorch_metric_learning.losses import TripletMarginLoss
    from pytorch_metric_learning.miners import BatchHardMiner
    from pytorch_metric_learning.reducers import MeanReducer

    from pytorch_impl.triplet_loss import triplet_loss
    from pytorch_impl.triplet_mining import batch_hard_triplets, semi_hard_triplets

    x, labels = map(torch.from_numpy, data(n, dtype))
    leaf = x.clone().requires_grad_()
    distance = LpDistance(normalize_embeddings=False)
    miner = BatchHardMiner(distance=distance)
    peer_loss = TripletMarginLoss(margin=MARGIN, distance=distance, reducer=MeanReducer())

    def differentiated(loss: Any) -> Any:
        value = loss(leaf, labels)
        return value, *torch.autograd.grad(value, leaf)

    def ours(embeddings: Any, labels: Any) -> Any:
        found = batch_hard_triplets(embeddings, labels, distance="euclidean")
        rows = (embeddings[index] for index in found)
        return triplet_loss(*rows, margin=MARGIN, distance="euclidean")

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
        return tuple(semi_hard_triplets(x, labels, margin=MARGIN, distance="euclidean"))

    def semi_hard_plain() -> Any:
        """Every triplet looked at."""
        distances = torch.cdist(x, x)
        same = labels[:, None] == labels
        pairs = same & ~torch.eye(n, dtype=torch.bool)
        anchors, positives = pairs.nonzero(as_tuple=True)
        near, far = distances[anchors, positives][:, None], distances[anchors]
        fits = ~same[anchors] & (far > near) & (far < near + MARGIN)
        nearest = far.masked_fill(~fits, torch.inf).argmin(1)
        found = fits.any(1)
        return anchors[found], positives[found], nearest[found]

    search: dict[str, Contender] = {"semi-hard": semi_hard, "semi-hard, plain": semi_hard_plain}
    if n > 1024:  # its n³ distances would take gigabytes
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


BENCHMARK = Benchmark(
    title="Batch-hard mining and loss, forward and backward, 64 dimensions, 10 classes",
    size="rows",
    sizes=(256, 1024, 2048, 4096),
    contenders={"bench": in_torch},
    targets=(Target("bench", "batch hard", "BatchHardMiner", 1024, 1 / 3),),
    growth={"batch hard": 2, "semi-hard": 2},
    differs={
        "semi-hard": "other triplets; compared with every triplet when they are made",
        "semi-hard, plain": "compared with ours when they are made",
        FLOOR: "only the product and the passes that no way avoids",
    },
)
