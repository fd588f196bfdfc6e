"""A training that every framework runs from the same start: its model, batches and loss.

What is trained are the weights of a case of the definitions; where a loss has none, the embeddings
it is given.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from fourfold.definition import DTYPES, INFERENCE_ONLY, Case
from fourfold.project import definitions, registered


class Native(Protocol):
    """What a loss needs of a framework besides operators."""

    def component(self, name: str) -> Any:
        """The package's module of this name."""
        ...

    def mean(self, x: Any) -> Any:
        """The mean of all entries."""
        ...


# (native, the model's outputs, the batch) -> a scalar
Loss = Callable[[Native, Mapping[str, Any], Mapping[str, Any]], Any]


@dataclass(frozen=True)
class Training:
    """What is trained, and how.

    model is the (component, operation, case) whose weights and options it starts from. The
    batches are taken in turn: the inputs of the case, and whatever else the loss asks for.
    embeddings names inputs that are no data but trained, from what the case has there. rate is
    that of gradient descent.
    """

    component: str
    model: tuple[str, str, str]
    batches: Sequence[Mapping[str, Any]]
    loss: Loss
    embeddings: tuple[str, ...] = ()
    rate: float = 0.05

    def __str__(self) -> str:
        return "-".join([self.component, *self.model])

    @property
    def operation(self) -> str:
        return self.model[1]

    @property
    def case(self) -> Case:
        component, operation, case = self.model
        (definition,) = [one for one in definitions() if one.component == component]
        return definition.cell(operation, case).case

    @property
    def label(self) -> str:
        """Its name within its component."""
        return f"{self.operation}: {self.case.name}"

    def batch_cases(self, dtype: str) -> list[Case]:
        """The case with the inputs of each batch in turn, and what else the loss asks for."""
        cases = [replace(self.case, inputs={**self.case.inputs, **one}) for one in self.batches]
        return [case.cast(dtype) for case in cases]


@dataclass(frozen=True)
class TrainingRun:
    """A training with an optimizer, in a dtype."""

    training: Training
    optimizer: str
    dtype: str

    def __str__(self) -> str:
        return f"{self.training}-{self.optimizer}-{self.dtype}"

    @property
    def quantity(self) -> str:
        return f"training:{self.optimizer}"


def training_runs(backend: str | None = None, component: str | None = None) -> list[TrainingRun]:
    """Every run, or those of a component; none for a backend that only infers."""
    name = registered().trainings
    if name is None or backend in INFERENCE_ONLY:
        return []
    module = importlib.import_module(name)
    return [
        TrainingRun(training, optimizer, dtype)
        for training in module.TRAININGS
        if component in (None, training.component)
        for optimizer in module.OPTIMIZERS
        for dtype in DTYPES
    ]
