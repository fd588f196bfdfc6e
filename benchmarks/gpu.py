"""Times the components in PyTorch on a GPU against their peers: python -m benchmarks.gpu

In an environment with a CUDA build of PyTorch and pytorch-metric-learning. Every contender runs
forward and backward in float32, TF32 off. All contenders of a size run in turn, between events of
the device, and the medians over the turns are compared; the peak memory is the device's, beyond
the inputs. Prints a table, and writes benchmarks-gpu.json. The exit status is 0 when all ran.
"""

from __future__ import annotations

import argparse
import copy
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.contenders import labeled_rows

OURS, PEER, BOUND = "ours", "peer", "bound"
TURNS, LEAST = 7, 20.0  # rounds, and milliseconds of one contender's turn
MARGIN = 0.3
EUCLIDEAN: dict[str, Any] = {"margin": MARGIN, "distance": "euclidean"}

Ways = dict[str, Callable[[], Any]]


@dataclass(frozen=True)
class Row:
    """One comparison. ways: contenders, of which "ours" is held to `of`: times it takes at most.

    least: how many times faster than `of` ours is to be. memory: the most MiB that ours may take.
    """

    name: str
    ways: Callable[[], Ways]
    of: str | None = PEER
    least: float = 1.0
    memory: float | None = None


def rows_on_the_device(n: int) -> tuple[Tensor, Tensor]:
    x, labels = (torch.from_numpy(one).cuda() for one in labeled_rows(n, "float32"))
    return x.requires_grad_(), labels


def differentiated(
    call: Callable[[], Tensor], leaves: Sequence[Tensor], upstream: Tensor | None = None
) -> Callable[[], Any]:
    def run() -> Any:
        value = call()
        if upstream is None:
            return torch.autograd.grad(value.sum(), leaves)
        return torch.autograd.grad(value, leaves, upstream)

    return run


def soft_neighbors(n: int) -> Ways:
    from pytorch_metric_learning.losses import NCALoss

    from pytorch_impl.soft_nearest_neighbor_loss import soft_nearest_neighbor_loss

    x, labels = rows_on_the_device(n)
    plain, peer = x.detach(), NCALoss()
    ways = {OURS: differentiated(lambda: soft_nearest_neighbor_loss(x, labels), [x])}
    if n <= 16384:
        ways[PEER] = differentiated(lambda: peer(x, labels), [x])
    # The product, one pass of exp, and the product of the gradient.
    return ways | {BOUND: lambda: torch.mm(plain, plain.T).exp_() @ plain}


def batch_hard(n: int) -> Ways:
    from pytorch_metric_learning.distances import LpDistance
    from pytorch_metric_learning.losses import TripletMarginLoss
    from pytorch_metric_learning.miners import BatchHardMiner
    from pytorch_metric_learning.reducers import MeanReducer

    from pytorch_impl.triplet_loss import triplet_loss
    from pytorch_impl.triplet_mining import BatchHardTripletLoss, batch_hard_triplets

    x, labels = rows_on_the_device(n)
    loss = BatchHardTripletLoss(**EUCLIDEAN)
    distance = LpDistance(normalize_embeddings=False)
    miner = BatchHardMiner(distance=distance)
    peer = TripletMarginLoss(margin=MARGIN, distance=distance, reducer=MeanReducer())

    def mined() -> Tensor:
        found = batch_hard_triplets(x, labels, distance="euclidean")
        return triplet_loss(*(x.index_select(0, one) for one in found), **EUCLIDEAN)

    return {
        OURS: differentiated(lambda: loss(x, labels), [x]),
        "mined, then the loss": differentiated(mined, [x]),
        PEER: differentiated(lambda: peer(x, labels, miner(x, labels)), [x]),
    }


def all_triplets(n: int) -> Ways:
    from pytorch_metric_learning.distances import LpDistance
    from pytorch_metric_learning.losses import TripletMarginLoss
    from pytorch_metric_learning.reducers import MeanReducer

    from pytorch_impl.triplet_loss import all_triplets_loss

    x, labels = rows_on_the_device(n)
    distance = LpDistance(normalize_embeddings=False)
    peer = TripletMarginLoss(margin=MARGIN, distance=distance, reducer=MeanReducer())
    ways = {OURS: differentiated(lambda: all_triplets_loss(x, labels, **EUCLIDEAN), [x])}
    if n <= 512:
        ways[PEER] = differentiated(lambda: peer(x, labels), [x])
    return ways


