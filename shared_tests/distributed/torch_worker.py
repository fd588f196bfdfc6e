"""The ranks of a group: each loss of the gathered batch, and the gradients that the encoder gets.

    python -m shared_tests.distributed.torch_worker FOLDER

forks two ranks, then four, and leaves FOLDER/SIZE-RANK.npz.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch._dynamo  # as DistributedDataParallel does: once, before ranks are forked
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from pytorch_impl import distributed
from pytorch_impl.char_word_encoder import SentenceEncoder
from pytorch_impl.conv_autoencoder import ConvAutoencoder2d
from pytorch_impl.feedback_network import FeedbackNetwork
from pytorch_impl.padded_embedding import PaddedEmbedding
from pytorch_impl.sequence_encoder import SequenceEncoder
from pytorch_impl.soft_nearest_neighbor_loss import (
    SoftNearestNeighborLoss,
    soft_nearest_neighbor_loss,
)
from pytorch_impl.sparse_projection import SparseProjection
from pytorch_impl.speaker_encoder import SpeakerEncoder
from pytorch_impl.top_k_gating import MixtureOfExperts
from pytorch_impl.triplet_loss import all_triplets_loss, triplet_loss
from pytorch_impl.triplet_mining import Triplets, batch_hard_triplets, semi_hard_triplets
from shared_tests.distributed import (
    LABELS,
    PIXELS,
    SPLITS,
    WEIGHTS,
    in_processes,
    key,
    own_rows,
    save,
)
from shared_tests.support.mutants import mutated

SECONDS = 600  # a launch takes three, and much longer on a busy machine
Gather = Callable[..., tuple[Tensor, ...]]
# A loss from (encoder, pixels, labels, gather), with what else is to be compared.
Loss = Callable[[nn.Module, Tensor, Tensor, Gather], tuple[Tensor, dict[str, Tensor]]]


def plain(function: Callable[..., Tensor], **options: Any) -> Loss:
    """A function of embeddings and labels."""

    def loss(encoder, pixels, labels, gather):
        return function(*gather(encoder(pixels), labels), **options), {}

    return loss


def mined(mine: Callable[..., Triplets], distance: str) -> Loss:
    """The triplets that are mined from the whole batch."""

    def loss(encoder, pixels, labels, gather):
        embeddings, labels = gather(encoder(pixels), labels)
        triplets = mine(embeddings, labels, distance=distance)
        rows = (embeddings[index] for index in triplets)
        return triplet_loss(*rows, distance=distance), triplets._asdict()

    return loss


def given(encoder, pixels, labels, gather):
    """Triplets whose rows stand side by side on a rank: three tensors gathered in one call."""
    changed = (pixels, pixels.roll(1, dims=1), pixels.flip(1))
    return triplet_loss(*gather(*map(encoder, changed)), margin=0.9), {}


def encoders(encoder, pixels, labels, gather):
    """A whole program: each encoder of the package on a rank's rows, of which there may be none."""
    return soft_nearest_neighbor_loss(*gather(encoder.encoders(pixels), labels)), {}


def learned(encoder, pixels, labels, gather):
    """A criterion with a parameter of its own, which comes after the gathering."""
    return encoder.criterion(*gather(encoder(pixels), labels)), {}


LOSSES: dict[str, Loss] = {
    "soft nearest neighbors": plain(soft_nearest_neighbor_loss, temperature=3.0),
    "in blocks": plain(soft_nearest_neighbor_loss, distance="euclidean", block_size=7),
    "learned temperature": learned,
    "all triplets": plain(all_triplets_loss, distance="euclidean"),
    "batch hard": mined(batch_hard_triplets, "sqeuclidean"),
    "semi-hard": mined(semi_hard_triplets, "cosine"),
    "given triplets": given,
    "encoders": encoders,
}


DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.int32, torch.int64)


class Encoders(nn.Module):
    """What the encoders and layers of the package make of 64 pixels, side by side."""

    def __init__(self) -> None:
        super().__init__()
        self.titles = PaddedEmbedding(17, 3, unit_norm=True, seed=1)
        self.sequences = SequenceEncoder(17, 3, 2, out_features=3, dropout=0, seed=2)
        self.sentences = SentenceEncoder(17, 3, char_dim=3, n_filters=4, seed=3)
        self.speakers = SpeakerEncoder(8, channels=[4], dim=3, seed=4)
        self.convolutions = ConvAutoencoder2d(1, channels=[2], kernel_size=3, seed=5)
        self.levels = FeedbackNetwork(64, [2, 3], hidden=4, seed=6)
        self.experts = MixtureOfExperts(64, 3, 4, 2, seed=7)
        self.projection = SparseProjection(64, 2, seed=8)

    def forward(self, pixels: Tensor) -> Tensor:
        ids = 1 + (15 * pixels).long()
        planes = pixels.unflatten(1, (8, 8))
        made = [
            self.titles(ids),
            self.sequences(ids[:, 20:26]),
            self.sentences(ids.unflatten(1, (8, 8))[:, 2:5]),
            self.speakers(planes),
            self.convolutions(planes[:, None]).flatten(1),
            *self.levels(pixels),
            self.experts(pixels),
            self.projection(pixels),
        ]
        return torch.cat(made, dim=1).tanh()  # distances would not see the last biases


