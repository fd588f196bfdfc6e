"""What the trainings end with in float64, as PyTorch left it, that every framework is held to.

One environment cannot compare the frameworks; the parity report does that, and more. Run
`python -m shared_tests.golden.trainings` where PyTorch is when a training is added or changed.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fourfold.backends import trainer
from fourfold.training import TrainingRun, training_runs
from shared_tests.golden import FOLDER

PATH = FOLDER / "trainings.npz"
DTYPE = "float64"


def golden_runs() -> list[TrainingRun]:
    """The runs whose outcome is kept."""
    return [run for run in training_runs() if run.dtype == DTYPE]


def outcome(run: TrainingRun) -> dict[str, np.ndarray]:
    """The losses of all steps, the parameters and the optimizer's state after the last."""
    with np.load(PATH) as file:
        named = {name: name.partition("|") for name in file.files}
        return {quantity: file[name] for name, (of, _, quantity) in named.items() if of == str(run)}


if __name__ == "__main__":
    found: dict[str, Any] = {
        f"{run}|{quantity}": array
        for run in golden_runs()
        for quantity, array in trainer("torch")(run.training, run.optimizer, DTYPE).items()
    }
    np.savez_compressed(PATH, **found)
    print(f"{PATH.name}: {len(golden_runs())} trainings")
