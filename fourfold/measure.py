"""What the definition says of a cell, and what a backend makes of it: named quantities.

`value:NAME` for each output, `gradient:NAME` for each floating input and each weight.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from fourfold.backends import Backend
from fourfold.definition import Arrays, Case, Cell, Operation, SparseInput, upstream

Change = Callable[[Case, str, np.ndarray], Case]


_expected: dict[Any, dict[str, np.ndarray]] = {}


def expected(cell: Cell) -> dict[str, np.ndarray]:
    """The quantities of the reference, in float64, from inputs rounded to the cell's dtype.

    What calls the same reference with the same arrays is computed once: a loss and its layer, and
    both dtypes of whole numbers.
    """
    case = _rounded(cell)
    arguments = (case.inputs, case.options, case.weights, case.flat, case.gradients, case.fixed)
    key = (cell.operation.reference, cell.differentiate, *map(_content, arguments))
    if key not in _expected:
        values = expected_values(cell)
        _expected[key] = values | _gradients(cell, values)
    return dict(_expected[key])


def _content(value: Any) -> Any:
    """What a value holds, to look it up by: equal arrays have equal contents."""
    if isinstance(value, SparseInput):
        return "sparse", _content(value.array)  # which has no gradient
    if isinstance(value, np.ndarray):
        return value.shape, str(value.dtype), value.tobytes()
    if isinstance(value, Mapping):
        return tuple((name, _content(one)) for name, one in value.items())
    if isinstance(value, list | tuple):
        return tuple(map(_content, value))
    return value if callable(value) else repr(value)


def expected_values(cell: Cell) -> dict[str, np.ndarray]:
    """The values alone, for what infers: most of the reference's time goes to differences."""
    outputs = reference_outputs(cell.operation, _rounded(cell))
    return {f"value:{name}": value for name, value in outputs.items()}


def _gradients(cell: Cell, values: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    if not cell.differentiate:
        return {}
    case = _rounded(cell)
    given = case.gradients(case) if callable(case.gradients) else case.gradients
    outputs = {name.removeprefix("value:"): value for name, value in values.items()}
    found = given or differences(cell.operation, case, outputs)
    return {f"gradient:{name}": value for name, value in found.items()}


def _rounded(cell: Cell) -> Case:
    """The case with its inputs rounded to the cell's dtype, in float64."""
    return cell.case.cast(cell.dtype).cast("float64")


def measured(backend: Backend, cell: Cell) -> dict[str, np.ndarray]:
    """The quantities as a backend computes them in the cell's dtype."""
    case = cell.case.cast(cell.dtype)
    values, gradients = backend.run(cell.component, cell.operation.name, case, cell.differentiate)
    return {f"value:{name}": value for name, value in values.items()} | {
        f"gradient:{name}": value for name, value in gradients.items()
    }


def reference_outputs(operation: Operation, case: Case) -> dict[str, np.ndarray]:
    inputs = {
        name: value.array if isinstance(value, SparseInput) else value
        for name, value in case.inputs.items()
    }
    weights = () if case.weights is None else (case.weights,)
    return named(operation.reference(*weights, **inputs, **case.options))


def named(outputs: Any) -> dict[str, np.ndarray]:
    """Outputs as a mapping; a single array is called `output`."""
    if isinstance(outputs, Mapping):
        return {name: np.asarray(value) for name, value in outputs.items()}
    return {"output": np.asarray(outputs)}


def differences(
    operation: Operation, case: Case, outputs: Arrays, step: float = 1e-5
) -> dict[str, np.ndarray]:
    """Central differences of the upstream-weighted sum of the outputs, entry by entry.

    step: relative to the largest entry of what is moved.
    """
    factors = {
        name: upstream(value.shape) for name, value in outputs.items() if value.dtype.kind == "f"
    }

    def total(changed: Case) -> float:
        values = reference_outputs(operation, changed)
        return float(sum((values[name] * factor).sum() for name, factor in factors.items()))

    def derivative(name: str, value: np.ndarray, change: Change) -> np.ndarray:
        result = np.zeros_like(value)
        moves = np.ones(value.shape, bool)
        if name in case.flat:
            moves[case.flat[name]] = False
        length = step * (np.abs(value).max(initial=0) or 1)
        for index in map(tuple, np.argwhere(moves)):
            moved = value.copy()
            moved[index] = value[index] + length
            above = total(change(case, name, moved))
            moved[index] = value[index] - length
            below = total(change(case, name, moved))
            result[index] = (above - below) / (2 * length)
        return result

    inputs = {
        name: value
        for name, value in case.inputs.items()
        if isinstance(value, np.ndarray) and value.dtype.kind == "f"
    }
    found = {name: derivative(name, value, _with_input) for name, value in inputs.items()}
    for name, value in (case.weights or {}).items():
        if name in case.fixed:
            continue
        found[name] = derivative(name, value, _with_weight)
    return found


def _with_input(case: Case, name: str, value: np.ndarray) -> Case:
    return replace(case, inputs={**case.inputs, name: value})


def _with_weight(case: Case, name: str, value: np.ndarray) -> Case:
    return replace(case, weights={**(case.weights or {}), name: value})
