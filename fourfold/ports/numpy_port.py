"""NumPy: functions of arrays, and classes whose objects are called; values only."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import numpy as np

from fourfold.definition import Arrays, Case
from fourfold.ports.calling import arguments
from fourfold.ports.protocol import (
    Measured,
    Optimizer,
    Recorded,
    WithWeights,
    flattened,
    nested,
    no_optimizer,
)


class NumpyPort:
    framework = "numpy"
    dtypes = ("float64", "float32", "float16")
    differentiates = False

    def versions(self) -> dict[str, str]:
        return {"numpy": np.__version__}

    def holds_weights(self, target: Any) -> bool:
        return False

    def build(self, target: Any, case: Case, dtype: str) -> Any:
        return target(**case.options) if isinstance(target, type) else target

    def call(
        self,
        target: Any,
        case: Case,
        *,
        gradients: bool,
        dtype: str | None = None,
        loss: str = "upstream",
    ) -> Measured:
        inputs = {name: to_native(value, dtype) for name, value in case.inputs.items()}
        function, first = target, []
        if isinstance(target, WithWeights):
            function = target.function
            first = [nested({name: to_native(one, dtype) for name, one in target.weights.items()})]
        positional, keyword = arguments(function, inputs, skip=len(first))
        options = case.options if inspect.isroutine(function) else {}
        outputs = function(*first, *positional, **keyword, **options)
        found = {name: np.asarray(value) for name, value in flattened(outputs).items()}
        return Measured(found, dtypes={name: str(one.dtype) for name, one in found.items()})

    def weights(self, target: Any) -> dict[str, np.ndarray]:
        return dict(target.weights) if isinstance(target, WithWeights) else {}

    def with_weights(self, target: Any, arrays: Arrays) -> Any:
        return WithWeights(getattr(target, "function", target), arrays)

    def optimizer(self, optimizer: Any, weights: Arrays) -> Optimizer:
        raise no_optimizer("numpy", "", optimizer)

    def record(self, target: Any, case: Case) -> list[Recorded]:
        return []  # a function has no inner modules

    def replay(
        self, target: Any, name: str, inputs: Sequence[np.ndarray]
    ) -> tuple[np.ndarray, ...]:
        raise ValueError(f"name: expected an inner module, got {name!r}: NumPy functions have none")


def to_native(value: Any, dtype: str | None) -> Any:
    """A copy, its floating entries in `dtype`, if one is given."""
    if not isinstance(value, np.ndarray):
        return value
    return value.astype(dtype) if dtype and value.dtype.kind == "f" else value.copy()


PORT = NumpyPort()
