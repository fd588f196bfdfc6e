"""What the definition says of a cell, and what a backend makes of it: named quantities.

`value:NAME` for each output, `gradient:NAME` for each floating input and each weight.
"""

from __future__ import annotations

import hashlib
import os
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from fourfold.backends import Backend
from fourfold.definition import Arrays, Case, Cell, Operation, SparseInput, upstream

Change = Callable[[Case, str, np.ndarray], Case]


_expected: dict[Any, dict[str, np.ndarray]] = {}
_folder: Path | None = None


def keep_expected(folder: Path) -> None:
    """Keep what is expected in a folder too, for other processes that test the same definitions.

    The folder is of one run: it does not notice that a definition changes.
    """
    global _folder
    folder.mkdir(parents=True, exist_ok=True)
    _folder = folder


def expected(cell: Cell) -> dict[str, np.ndarray]:
    """The quantities of the reference, in float64, from inputs rounded to the cell's dtype.

    What calls the same reference with the same arrays is computed once: a loss and its layer, and
    both dtypes of whole numbers.
    """
    case = _rounded(cell)
    arguments = (case.inputs, case.options, case.weights, case.flat, case.gradients, case.fixed)
    key = (cell.operation.reference, cell.differentiate, *map(_content, arguments))
    if key not in _expected:
        _expected[key] = _kept(cell, arguments)
    return dict(_expected[key])


def _kept(cell: Cell, arguments: tuple[Any, ...]) -> dict[str, np.ndarray]:
    """What another process has left in the folder of `keep_expected`; else computed, and left."""
    if _folder is None:
        return _computed(cell)
    # Of two processes a function is the same where it has a name; another is that of its case.
    reference = cell.operation.reference
    module = sys.modules.get(getattr(reference, "__module__", ""))
    name = getattr(reference, "__qualname__", "")
    is_named = getattr(module, name, None) is reference
    known_as = (module.__name__, name) if module and is_named else cell.label
    contents = [cell.label if callable(one) else _content(one) for one in arguments]
    key = repr((cell.component, known_as, cell.differentiate, contents))
    path = _folder / f"{hashlib.sha256(key.encode()).hexdigest()}.npz"
    if path.exists():
        with np.load(path) as kept:
            return dict(kept)
    found = _computed(cell)
    with tempfile.NamedTemporaryFile(dir=_folder, delete=False) as file:
        np.savez(file, **found)  # type: ignore[arg-type]
    os.replace(file.name, path)
    return found


def _computed(cell: Cell) -> dict[str, np.ndarray]:
    values = expected_values(cell)
    return values | _gradients(cell, values)


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
