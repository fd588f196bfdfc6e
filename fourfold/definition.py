"""What a definition is made of: a component's operations, their cases, bad input and mutants."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np

DTYPES = ("float64", "float32")
BACKENDS = ("torch", "tf2", "theano", "numpy")
INFERENCE_ONLY = ("numpy",)  # no gradients
BROWSER = "browser"  # loads the models of the others, where a project has something that does

Arrays = Mapping[str, np.ndarray]


@dataclass(frozen=True, repr=False)
class SparseInput:
    """A dense array that each backend is to be given in a sparse form of its own."""

    array: np.ndarray
    layout: Literal["csr", "csc", "coo"] = "csr"

    def __repr__(self) -> str:
        return f"{self.layout} {self.array.dtype}{self.array.shape}"


@dataclass(frozen=True)
class Case:
    """One call: its inputs in order, its keyword arguments and, for a model, its weights.

    Floating inputs and all weights are differentiated, unless the value itself is NaN. Where
    differences do not exist, at a kink, `flat` marks the entries whose gradient is zero by
    convention, or `gradients` gives all of them by hand, or as a function of the case, for the
    gradient `upstream`. `fixed` names weights that are not trained, such as running statistics;
    `channels` the inputs and outputs that are (batch, channels, *space), which TensorFlow wants
    with the channels last. `vanishing` and `cancelling` are patterns of quantities, as in
    `vanishes` and `cancels`.
    """

    name: str
    inputs: Mapping[str, Any]
    options: Mapping[str, Any] = field(default_factory=dict)
    weights: Arrays | None = None
    differentiate: bool = True
    flat: Mapping[str, Any] = field(default_factory=dict)
    gradients: Arrays | Callable[[Case], Arrays] | None = None
    fixed: Collection[str] = ()
    channels: Collection[str] = ()
    vanishing: Collection[str] = ()
    cancelling: Collection[str] = ()

    def vanishes(self, *quantities: str) -> Case:
        """This case, where these are so small that errors are relative to their largest entry.

        Patterns, such as "gradient:*". Every comparison must be able to fail: what is smaller
        than a thousand tolerances is named here, and what does not vanish is not.
        """
        return replace(self, vanishing=quantities)

    def cancels(self, *quantities: str) -> Case:
        """This case, where these are zero but for rounding: they need not be zero exactly."""
        return replace(self, cancelling=quantities)

    def cast(self, dtype: str) -> Case:
        """This case with every floating array rounded to `dtype`."""

        def rounded(value: Any) -> Any:
            if isinstance(value, SparseInput):
                return replace(value, array=value.array.astype(dtype))
            if isinstance(value, np.ndarray) and np.issubdtype(value.dtype, np.floating):
                with np.errstate(over="ignore"):  # what float32 cannot hold is infinite
                    return value.astype(dtype)
            return value

        def all_rounded(values: Mapping[str, Any]) -> dict[str, Any]:
            return {name: rounded(value) for name, value in values.items()}

        weights = None if self.weights is None else all_rounded(self.weights)
        return replace(self, inputs=all_rounded(self.inputs), weights=weights)


@dataclass(frozen=True)
class BadInput:
    """Arguments that replace those of a good case, and the error that names the first.

    numpy is False for a size that a layer of the NumPy package reads off its arrays. inputs: which
    of the arguments are inputs, like those of the good case, where that has none of their names.
    """

    changes: Mapping[str, Any]
    error: type[Exception] = ValueError
    numpy: bool = True
    inputs: Collection[str] = ()

    @property
    def argument(self) -> str:
        return next(iter(self.changes))

    def applied(self, case: Case) -> Case:
        """The case with these arguments in the place of its own."""
        inputs = {name: self.changes.get(name, value) for name, value in case.inputs.items()}
        added = {name: value for name, value in self.changes.items() if name not in inputs}
        more = {name: value for name, value in added.items() if name in self.inputs}
        options = {name: value for name, value in added.items() if name not in more}
        return replace(case, inputs=inputs | more, options={**case.options, **options})


@dataclass(frozen=True)
class Operation:
    """A public function or class, the float64 reference it is held to, and its cases.

    The reference of a function is called with the case's inputs and options, that of a model
    with the weights before them. It returns an array or a mapping of named arrays. numpy: the
    NumPy package implements it too. only: the one backend that implements it.
    """

    name: str
    reference: Callable[..., Any]
    cases: Sequence[Case]
    bad_inputs: Sequence[BadInput] = ()
    kind: Literal["layer", "model"] = "layer"
    differentiable: bool = True
    numpy: bool = False
    only: str | None = None

    def backends(self) -> tuple[str, ...]:
        if self.only:
            return (self.only,)
        return tuple(name for name in BACKENDS if self.numpy or name != "numpy")


@dataclass(frozen=True)
class Mutant:
    """A porter's mistake, as an edit of the source in each package, and the case that sees it.

    file: the module that is edited, where it is not the component's file: a name below the package,
    such as "fast.triplet_mining", or the full name of a module in another package.
    """

    name: str
    operation: str
    case: str
    edits: Mapping[str, tuple[str, str]]
    file: str | None = None


@dataclass(frozen=True)
class Definition:
    """A component: its operations and the mutants that its cases must catch."""

    component: str
    operations: Sequence[Operation]
    mutants: Sequence[Mutant]

    def cell(self, operation: str, case: str, dtype: str = "float64") -> Cell:
        """The cell of these names."""
        return next(
            Cell(self.component, one, candidate, dtype)
            for one in self.operations
            if one.name == operation
            for candidate in one.cases
            if candidate.name == case
        )


@dataclass(frozen=True)
class Cell:
    """One case of one operation in one dtype."""

    component: str
    operation: Operation
    case: Case
    dtype: str

    @property
    def differentiate(self) -> bool:
        return self.operation.differentiable and self.case.differentiate

    def __str__(self) -> str:
        return f"{self.component}-{self.operation.name}-{self.case.name}-{self.dtype}"

    @property
    def label(self) -> str:
        """The case's name within its component."""
        return f"{self.operation.name}: {self.case.name}"


def upstream(shape: tuple[int, ...]) -> np.ndarray:
    """The gradient that flows into an output of this shape: no two entries alike."""
    return np.asarray(np.cos(np.arange(1.0, np.prod(shape) + 1)).reshape(shape) + 0.25)
