"""What the user of a program chooses."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import ModuleType

FRAMEWORKS = ("torch", "tf2", "theano")
Report = Callable[..., None]  # report(done, of, **numbers): how far a training is


def silent(done: int, of: int, **numbers: float) -> None:
    """Report nothing."""


@dataclass(frozen=True)
class Options:
    """The options of every program.

    Args:
        framework: torch, tf2 or theano: what trains.
        seed: of the data that is made, the order of the batches and the start of the weights.
        output: the folder of what is written: the model file, plots, results.json.
        data: the user's own folder or file, or None for what a package ships.
        start: a model file of an earlier run, of any framework, to go on from; or None.
        quick: whether to train on little data for a few steps, to try the program out.
        plots: whether to draw.
    """

    framework: str = "torch"
    seed: int = 1
    output: Path = Path("results")
    data: Path | None = None
    start: Path | None = None
    quick: bool = False
    plots: bool = True

    @property
    def model_file(self) -> Path:
        """Where the model is saved."""
        return self.output / "model.safetensors"

    def training(self, program: str) -> ModuleType:
        """The file of a program that trains in the chosen framework."""
        return import_module(f"examples.{program}.with_{self.framework}")
