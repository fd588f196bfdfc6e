"""Joins what the backends measured: one row per pair, component, case, quantity and dtype.

A component is joined as soon as all backends are through with it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, permutations
from pathlib import Path
from typing import Any

import numpy as np

from fourfold.agreement import error, tolerance, unit
from fourfold.definition import BROWSER, INFERENCE_ONLY, Cell
from fourfold.project import browsed, cells, defaults_module, travels, variants
from fourfold.report import archive
from fourfold.report.run import REFERENCE, Task, defaults_key, travel
from fourfold.report.trained import compare_trainings

NO_CELL = {"component": "the frameworks' own defaults", "case": "training", "dtype": "any"}


@dataclass(frozen=True)
class Results:
    """What a backend's tasks left in their files: {cell: {quantity: array}}, {cell: error}.

    versions: of its packages. mode: how it computed, in words.
    """

    versions: Mapping[str, str]
    errors: Mapping[str, str]
    quantities: Mapping[str, Mapping[str, np.ndarray]]
    mode: str = ""

    @classmethod
    def read(
        cls, tasks: Sequence[Task], folder: Path, stopped: Mapping[Task, Exception] | None = None
    ) -> Results:
        """What tasks have left in a folder.

        stopped: what stopped those that have left nothing: the reason of all their errors. That is
        also what a file is that cannot be read.
        """
        stopped = stopped or {}
        found = cls({}, {}, {})
        for task in tasks:
            lost: Exception | None = stopped.get(task)
            if lost is None:
                try:
                    found = found.joined(cls.of_file(folder / task.file))
                except (OSError, ValueError, KeyError) as error:
                    reason = f"{type(error).__name__}: {error}"
                    lost = ValueError(f"its results in {task.file} cannot be read: {reason}")
            if lost is not None:
                errors = dict.fromkeys((name for name, _ in task.items), str(lost))
                found = found.joined(cls({}, errors, {}))
        return found

    @classmethod
    def of_file(cls, path: Path) -> Results:
        quantities: dict[str, dict[str, np.ndarray]] = {}
        header, arrays = archive.load(path)
        for name, array in arrays.items():
            cell, _, quantity = name.rpartition("|")
            quantities.setdefault(cell, {})[quantity] = array
        return cls(header["versions"], header["errors"], quantities, header["mode"])

    def joined(self, other: Results) -> Results:
        """What both have, of a cell too: its values and the models of it that were loaded."""
        quantities = {
            cell: {**self.quantities.get(cell, {}), **own} for cell, own in other.quantities.items()
        }
        return Results(
            {**self.versions, **other.versions},
            {**self.errors, **other.errors},
            {**self.quantities, **quantities},
            other.mode or self.mode,
        )


def join(results: Mapping[str, Results], component: str) -> dict[str, Any]:
    """The report on one component: environments, modes, rows, missing, divergence, ok."""
    rows: list[dict[str, Any]] = []
    missing: list[dict[str, Any]] = []
    for cell in cells(component=component):
        wanted = results[REFERENCE].quantities.get(str(cell), {})
        if not wanted:
            missing.append(_missing(cell, "all", REFERENCE, results))
        for quantity, array in wanted.items():
            sides = {REFERENCE: array}
            for backend in _fillers(cell, quantity, results):
                found = results[backend].quantities.get(str(cell), {}).get(quantity)
                if found is None:
                    missing.append(_missing(cell, quantity, backend, results))
                else:
                    sides[backend] = found
            size = unit(cell.case, quantity, array)
            rows += [_row(cell, quantity, a, b, sides, size) for a, b in combinations(sides, 2)]
        for source, target in _journeys(cell, results):
            found_row = _travel_row(cell, source, target, results)
            if found_row:
                rows.append(found_row)
            else:
                saved = results[source].quantities.get(str(cell))
                lacking = target if saved else source
                missing.append(_missing(cell, travel(source, target), lacking, results))
    trainers = {name: one for name, one in results.items() if name != BROWSER}
    trained = compare_trainings(trainers, component)
    rows += trained.rows
    missing += trained.missing
    return {
        "environments": {name: dict(one.versions) for name, one in results.items()},
        "modes": {name: one.mode for name, one in results.items() if one.mode},
        "rows": rows,
        "missing": missing,
        "divergence": trained.divergence,
        "defaults": {"runs": {}, "costs": []},
        "ok": bool(rows) and not missing and all(row["ok"] for row in rows),
    }


def combine(
    parts: Sequence[Mapping[str, Any]], with_defaults: Mapping[str, Results]
) -> dict[str, Any]:
    """The content of parity.json: the reports on the components as one, and the defaults.

    with_defaults: what the runs with the frameworks' own defaults left; empty for none.
    """
    missing = [entry for part in parts for entry in part["missing"]]
    runs = defaults_runs(with_defaults, missing)
    return {
        "environments": {k: v for part in parts for k, v in part["environments"].items()},
        "modes": {k: v for part in parts for k, v in part["modes"].items()},
        "rows": [row for part in parts for row in part["rows"]],
        "missing": missing,
        "divergence": [one for part in parts for one in part["divergence"]],
        "defaults": {"runs": runs, "costs": costs(runs)},
        "ok": bool(parts) and not missing and all(part["ok"] for part in parts),
    }


def defaults_runs(
    results: Mapping[str, Results], missing: list[dict[str, Any]]
) -> dict[str, dict[str, dict[str, list[float]]]]:
    """{framework: {variant: {losses, evaluation}}}; what is not there is added to `missing`."""
    runs: dict[str, dict[str, dict[str, list[float]]]] = {}
    for name in results:
        runs[name] = {}
        for variant in variants(name):
            key = defaults_key(variant)
            if found := results[name].quantities.get(key):
                lists = {one: [float(f"{x:.9g}") for x in array] for one, array in found.items()}
                runs[name][variant] = lists
            else:
                reason = results[name].errors.get(key, "not computed")
                missing.append({**NO_CELL, "quantity": variant, "backend": name, "reason": reason})
    return runs


def costs(runs: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What each default costs, as rows of a table; none without runs."""
    plots = defaults_module("plots")
    return plots.costs(runs) if runs and plots else []