def experts() -> Ways:
    from pytorch_impl.top_k_gating import MixtureOfExperts, top_k_gating

    model = MixtureOfExperts(256, 256, 64, 2, seed=1).cuda()
    every = MixtureOfExperts(256, 256, 64, 64, seed=1).cuda()
    x = torch.randn(4096, 256, device="cuda")
    gate, weight, bias = leaves = list(model.parameters())

    def plain() -> Tensor:
        """The sum of the formula over all experts, most of them times zero."""
        answers = torch.einsum("ni,eio->eno", x, weight) + bias[:, None]
        return (top_k_gating(x @ gate, 2).T[:, :, None] * answers).sum(0)

    return {
        OURS: differentiated(lambda: model(x), leaves),
        PEER: differentiated(plain, leaves),
        "k = 64": differentiated(lambda: every(x), list(every.parameters())),
    }


def padded_embedding(sparse: bool) -> Ways:
    from pytorch_impl.padded_embedding import PaddedEmbedding

    size, dim, longest, lists = 50_000, 64, 30, 512
    rng = np.random.default_rng(lists)
    ids = rng.integers(1, size, size=(lists, longest))
    ids[np.arange(longest) >= rng.integers(1, longest + 1, size=(lists, 1))] = 0
    count = (ids != 0).sum(1)
    offsets = torch.from_numpy(count.cumsum() - count).cuda()
    flat, padded = torch.from_numpy(ids[ids != 0]).cuda(), torch.from_numpy(ids).cuda()
    upstream = torch.randn(lists, dim, device="cuda")
    model = PaddedEmbedding(size, dim, sparse=sparse).cuda()
    peer = nn.EmbeddingBag(size, dim, mode="mean", sparse=sparse).cuda()
    with_padding = nn.EmbeddingBag(size, dim, mode="mean", padding_idx=0, sparse=sparse).cuda()
    return {
        OURS: differentiated(lambda: model(padded), [model.table], upstream),
        PEER: differentiated(lambda: peer(flat, offsets), [peer.weight], upstream),
        "with padding_idx": differentiated(
            lambda: with_padding(padded), [with_padding.weight], upstream
        ),
    }


def ragged_gru(training: bool) -> Ways:
    from pytorch_impl.sequence_encoder import SequenceEncoder

    n, longest, width = 256, 60, 64
    rng = np.random.default_rng(1)
    ids = rng.integers(1, 10_000, size=(n, longest))
    ids[1:][np.arange(longest) >= rng.integers(1, longest + 1, size=(n - 1, 1))] = 0
    ids = torch.from_numpy(ids).cuda()
    model = SequenceEncoder(10_000, width, width, dropout=0.0, seed=1).cuda()
    leaves, trained = list(model.parameters()), copy.deepcopy(model.gru)
    model.train(training)
    table, *_ = leaves
    own = [table, *trained.parameters()]
    return {
        OURS: differentiated(lambda: model(ids), leaves),
        PEER: differentiated(lambda: trained(F.embedding(ids, table))[1][0], own),
    }


def tree() -> Ways:
    from pytorch_impl.recursive_autoencoder import RecursiveAutoencoder

    on_cpu = RecursiveAutoencoder(10, activation="tanh", seed=1)
    model, vectors = copy.deepcopy(on_cpu).cuda(), torch.randn(50, 10)
    moved = vectors.cuda()
    return {
        OURS: differentiated(lambda: model(moved).loss, list(model.parameters())),
        PEER: differentiated(lambda: on_cpu(vectors).loss, list(on_cpu.parameters())),
    }


def sparse_projection(layout: str) -> Ways:
    from pytorch_impl.sparse_projection import SparseProjection

    rng = np.random.default_rng(256)
    array = np.zeros((256, 10_000), np.float32)
    filled = rng.random(array.shape) < 0.005
    array[filled] = rng.normal(size=filled.sum())
    dense = torch.from_numpy(array).cuda()
    x = getattr(dense, f"to_sparse_{layout}")()
    model = SparseProjection(10_000, 64, bias=False).cuda()
    upstream = torch.randn(256, 64, device="cuda")
    return {
        OURS: differentiated(lambda: model(x), [model.weight], upstream),
        PEER: differentiated(lambda: dense @ model.weight, [model.weight], upstream),
    }


