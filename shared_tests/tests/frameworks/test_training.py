"""A hundred steps from the same weights, with the same batches, end the same in every framework."""

import importlib
import sys

import numpy as np
import pytest

from fourfold.agreement import TRAINING_TOLERANCE
from fourfold.backends import trainer
from fourfold.report.trained import worst_error
from fourfold.training import TrainingRun
from shared_tests.golden.trainings import DTYPE, golden_runs, outcome
from shared_tests.repository import PACKAGES
from shared_tests.support.mutants import mutated
from shared_tests.trainings import STATES, STEPS, faint

RUNS = golden_runs()
(FAINT,) = [run for run in RUNS if run.training.loss is faint and run.optimizer == "smorms3"]
# SMORMS3's epsilon, moved: added to the square, and not to its root.
MOVED = {
    "torch": ("square.sqrt().add_(epsilon)", "(square + epsilon).sqrt()"),
    "tf2": ("(tf.sqrt(square) + epsilon)", "tf.sqrt(square + epsilon)"),
    "theano": ("(T.sqrt(square) + epsilon)", "T.sqrt(square + epsilon)"),
}


def difference(framework: str, run: TrainingRun) -> float:
    found = trainer(framework)(run.training, run.optimizer, DTYPE)
    worst, _ = worst_error(found, outcome(run))
    return worst


@pytest.mark.parametrize("run", RUNS, ids=str)
def test_same_outcome(framework_name, run):
    wanted = outcome(run)
    assert wanted["losses"].shape == (STEPS,)
    assert all(np.isfinite(array).all() for array in wanted.values())
    kinds = {name.partition(" ")[0] for name in wanted}
    assert kinds - {"losses", "parameter"} == set(STATES if run.optimizer == "smorms3" else ())
    assert difference(framework_name, run) <= TRAINING_TOLERANCE


def test_a_moved_epsilon_is_caught(framework_name, monkeypatch):
    name = f"{PACKAGES[framework_name]}.smorms3"
    assert difference(framework_name, FAINT) <= TRAINING_TOLERANCE
    changed = mutated(importlib.import_module(name), *MOVED[framework_name])
    monkeypatch.setitem(sys.modules, name, changed)
    assert difference(framework_name, FAINT) > 1e4 * TRAINING_TOLERANCE