class Encoder(nn.Module):
    """64 pixels to an embedding; with what else a loss needs."""

    def __init__(self, loss: str) -> None:
        super().__init__()
        if loss == "encoders":
            self.encoders = Encoders().double()
            return
        for name, array in WEIGHTS.items():
            setattr(self, name, nn.Parameter(torch.from_numpy(array.copy())))
        if loss == "learned temperature":
            self.criterion = SoftNearestNeighborLoss(temperature=3.0, learn_temperature=True)
            self.criterion.double()

    def forward(self, pixels: Tensor) -> Tensor:
        return (pixels @ self.first + self.first_bias).tanh() @ self.second


class Step(nn.Module):
    """What DistributedDataParallel wraps: everything from the rank's rows to the loss."""

    def __init__(self, loss: str, gather: Gather) -> None:
        super().__init__()
        self.encoder = Encoder(loss)
        self.loss = LOSSES[loss]
        self.gather = gather

    def forward(self, pixels: Tensor, labels: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        return self.loss(self.encoder, pixels, labels, self.gather)


def measure(step: nn.Module, rows: slice) -> dict[str, np.ndarray]:
    """The loss, the triplets and the gradient of every parameter, from these rows of the batch."""
    loss, others = step(torch.from_numpy(PIXELS[rows]), torch.from_numpy(LABELS[rows]))
    loss.backward()
    found = {"loss": loss.detach().numpy()}
    found |= {name: index.numpy() for name, index in others.items()}
    for name, parameter in step.named_parameters():
        found[f"gradient of {name.removeprefix('module.')}"] = parameter.grad.numpy()
    return found


def alone(loss: str) -> dict[str, np.ndarray]:
    """The same in one process that has all rows and gathers nothing."""
    return measure(Step(loss, lambda *tensors: tensors), slice(None))


def run(gather: Gather, splits: dict[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
    found: dict[str, np.ndarray] = {}
    for split, rows in splits.items():
        for loss in LOSSES:
            step = DistributedDataParallel(Step(loss, gather))
            for quantity, array in measure(step, own_rows(rows, dist.get_rank())).items():
                found[key(split, loss, quantity)] = array
    return found


# Edits of pytorch_impl/distributed.py.
MUTANTS = {
    "no sum over ranks": (
        "reduce_scatter(own, gradient.contiguous(), op=dist.ReduceOp.SUM)",
        "own = gradient.unflatten(0, (-1, len(own)))[dist.get_rank()]",
    ),
    "the gradient of a neighbor's rows": (
        "reduce_scatter(own, gradient.contiguous(), op=dist.ReduceOp.SUM)",
        "reduce_scatter(own, gradient.roll(len(own), 0), op=dist.ReduceOp.SUM)",
    ),
    "padding kept": ("if min(counts) == longest:", "if True:"),
    "ranks in reverse": (
        "return torch.cat([block[:count] for block, count in parts])",
        "return torch.cat([block[:count] for block, count in parts][::-1])",
    ),
}


def run_mutants() -> dict[str, np.ndarray]:
    found: dict[str, np.ndarray] = {}
    for name, edit in MUTANTS.items():
        splits = {name: SPLITS[dist.get_world_size()]["uneven"]}
        found |= run(mutated(distributed, *edit).gather_batch, splits)
    return found


def refusals() -> dict[str, np.ndarray]:
    """What `gather_batch` says to ranks that differ."""
    rank, messages = dist.get_rank(), {}
    different = {
        "width": (torch.zeros(2, 3 + rank),),
        "dtype": (torch.zeros(2, 3), torch.zeros(2, dtype=(torch.int64, torch.int32)[rank])),
        "gradient": (torch.zeros(2, 3, requires_grad=rank == 0),),
        "number": (torch.zeros(2, 3),) * (1 + rank),
    }
    for name, tensors in different.items():
        try:
            distributed.gather_batch(*tensors)
        except ValueError as error:
            messages[name] = np.array(str(error))
    return messages


def gathered(dtype: torch.dtype) -> np.ndarray:
    """Rows that say whose they are: 2 of rank 0, 3 of rank 1, and so on."""
    rank = dist.get_rank()
    (joined,) = distributed.gather_batch(torch.full((2 + rank, 1), rank, dtype=dtype))
    assert joined.dtype == dtype
    return joined.double().numpy()


def gloo_threads() -> int:
    """How many threads gloo has in this process (Linux)."""
    names = (path.read_text() for path in Path("/proc/self/task").glob("*/comm"))
    return sum("gloo" in name for name in names)


def findings() -> dict[str, np.ndarray]:
    """What this rank finds, in a group of two also of the mistakes above."""
    found = run(distributed.gather_batch, SPLITS[dist.get_world_size()])
    for dtype in DTYPES:
        found[str(dtype)] = gathered(dtype)
    if dist.get_world_size() == 2:
        found |= run_mutants() | refusals()
    return found


def work(folder: str, size: int, rank: int) -> None:
    store, wait = f"file://{folder}/store-{size}", timedelta(seconds=SECONDS)
    dist.init_process_group("gloo", store, timeout=wait, world_size=size, rank=rank)
    found, threads = findings(), gloo_threads()
    dist.destroy_process_group()
    found["threads"] = np.array([threads, gloo_threads()])
    save(f"{folder}/{size}-{rank}.npz", found)


def main(folder: str) -> None:
    for size in (2, 4):
        codes = in_processes(work, [(folder, size, rank) for rank in range(size)], SECONDS)
        if codes != [0] * size:
            sys.exit(f"{size} ranks ended with {codes}; None is one that took over {SECONDS} s")


if __name__ == "__main__":
    main(*sys.argv[1:])