def _fillers(cell: Cell, quantity: str, results: Mapping[str, Results]) -> list[str]:
    """The backends that owe this quantity, of those that were run."""
    gradient = quantity.startswith("gradient:")
    return [
        name
        for name in cell.operation.backends()
        if name in results and not (gradient and name in INFERENCE_ONLY)
    ]


def _journeys(cell: Cell, results: Mapping[str, Results]) -> list[tuple[str, str]]:
    """(who saved it, who loaded it) of a cell whose model travels, of those that were run."""
    if not travels(cell):
        return []
    present = [name for name in cell.operation.backends() if name in results]
    found = [(a, b) for a, b in permutations(present, 2) if a not in INFERENCE_ONLY]
    if BROWSER in results and browsed(cell):
        found += [(name, BROWSER) for name in present if name not in INFERENCE_ONLY]
    return found


def _travel_row(
    cell: Cell, source: str, target: str, results: Mapping[str, Results]
) -> dict[str, Any] | None:
    """The outputs of the model that travelled against those where it was saved; the worst."""
    quantity = travel(source, target)
    saved, loaded = (results[name].quantities.get(str(cell), {}) for name in (source, target))
    pairs = {
        name: (array, loaded.get(f"{quantity}:{name.removeprefix('value:')}"))
        for name, array in saved.items()
        if name.startswith("value:")
    }
    if not pairs or any(there is None for _, there in pairs.values()):
        return None
    rows = [
        _row(
            cell,
            quantity,
            source,
            target,
            {source: here, target: there},
            unit(cell.case, name, here),
        )
        for name, (here, there) in pairs.items()
        if there is not None
    ]
    return max(rows, key=lambda row: float(row["error"]))


def _row(
    cell: Cell, quantity: str, a: str, b: str, sides: Mapping[str, np.ndarray], unit: float
) -> dict[str, Any]:
    found = error(sides[b], sides[a], unit)
    bound = tolerance(quantity, cell.operation.kind, cell.dtype, reference=a == REFERENCE)
    # The reference is float64; a result in any dtype but the cell's is no agreement.
    for name, array in sides.items():
        if name in (a, b) and name != REFERENCE and array.dtype.kind == "f":
            found = found if array.dtype == cell.dtype else float("inf")
    return {
        **_place(cell, quantity),
        "a": a,
        "b": b,
        "error": found if np.isfinite(found) else str(found),
        "tolerance": bound,
        "ok": found <= bound,
    }


def _missing(
    cell: Cell, quantity: str, backend: str, results: Mapping[str, Results]
) -> dict[str, Any]:
    errors = results[backend].errors
    reason = errors.get(f"{cell}|{quantity}", errors.get(str(cell), "not computed"))
    return {**_place(cell, quantity), "backend": backend, "reason": reason}


def _place(cell: Cell, quantity: str) -> dict[str, Any]:
    return {
        "component": cell.component,
        "case": cell.label,
        "quantity": quantity,
        "dtype": cell.dtype,
    }
