"""A worker of the report: one backend, or the reference, in its own environment.

It reads tasks from its standard input, a line of JSON each, and leaves what it finds in a file:
the quantities of a component's cases and its models, its trainings, the outputs of the models that
the others saved, or what the framework's own defaults cost. NumPy and the framework are all that
it may import. Its standard output says how far it is; what a library prints goes to the log.
"""

from __future__ import annotations

import argparse
import gc
import importlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from typing import Any, Literal

import numpy as np

from fourfold.backends import backend as load_backend
from fourfold.backends import trainer
from fourfold.definition import BROWSER, INFERENCE_ONLY, Arrays, Cell
from fourfold.measure import expected, measured
from fourfold.project import browsed, cells, defaults_module, travels, variants
from fourfold.report import archive
from fourfold.training import TrainingRun, training_runs

REFERENCE = "reference"
# The lines that a worker prints.
READY = "ready for tasks"
DONE = "one more step done"
REFUSED = 2  # the exit status where the backend does not have the device
ENDED = "task ended"


@dataclass(frozen=True)
class Task:
    """What a worker does in one go, and leaves in one file.

    work: measure the cases of a component, run its trainings, load the models of it that the
    sources have saved, or train with the framework's own defaults, which is no component's.
    """

    backend: str
    work: Literal["measure", "train", "load", "defaults"]
    component: str | None = None
    sources: tuple[str, ...] = ()

    @property
    def file(self) -> str:
        return f"{self.backend}-{self.component or 'no component'}-{self.work}.arrays"

    @cached_property
    def items(self) -> list[tuple[str, tuple[Any, ...]]]:
        """For each step what the errors call it, and what the step is about."""
        if self.work == "defaults":
            return [(defaults_key(variant), (variant,)) for variant in variants(self.backend)]
        if self.work == "load":
            return [
                (f"{cell}|{travel(source, self.backend)}", (cell, source))
                for cell, source in journeys(self.backend, self.component, self.sources)
            ]
        if self.work == "train":
            return [(str(run), (run,)) for run in training_runs(self.backend, self.component)]
        return [(str(cell), (cell,)) for cell in measured_cells(self.backend, self.component)]

    @property
    def steps(self) -> int:
        """How many lines say that something is done."""
        return len(self.items)

    def order(self) -> str:
        """The line that a worker reads."""
        return json.dumps({"work": self.work, "component": self.component, "sources": self.sources})


def measured_cells(name: str, component: str | None) -> list[Cell]:
    """The cells that a backend, or the reference, has to fill."""
    return cells(None if name == REFERENCE else name, component)


def key(cell: Cell | TrainingRun, quantity: str) -> str:
    """What a quantity of a cell or of a training is called in the file."""
    return f"{cell}|{quantity}"


def defaults_key(variant: str) -> str:
    """What a training with a framework's own defaults is called in the file."""
    return f"defaults-{variant}"


class Run:
    """What a backend finds in a task; what raises is left out, and its error kept.

    models: the folder of the models that travel. done: called after each step.
    """

    def __init__(self, name: str, models: Path, done: Callable[[], None]) -> None:
        self.name = name
        self.models = models
        self.done = done
        self.backend = None if name == REFERENCE else load_backend(name)
        self.arrays: dict[str, np.ndarray] = {}
        self.errors: dict[str, str] = {}

    def measure(self, cell: Cell) -> None:
        """The cell's quantities, and its model in a file."""
        if self.backend is None:
            found = expected(cell)
        else:
            found = measured(self.backend, cell)
            if travels(cell) and self.name not in INFERENCE_ONLY:
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
        runs = defaults_module(f"{self.name}_runs")
        assert runs is not None
        found = runs.run(variant)
        self.arrays |= {f"{defaults_key(variant)}|{name}": array for name, array in found.items()}

    def load(self, cell: Cell, source: str) -> None:
        """The outputs of the model that another backend has saved; its arrays as they were."""
        assert self.backend is not None
        case = cell.case.cast(cell.dtype)
        outputs, arrays = self.backend.run_file(model_path(self.models, source, cell), case)
        assert_same(arrays, case.weights or {})
        quantity = travel(source, self.name)
        self.arrays |= {key(cell, f"{quantity}:{name}"): one for name, one in outputs.items()}

    def work(self, task: Task) -> None:
        """All steps of a task."""
        steps: dict[str, Callable[..., None]] = {
            "measure": self.measure,
            "train": self.train,
            "load": self.load,
            "defaults": self.run_defaults,
        }
        for name, about in task.items:
            try:
                steps[task.work](*about)
            except Exception as error:  # whatever it is, the report must say it
                self.errors[name] = f"{type(error).__name__}: {error}"
            self.done()

    def save(self, path: Path) -> None:
        versions = {} if self.backend is None else self.backend.versions()
        mode = "" if self.backend is None else self.backend.mode()
        header = {"versions": versions, "mode": mode, "errors": self.errors}
        archive.save(path, header, {name: np.asarray(one) for name, one in self.arrays.items()})


def travel(source: str, target: str) -> str:
    """The quantity of a model that one backend saved and another loaded."""
    return f"travel:{source}>{target}"


def journeys(name: str, component: str | None, sources: Sequence[str]) -> list[tuple[Cell, str]]:
    """What a backend is to load: each cell whose model travels, and where it comes from."""
    loaded = cells(None, component) if name == BROWSER else cells(name, component)
    return [
        (cell, source)
        for cell in loaded
        if (browsed(cell) if name == BROWSER else travels(cell))
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


@contextmanager
def channel() -> Iterator[Callable[[str], None]]:
    """What prints a line for the report; everything else that is printed goes to the log."""
    with os.fdopen(os.dup(1), "w") as output:
        os.dup2(2, 1)
        yield lambda line: print(line, file=output, flush=True)


def orders() -> Iterator[str]:
    """The lines of the standard input.

    When it ends, the report has ended: so does this process, in the middle of a task too.
    """
    lines = SimpleQueue[str]()

    def read() -> None:
        with open(0, closefd=False) as given:
            for line in given:
                lines.put(line)
        os._exit(1)

    Thread(target=read, daemon=True).start()
    while True:
        yield lines.get()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("project", help="the module that registers it")
    parser.add_argument("backend")
    parser.add_argument("folder", type=Path, help="for the results and the models that travel")
    parser.add_argument("--device", default="cpu", help="where the backend computes")
    arguments = parser.parse_args()
    with channel() as say:
        importlib.import_module(arguments.project)
        if arguments.backend != REFERENCE:
            backend = load_backend(arguments.backend)
            try:
                backend.use_device(arguments.device)
            except ValueError as error:
                parser.exit(REFUSED, f"{error}\n")
        say(READY)
        for line in orders():
            task = Task(arguments.backend, **json.loads(line))
            found = Run(task.backend, arguments.folder, lambda: say(DONE))
            found.work(task)
            found.save(arguments.folder / task.file)
            say(ENDED)
            # Theano's graphs are millions of objects that stay: each is looked through for garbage
            # once, after its task, and not again whenever a quarter more has been added.
            gc.collect()
            gc.freeze()


if __name__ == "__main__":
    main()
