"""What each mutant does to the numbers of the case that sees it, for the pages of the book.

    python -m shared_tests.support.mutant_effects --backend torch --output FOLDER

It writes FOLDER/effects-torch.json, {component: {mutant: {"quantity", "error", "tolerance",
"right", "wrong"}}}: of the quantity that is furthest beyond its tolerance the error, and its entry
that differs most.
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from fourfold.agreement import error, tolerance, unit
from fourfold.backends import Backend
from fourfold.backends import backend as load_backend
from fourfold.definition import INFERENCE_ONLY, Cell, Definition, Mutant
from fourfold.measure import expected, expected_values, measured
from fourfold.project import definitions
from shared_tests.repository import PACKAGES
from shared_tests.support.mutants import in_place

EVERY = 10  # seconds between two lines that say how far it is


def effect(name: str, backend: Backend, definition: Definition, mutant: Mutant) -> dict[str, Any]:
    """What one mutant does in one package."""
    cell = definition.cell(mutant.operation, mutant.case)
    wanted = (expected_values if name in INFERENCE_ONLY else expected)(cell)
    with in_place(mutant, PACKAGES[name], definition.component):
        got = measured(backend, cell)
    found = {one: _share(cell, one, got[one], wanted[one]) for one in wanted}
    quantity = max(found, key=lambda one: found[one][0] / found[one][1])
    size, bound = found[quantity]
    right, wrong = _furthest(wanted[quantity], got[quantity])
    numbers = {"error": _plain(size), "right": _plain(right), "wrong": _plain(wrong)}
    return {"quantity": quantity, "tolerance": bound, **numbers}


def _share(cell: Cell, quantity: str, got: np.ndarray, wanted: np.ndarray) -> tuple[float, float]:
    size = unit(cell.case, quantity, wanted)
    bound = tolerance(quantity, cell.operation.kind, cell.dtype, reference=True)
    return error(got, wanted, size), bound


def _furthest(wanted: np.ndarray, got: np.ndarray) -> tuple[Any, Any]:
    """The entry that differs most; the shapes where these differ."""
    if wanted.shape != got.shape:
        return str(wanted.shape), str(got.shape)
    distance = np.nan_to_num(np.abs(got.astype(float) - wanted), nan=np.inf)
    place = np.unravel_index(distance.argmax(), distance.shape)
    return wanted[place].item(), got[place].item()


def _plain(number: Any) -> Any:
    """What JSON can say: NaN and infinity as words."""
    return number if isinstance(number, str) or np.isfinite(number) else str(number)


def effects(name: str, component: str | None = None) -> dict[str, dict[str, Any]]:
    """Those of all mutants in one package, or of one component's."""
    backend, package, start = load_backend(name), PACKAGES[name], time.monotonic()
    due = [(one, mutant) for one in definitions() for mutant in one.mutants]
    due = [pair for pair in due if package in pair[1].edits]
    due = [pair for pair in due if component in (None, pair[0].component)]
    found: dict[str, dict[str, Any]] = {}
    said = start
    for count, (definition, mutant) in enumerate(due):
        if time.monotonic() - said > EVERY:
            said = time.monotonic()
            print(f"{name}: {count} of {len(due)} mutants, {said - start:.0f} s", flush=True)
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")  # a mutant may well divide by zero
            own = effect(name, backend, definition, mutant)
        found.setdefault(definition.component, {})[mutant.name] = own
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure what each mutant does to the numbers.")
    parser.add_argument("--backend", choices=list(PACKAGES), required=True)
    parser.add_argument("--component", help="of this component alone")
    parser.add_argument("--output", type=Path, required=True, help="a folder")
    given = parser.parse_args()
    text = json.dumps(effects(given.backend, given.component), indent=1)
    (given.output / f"effects-{given.backend}.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