ROWS = (
    Row("soft nearest neighbors, n = 1,024", lambda: soft_neighbors(1024), least=4),
    Row("soft nearest neighbors, n = 4,096", lambda: soft_neighbors(4096), least=4),
    Row("soft nearest neighbors, n = 16,384", lambda: soft_neighbors(16384), least=4),
    Row(
        "soft nearest neighbors, n = 32,768",
        lambda: soft_neighbors(32768),
        BOUND,
        1 / 2,
        memory=256,
    ),
    Row("batch-hard with loss, n = 1,024", lambda: batch_hard(1024), least=2),
    Row("batch-hard with loss, n = 8,192", lambda: batch_hard(8192), least=4),
    Row("all triplets, n = 512", lambda: all_triplets(512), least=8),
    Row("all triplets, n = 2,048", lambda: all_triplets(2048), None),
    Row("all triplets, n = 4,096", lambda: all_triplets(4096), None),
    Row("all triplets, n = 8,192", lambda: all_triplets(8192), None, memory=512),
    Row("2 of 64 experts, 4,096 × 256", experts, least=3),
    Row("padded embedding, 512 lists", lambda: padded_embedding(False)),
    Row("the same, sparse gradient", lambda: padded_embedding(True)),
    Row("ragged GRU, 256 × 60", lambda: ragged_gru(True), least=1 / 1.3),
    Row("the same, eval mode", lambda: ragged_gru(False), least=1 / 1.3),
    Row("tree over 50 vectors", tree),
    Row("sparse projection, 256 × 10,000, 0.5 %, CSR", lambda: sparse_projection("csr")),
    Row("the same, COO", lambda: sparse_projection("coo")),
)


def milliseconds(run: Callable[[], Any], times: int) -> float:
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    start.record()
    for _ in range(times):
        run()
    end.record()
    end.synchronize()
    return start.elapsed_time(end) / times


def measured(row: Row) -> dict[str, dict[str, float]]:
    """{contender: milliseconds and MiB at the peak}."""
    ways = row.ways()
    found: dict[str, dict[str, float]] = {}
    times = {}
    for name, run in ways.items():
        run()  # compiles kernels
        torch.cuda.synchronize()
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        times[name] = max(1, min(100, round(LEAST / max(milliseconds(run, 3), 1e-3))))
        found[name] = {"MiB": (torch.cuda.max_memory_allocated() - before) / 2**20}
    turns: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(TURNS):
        for name, run in ways.items():
            turns[name].append(milliseconds(run, times[name]))
    for name, one in turns.items():
        found[name]["ms"] = median(one)
    return found


def lines(row: Row, found: dict[str, dict[str, float]]) -> Iterator[str]:
    """The row in the table."""
    parts = [f"{name} {one['ms']:.2f}" for name, one in found.items()]
    ours = found[OURS]
    said = []
    if row.of:
        ratio = found[row.of]["ms"] / ours["ms"]
        said.append(f"{ratio:.2f} times (wanted {row.least:.2f})")
        said[-1] += "" if ratio >= row.least else " MISSED"
    if row.memory:
        said.append(f"{ours['MiB']:.0f} MiB (at most {row.memory:.0f})")
        said[-1] += "" if ours["MiB"] <= row.memory else " MISSED"
    if not said:
        said.append(f"{ours['MiB']:.0f} MiB")
    yield f"{row.name}: {', '.join(parts)} ms; {', '.join(said)}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", help="the rows whose name contains this")
    arguments = parser.parse_args()
    if not torch.cuda.is_available():
        print("device: expected a CUDA device and a build of PyTorch for it, got none")
        return 2
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    card = torch.cuda.get_device_name()
    date = datetime.now(UTC).date().isoformat()
    print(f"{card}, PyTorch {torch.__version__}, {date}")
    report: dict[str, Any] = {"card": card, "torch": torch.__version__, "date": date, "rows": {}}
    for row in ROWS:
        if not arguments.only or arguments.only in row.name:
            report["rows"][row.name] = found = measured(row)
            for line in lines(row, found):
                print(line, flush=True)
    Path("benchmarks-gpu.json").write_text(json.dumps(report, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
