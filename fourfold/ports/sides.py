"""One side of a comparison, ready to be run again: built, with its weights, for one case."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import FunctionType
from typing import Any

import numpy as np

from fourfold.definition import Arrays, Case
from fourfold.ports import port as load_port
from fourfold.ports.calling import resolved
from fourfold.ports.measurement import Layouts, Measurement, Run
from fourfold.ports.protocol import Port, Recorded, Training
from fourfold.ports.training import Trainer


class NoStandIns(ValueError):
    """The operations of a side cannot be changed."""


@dataclass(frozen=True)
class Origin:
    """What a comparison was made of: the arguments of `compare` that say how a side is built.

    Args:
        implementations: {label: implementation}.
        cases: {name: case}.
        names, layouts: {label: map}.
        originals: {case: {name: array}}: the weights of the implementation that has the originals.
        carry: whether modules are given these too.
    """

    implementations: Mapping[str, Any]
    cases: Mapping[str, Case]
    names: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    layouts: Mapping[str, Layouts] = field(default_factory=dict)
    originals: Mapping[str, Arrays] = field(default_factory=dict)
    carry: bool = False

    def side(self, label: str, case: str, dtype: str) -> Side:
        """The implementation of this label, built for this case."""
        return side_of(
            self.implementations[label],
            self.cases[case],
            label.partition(":")[0],
            dtype,
            label=label,
            names=self.names.get(label),
            layouts=self.layouts.get(label),
            originals=self.originals,
            carry=self.carry,
        )


@dataclass(frozen=True)
class Side:
    """An implementation with its weights, and the case in its own names and layouts.

    Args:
        label: what the user calls it.
        port: its adapter.
        target: what the adapter has built.
        case: under the implementation's names.
        given: the case as the user gave it, in the dtype.
        run: gives results the names of the case back.
        kept: the weights that it has of its own, by the names of the original; None for none.
    """

    label: str
    port: Port
    target: Any = field(repr=False)
    case: Case = field(repr=False)
    given: Case = field(repr=False)
    run: Run = field(repr=False)
    kept: Mapping[str, np.ndarray] | None = field(default=None, repr=False)

    def quantities(self, *, gradients: bool = True) -> dict[str, np.ndarray]:
        """value:NAME of the outputs and gradient:NAME of the inputs, under the case's names."""
        wanted = gradients and self.port.differentiates and self.given.differentiate
        measured = self.port.call(self.target, self.case, gradients=wanted)
        return self.run.named(measured)

    def recorded(self) -> list[Recorded]:
        """The calls of the inner modules; none for a function."""
        if isinstance(getattr(self.target, "function", self.target), FunctionType):
            return []
        return self.port.record(self.target, self.case)

    def replayed(self, name: str, inputs: Sequence[np.ndarray]) -> tuple[np.ndarray, ...]:
        """The outputs of an inner module for these inputs."""
        return self.port.replay(self.target, name, inputs)

    def trainer(self, training: Training) -> Trainer:
        """What trains it, step by step."""
        return Trainer(self.port, self.target, training, self.label)

    def with_weights(self, arrays: Arrays) -> Side:
        """The same with other weights."""
        return replace(self, target=self.port.with_weights(self.target, arrays))


def side_of(
    target: Any,
    case: Case,
    framework: str,
    dtype: str,
    *,
    label: str | None = None,
    names: Mapping[str, str] | None = None,
    layouts: Layouts | None = None,
    originals: Mapping[str, Arrays] | None = None,
    carry: bool = False,
) -> Side:
    """An implementation built for a case in a dtype; the arguments are those of `measure`."""
    port = load_port(framework)
    found = Measurement(label or framework, framework)
    run = Run(
        found,
        port,
        resolved(target),
        dict(names or {}),
        dict(layouts or {}),
        originals or {},
        carry,
    )
    given = case.cast(dtype)
    adapted = run.adapted(given)
    built, weights = run.built(given, adapted, dtype)
    return Side(found.label, port, built, adapted, given, run, weights.kept)
