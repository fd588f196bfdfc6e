"""One adapter per package: the only place that knows how to build, run and differentiate it."""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from fourfold.definition import BACKENDS, BROWSER, Case
from fourfold.project import registered
from fourfold.training import Training

FRAMEWORKS = {"torch": "torch", "tf2": "tensorflow", "theano": "theano", "numpy": "numpy"}


# The named outputs, and the gradients of every floating input and every weight.
Run = tuple[dict[str, np.ndarray], dict[str, np.ndarray]]
# The named outputs of a model that was loaded from a file, and its arrays.
FileRun = tuple[dict[str, np.ndarray], dict[str, np.ndarray]]

# Runs a training with an optimizer, in a dtype.
Trainer = Callable[[Training, str, str], dict[str, np.ndarray]]


class Backend(Protocol):
    """What an adapter offers; its module is `fourfold.backends.<name>_backend`."""

    # What bad input may raise besides the error of the definition, where only running tells.
    runtime_errors: tuple[type[Exception], ...]

    def versions(self) -> dict[str, str]:
        """The framework and what it computes with, as {package: version}."""
        ...

    def use_device(self, device: str) -> None:
        """Compute on this device from now on. ValueError when it is unknown or not there."""
        ...

    def mode(self) -> str:
        """How it computes, in a few words for the report."""
        ...

    def run(self, component: str, name: str, case: Case, differentiate: bool) -> Run:
        """Call a function, or build a model with its weights and call it.

        The gradients are those of the upstream-weighted sum of the floating outputs.
        """
        ...

    def save(self, component: str, name: str, case: Case, path: Path) -> None:
        """Build a model with its weights and save it; not where there is only inference."""
        ...

    def run_file(self, path: Path, case: Case) -> FileRun:
        """Load the model in a file and call it with a case's inputs."""
        ...


def installed() -> list[str]:
    """The backends whose framework this environment has."""
    return [name for name in BACKENDS if importlib.util.find_spec(FRAMEWORKS[name])]


def backend(name: str) -> Backend:
    """The adapter of this name; a browser's is the project's own, which only loads models."""
    module = registered().browser if name == BROWSER else f"fourfold.backends.{name}_backend"
    found: Backend = importlib.import_module(str(module)).BACKEND
    return found


def trainer(name: str) -> Trainer:
    """What runs a training with an optimizer, in a dtype, in the framework of this name.

    Its arrays are `losses`, (steps,), and of each parameter, under its canonical name, what it is
    after the last step, `parameter NAME`, and the optimizer's state, such as `memory NAME`.
    """
    found: Trainer = importlib.import_module(registered().trainers[name]).train
    return found


def versions(*packages: str) -> dict[str, str]:
    """The versions of installed packages."""
    return {name: importlib.metadata.version(name) for name in packages}


def check_cpu(framework: str, device: str) -> None:
    """ValueError unless the device is the one that an adapter of this framework computes on."""
    if device != "cpu":
        raise ValueError(f"device: expected cpu for {framework}, got {device}")


def call_by_kind(target: Callable[..., Any], inputs: Mapping[str, Any], case: Case) -> Any:
    """target(*inputs, **options of the case); what it takes by keyword alone is given by name."""
    parameters = inspect.signature(target).parameters
    keyword = {
        name: value
        for name, value in inputs.items()
        if name in parameters and parameters[name].kind is inspect.Parameter.KEYWORD_ONLY
    }
    positional = [value for name, value in inputs.items() if name not in keyword]
    return target(*positional, **keyword, **case.options)
