"""When does a training with the hardest triplets collapse? Run it as a module, with PyTorch.

Each way is trained three times, from three starts. With all embeddings near one point the loss is
its margin (log 2 for the soft margin), and hardly a step leads out. The table tells what is left of
the training, and after how many steps `check_loss_moves` and `check_spread` have noticed; a star
means that the training came out of it again, as out of a slow start.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import click
import numpy as np
import torch
from torch import Tensor

from examples.speaker_tagging import data
from examples.speaker_tagging.data import Split
from examples.speaker_tagging.serve import area_of_held_out
from numpy_infer.sampling import BalancedBatches
from pytorch_impl.sanity_checks import check_loss_moves, check_spread
from pytorch_impl.smorms3 import SMORMS3
from pytorch_impl.speaker_encoder import SpeakerEncoder
from pytorch_impl.triplet_loss import all_triplets_loss, triplet_loss
from pytorch_impl.triplet_mining import batch_hard_triplets, semi_hard_triplets

MARGIN = 0.3
STEPS, FIRST = 120, 40  # of a training; of its first part, where there are two
CHECKED = 20  # how many losses are looked at, and every how many steps


class Way(NamedTuple):
    """How to train."""

    mining: str  # hard, semi-hard or all
    lr: float = 0.005
    soft_margin: bool = False
    first: str | None = None  # the mining of the first FIRST steps


WAYS = {
    "hard": Way("hard"),
    "hard, rate 0.02": Way("hard", lr=0.02),
    "hard, rate 0.001": Way("hard", lr=0.001),
    "hard, soft margin": Way("hard", soft_margin=True),
    "hard, soft margin, rate 0.02": Way("hard", lr=0.02, soft_margin=True),
    "semi-hard, then hard": Way("hard", first="semi-hard"),
    "semi-hard, then hard, rate 0.02": Way("hard", lr=0.02, first="semi-hard"),
    "semi-hard, rate 0.02": Way("semi-hard", lr=0.02),
    "all triplets, rate 0.02": Way("all", lr=0.02),
}


class Outcome(NamedTuple):
    """What became of a training."""

    loss: float  # mean of the last CHECKED steps
    spread: float  # of the held-out windows, as a share of the usual
    area: float  # AUC of held-out recordings against strangers
    noticed_by_loss: str  # after how many steps
    noticed_by_spread: str


def loss_of(way: Way, mining: str, vectors: Tensor, labels: Tensor) -> Tensor:
    """The loss of a batch; 0 when it has no triplet of this kind."""
    if mining == "all":
        return all_triplets_loss(vectors, labels, margin=MARGIN, reduction="active")
    if mining == "hard":
        triplets = batch_hard_triplets(vectors, labels)
    else:
        triplets = semi_hard_triplets(vectors, labels, margin=MARGIN)
    if len(triplets.anchors) == 0:
        return vectors.sum() * 0
    rows = (vectors[index] for index in triplets)
    margin = 0.0 if way.soft_margin else MARGIN
    return triplet_loss(*rows, margin=margin, soft_margin=way.soft_margin)


def outcome(split: Split, way: Way, seed: int) -> Outcome:
    """Train in one way."""
    frames, labels = torch.tensor(split.training.frames), torch.tensor(split.training.labels)
    held_out = torch.tensor(split.held_out.frames)
    model = SpeakerEncoder(frames.shape[1], seed=seed)
    optimizer = SMORMS3(model.parameters(), lr=way.lr)
    voices = min(12, len(split.speakers))
    batches = BalancedBatches(
        split.training.labels, classes=voices, samples=96 // voices, batches=STEPS, seed=seed
    )
    losses: list[float] = []
    by_loss, by_spread = [], []  # whether each check was passed
    for step, index in enumerate(batches):
        mining = way.first if way.first and step < FIRST else way.mining
        loss = loss_of(way, mining, model(frames[index]), labels[index])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        if len(losses) % CHECKED == 0:
            with torch.no_grad():
                vectors = model(held_out)
            stays_at = float(np.log(2)) if way.soft_margin else MARGIN
            by_loss.append(check_loss_moves(losses, stays_at, steps=CHECKED).ok)
            by_spread.append(check_spread(vectors).ok)
    with torch.no_grad():
        known = model(frames)
    spread = check_spread(vectors).details["spread"]
    area = area_of_held_out(known.numpy(), vectors.numpy(), split)
    loss_at_end = float(np.mean(losses[-CHECKED:]))
    return Outcome(loss_at_end, spread, area, noticed(by_loss), noticed(by_spread))


def noticed(passed: list[bool]) -> str:
    """After how many steps a check failed for the first time; starred when it passed again."""
    if all(passed):
        return "-"
    return f"{CHECKED * (passed.index(False) + 1)}{'*' if passed[-1] else ''}"


def row(name: str, found: list[Outcome]) -> str:
    """A line of the table: the outcomes of three starts, side by side."""
    columns = [
        [f"{one.loss:.3f}" for one in found],
        [f"{one.spread:.2g}" for one in found],
        [f"{one.area:.3f}" for one in found],
        [one.noticed_by_loss for one in found],
        [one.noticed_by_spread for one in found],
    ]
    return f"| {name} | {' | '.join(', '.join(column) for column in columns)} |"


@click.command(help=__doc__)
@click.option("--data", "folder", type=click.Path(exists=True, path_type=Path))
@click.option("--seconds", default=90, show_default=True, help="Of each voice, at most.")
def main(folder: Path | None, seconds: int) -> None:
    split = data.load(folder, speakers=16, seconds=seconds, seed=1)
    print(f"{split.source}: {len(split.speakers)} voices, {STEPS} steps")
    print("| way | loss at the end | spread | AUC | noticed by loss | noticed by spread |")
    print("|---|---|---|---|---|---|")
    for name, way in WAYS.items():
        print(row(name, [outcome(split, way, seed) for seed in (1, 2, 3)]), flush=True)


if __name__ == "__main__":
    main()
