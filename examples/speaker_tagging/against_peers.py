"""These losses against pytorch-metric-learning's: the same encoders, data, batches and steps.

Both programs with triplets, speaker_tagging and stems, are trained with the losses of each package.
The table tells the quality, and the processor's seconds for the losses alone, with their gradients.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import NamedTuple

import click
import numpy as np
import torch
from torch import Tensor, nn

from examples.speaker_tagging import data
from examples.speaker_tagging.serve import area_of_held_out
from numpy_infer.evaluation import recall_at_k
from numpy_infer.sampling import BalancedBatches
from pytorch_impl.sequence_encoder import SequenceEncoder
from pytorch_impl.smorms3 import SMORMS3
from pytorch_impl.speaker_encoder import SpeakerEncoder
from pytorch_impl.triplet_loss import all_triplets_loss, triplet_loss
from pytorch_impl.triplet_mining import batch_hard_triplets, semi_hard_triplets

MARGIN = 0.3
STEPS = 60
SEEDS = (1, 2, 3)

Loss = Callable[[Tensor, Tensor], Tensor]  # of vectors and their labels


class Task(NamedTuple):
    """What is trained, and on what."""

    name: str
    model: Callable[[int], nn.Module]  # by the seed
    inputs: Tensor
    labels: Tensor
    batches: Callable[[int], Iterable[np.ndarray]]
    quality: Callable[[nn.Module], float]


def speakers() -> Task:
    """speaker_tagging: the AUC of held-out recordings against strangers."""
    split = data.load(None, speakers=16, seconds=90, seed=1)
    inputs = torch.tensor(split.training.frames)
    held_out = torch.tensor(split.held_out.frames)
    labels, voices = split.training.labels, min(12, len(split.speakers))

    def quality(model: nn.Module) -> float:
        return area_of_held_out(model(inputs).numpy(), model(held_out).numpy(), split)

    return Task(
        "speaker_tagging, AUC",
        lambda seed: SpeakerEncoder(inputs.shape[1], channels=(64, 64), dim=32, seed=seed),
        inputs,
        torch.tensor(labels),
        lambda seed: BalancedBatches(
            labels, classes=voices, samples=96 // voices, batches=STEPS, seed=seed
        ),
        quality,
    )


def stems() -> Task:
    """stems: recall@1 of unseen words."""
    from examples.stems import data as words

    split = words.load(None, language="en", count=20000, seed=1)
    alphabet = words.alphabet_of(split.training.words)
    inputs = torch.tensor(words.encode(split.training.words, alphabet))
    held_out = torch.tensor(words.encode(split.unseen.words, alphabet))
    size, labels = len(alphabet) + 2, split.training.stems

    def encoder(seed: int) -> nn.Module:
        return SequenceEncoder(
            size, embedding_dim=32, hidden=96, dropout=0.0, reverse=True, seed=seed
        )

    return Task(
        "stems, recall@1",
        encoder,
        inputs,
        torch.tensor(labels),
        lambda seed: BalancedBatches(labels, classes=64, samples=2, batches=STEPS, seed=seed),
        lambda model: recall_at_k(model(held_out).numpy(), split.unseen.stems, 1),
    )


def ours() -> dict[str, Loss]:
    """The losses of this package."""

    def hard(vectors: Tensor, labels: Tensor) -> Tensor:
        rows = (vectors[index] for index in batch_hard_triplets(vectors, labels))
        return triplet_loss(*rows, margin=MARGIN)

    def semi_hard(vectors: Tensor, labels: Tensor) -> Tensor:
        triplets = semi_hard_triplets(vectors, labels, margin=MARGIN)
        if len(triplets.anchors) == 0:
            return vectors.sum() * 0
        return triplet_loss(*(vectors[index] for index in triplets), margin=MARGIN)

    def every(vectors: Tensor, labels: Tensor) -> Tensor:
        return all_triplets_loss(vectors, labels, margin=MARGIN, reduction="active")

    return {"all triplets": every, "hard": hard, "semi-hard": semi_hard}


def theirs() -> dict[str, Loss]:
    """The same of pytorch-metric-learning: its mean is over the triplets that violate the margin.

    Its semi-hard miner takes every negative between the positive and the margin; ours the nearest.
    """
    from pytorch_metric_learning import distances, losses, miners

    cosine = distances.CosineSimilarity()
    loss = losses.TripletMarginLoss(margin=MARGIN, distance=cosine)

    def mined(miner: Callable[[Tensor, Tensor], tuple[Tensor, ...]]) -> Loss:
        return lambda vectors, labels: loss(vectors, labels, miner(vectors, labels))

    semi_hard = miners.TripletMarginMiner(MARGIN, type_of_triplets="semihard", distance=cosine)
    return {
        "all triplets": loss,
        "hard": mined(miners.BatchHardMiner(distance=cosine)),
        "semi-hard": mined(semi_hard),
    }


def trained(task: Task, loss: Loss, seed: int) -> tuple[float, float]:
    """The quality after STEPS steps, and the seconds that went into the losses."""
    model, spent = task.model(seed), 0.0
    optimizer = SMORMS3(model.parameters(), lr=0.005)
    for index in task.batches(seed):
        vectors = model(task.inputs[index])
        leaf = vectors.detach().requires_grad_()
        begin = time.process_time()
        loss(leaf, task.labels[index]).backward()
        spent += time.process_time() - begin
        optimizer.zero_grad()
        vectors.backward(leaf.grad)
        optimizer.step()
    with torch.no_grad():
        return task.quality(model), spent


@click.command(help=__doc__)
def main() -> None:
    torch.set_num_threads(1)
    print("| program | triplets | package | quality (three seeds) | ms per step |")
    print("|---|---|---|---|---|")
    for task in (speakers(), stems()):
        for package, losses in (("fourfold", ours()), ("pytorch-metric-learning", theirs())):
            for name, loss in losses.items():
                found = [trained(task, loss, seed) for seed in SEEDS]
                quality = ", ".join(f"{one:.3f}" for one, _ in found)
                milliseconds = 1000 * min(spent for _, spent in found) / STEPS
                print(
                    f"| {task.name} | {name} | {package} | {quality} | {milliseconds:.2f} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
