"""Runs one backend, or the reference, over its cells and leaves the quantities in a file.

First it measures its cells, saves the models that travel and runs the trainings; when all have
done so, it loads the models of the others. What its defaults cost is a run by itself. It runs in
the backend's own environment: NumPy and the framework are all it may import.
"""

from __future__ import annotations

import argparse
import importlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from shared_tests.backends import backend as load_backend
from shared_tests.backends import trainer
from shared_tests.defaults import variants
from shared_tests.definition import INFERENCE_ONLY, Arrays, Cell, cells
from shared_tests.measure import expected, measured
from shared_tests.trainings import TrainingRun, training_runs

REFERENCE = "reference"
DONE = "one more case done"  # a line for each, for whoever waits


def key(cell: Cell | TrainingRun, quantity: str) -> str:
    """What a quantity of a cell or of a training is called in the file."""
    return f"{cell}|{quantity}"


def defaults_key(variant: str) -> str:
    """What a training with a framework's own defaults is called in the file."""
    return f"defaults-{variant}"


class Run:
    """What one run of a backend finds; what raises is left out, and its error kept."""

    def __init__(self, name: str, models: Path) -> None:
        self.name = name
        self.models = models
        self.backend = None if name == REFERENCE else load_backend(name)
        self.arrays: dict[str, np.ndarray] = {}
        self.errors: dict[str, str] = {}

    def measure(self, cell: Cell) -> None:
        """The cell's quantities, and its model in a file."""
        if self.backend is None:
            found = expected(cell)
        else:
            found = measured(self.backend, cell)
            if cell.travels and self.name not in INFERENCE_ONLY:
                case = cell.case.cast(cell.dtype)
                path = model_path(self.models, self.name, cell)
                self.backend.save(cell.component, cell.operation.name, case, path)
        self.arrays |= {key(cell, quantity): array for quantity, array in found.items()}

    def train(self, run: TrainingRun) -> None:
        """The losses of a training, and what it leaves."""
        found = trainer(self.name)(run.training, run.optimizer, run.dtype)
        self.arrays |= {key(run, quantity): array for quantity, array in found.items()}

    def run_defaults(self, variant: str) -> None:
        """A training with one of the framework's own defaults let in."""
        module = importlib.import_module(f"shared_tests.defaults.{self.name}_runs")
        found = module.run(variant)
        self.arrays |= {f"{defaults_key(variant)}|{name}": array for name, array in found.items()}

    def load(self, cell: Cell, source: str) -> None:
        """The outputs of the model that another backend has saved; its arrays as they were."""
        assert self.backend is not None
        case = cell.case.cast(cell.dtype)
        outputs, arrays = self.backend.run_file(model_path(self.models, source, cell), case)
        assert_same(arrays, case.weights or {})
        quantity = travel(source, self.name)
        self.arrays |= {key(cell, f"{quantity}:{name}"): one for name, one in outputs.items()}

    def attempt(self, name: str, step: Callable[..., None], *arguments: Any) -> None:
        try:
            step(*arguments)
        except Exception as error:  # whatever it is, the report must say it
            self.errors[name] = f"{type(error).__name__}: {error}"
        print(DONE, flush=True)

    def save(self, path: Path) -> None:
        versions = {} if self.backend is None else self.backend.versions()
        header = json.dumps({"versions": versions, "errors": self.errors})
        np.savez(path, **self.arrays | {"header": np.array(header)})  # type: ignore[arg-type]


def travel(source: str, target: str) -> str:
    """The quantity of a model that one backend saved and another loaded."""
    return f"travel:{source}>{target}"


def journeys(name: str, component: str | None, sources: Sequence[str]) -> list[tuple[Cell, str]]:
    """What a backend is to load: each cell whose model travels, and where it comes from."""
    return [
        (cell, source)
        for cell in cells(name, component)
        if cell.travels
        for source in sources
        if source not in (name, *INFERENCE_ONLY)
    ]


def model_path(models: Path, source: str, cell: Cell) -> Path:
    return models / f"{source}-{cell}.safetensors"


def assert_same(got: Arrays, wanted: Arrays) -> None:
    assert got.keys() == wanted.keys(), f"arrays {list(got)}, wanted {list(wanted)}"
    for name, array in got.items():
        same = array.dtype == wanted[name].dtype and np.array_equal(array, wanted[name])
        assert same, f"array {name} is another one"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("backend")
    parser.add_argument("output", type=Path)
    parser.add_argument("models", type=Path, help="the folder of the models that travel")
    parser.add_argument("--component")
    parser.add_argument("--defaults", action="store_true", help="show what its defaults cost")
    parser.add_argument("--load", nargs="*", metavar="BACKEND", help="load what these have saved")
    arguments = parser.parse_args()
    name, component = arguments.backend, arguments.component
    found = Run(name, arguments.models)
    if arguments.defaults:
        for variant in variants(name):
            found.attempt(defaults_key(variant), found.run_defaults, variant)
    elif arguments.load is None:
        for cell in cells(None if name == REFERENCE else name, component):
            found.attempt(str(cell), found.measure, cell)
        for run in training_runs(name, component) if name != REFERENCE else ():
            found.attempt(str(run), found.train, run)
    else:
        for cell, source in journeys(name, component, arguments.load):
            found.attempt(f"{cell}|{travel(source, name)}", found.load, cell, source)
    found.save(arguments.output)


if __name__ == "__main__":
    main()
