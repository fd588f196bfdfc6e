"""Compares the trainings: every pair of frameworks, loss by loss, and what each ends with."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np

from fourfold.agreement import TRAINING_TOLERANCE, error
from fourfold.definition import DTYPES, INFERENCE_ONLY, Arrays
from fourfold.report.run import REFERENCE
from fourfold.training import TrainingRun, training_runs

JUDGED = DTYPES[0]  # in float32 the trainings are shown and not judged


class Trained(NamedTuple):
    """Rows and missing entries of parity.json, and for each pair its differences step by step."""

    rows: list[dict[str, Any]]
    missing: list[dict[str, Any]]
    divergence: list[dict[str, Any]]


def compare_trainings(results: Mapping[str, Any], component: str | None) -> Trained:
    """Of the backends that were run, those that train."""
    trained = Trained([], [], [])
    names = [name for name in results if name not in (REFERENCE, *INFERENCE_ONLY)]
    for run in training_runs(component=component):
        found = {name: results[name].quantities.get(str(run), {}) for name in names}
        for name in names:
            if not found[name]:
                reason = results[name].errors.get(str(run), "not computed")
                trained.missing.append({**place(run), "backend": name, "reason": reason})
        for a, b in combinations((name for name in names if found[name]), 2):
            sides = {**place(run), "a": a, "b": b}
            worst, where = worst_error(found[a], found[b])
            steps = step_errors(found[a]["losses"], found[b]["losses"])
            trained.divergence.append({**sides, "worst": finite(worst), "steps": steps})
            if run.dtype == JUDGED:
                trained.rows.append(
                    {
                        **sides,
                        "error": finite(worst),
                        "tolerance": TRAINING_TOLERANCE,
                        "ok": worst <= TRAINING_TOLERANCE,
                        "where": where,
                    }
                )
    return trained


def place(run: TrainingRun) -> dict[str, Any]:
    return {
        "component": run.training.component,
        "case": run.training.label,
        "quantity": run.quantity,
        "dtype": run.dtype,
    }


def worst_error(a: Arrays, b: Arrays) -> tuple[float, str]:
    """The largest error of the losses, the parameters and the optimizer's state, and which it is.

    Relative to the largest entry of each: squares of gradients are far below 1. Infinite when one
    has what the other lacks, or another dtype.
    """
    lacking = sorted(a.keys() ^ b.keys())
    if lacking:
        return float("inf"), lacking[0]
    errors = {
        name: error(b[name], a[name], unit=0) if a[name].dtype == b[name].dtype else float("inf")
        for name in a
    }
    where = max(errors, key=lambda name: errors[name])
    return errors[where], where


def step_errors(a: np.ndarray, b: np.ndarray) -> list[float | str]:
    """The error of each step's loss, to three digits."""
    errors = [
        error(np.atleast_1d(one), np.atleast_1d(other)) for one, other in zip(b, a, strict=True)
    ]
    return [finite(float(f"{one:.2e}")) for one in errors]


def finite(number: float) -> float | str:
    """JSON has no infinity."""
    return number if np.isfinite(number) else str(number)
