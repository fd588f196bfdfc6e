"""Reports as the pages show them: everything agrees, or each kind of failure is there once."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np

from benchmarks import harness
from benchmarks.report import growth_rows, target_rows
from fourfold.ports.result import Comparison
from fourfold.ports.rows import Missing, Row
from fourfold.report.run import REFERENCE
from shared_tests.defaults import FRAMEWORKS, STEPS, plots, variants
from shared_tests.repository import PACKAGES

COMPONENTS = ("distances", "soft_nearest_neighbor_loss", "smorms3")
BENCHMARKS = ("cold_start", "soft_nearest_neighbor_loss", "sparse_projection")
MADE = {
    "date": "2026-11-27T19:15:03+00:00",
    "commit": "eac41adca8e3-dirty",
    "machine": "Linux x86_64, Some Processor with a Long Name @ 2.00GHz, 2 cores, 8 GiB",
    "seconds": 503,
}
PORTS = ("keras", "jax:a_long_name_of_a_port")
SIDES = (REFERENCE, *PACKAGES)
REASON = "ValueError: [/red] <b>expected</b> (n, d), got " + "a_long_name_without_a_break" * 4


def parity(*, ok: bool = True) -> dict[str, Any]:
    """A parity report. Not ok: an error beyond its tolerance, one that is infinite, one missing."""
    rows = [
        {
            "component": component,
            "case": "a case: with a long name",
            "quantity": quantity,
            "dtype": dtype,
            "a": a,
            "b": b,
            "error": 10.0**-exponent,
            "tolerance": 1e-12 if dtype == "float64" else 1e-5,
            "ok": True,
        }
        for component in COMPONENTS
        for quantity in ("value:output", "gradient:x", "training:sgd", "travel:torch>tf2")
        for dtype, exponents in (("float64", (13, 16)), ("float32", (6, 7, 300)))
        for a, b in combinations(SIDES, 2)
        for exponent in exponents
    ]
    missing = []
    if not ok:
        rows[0] |= {"error": 2e-11, "ok": False}
        rows[1] |= {"error": "inf", "ok": False}
        place = {key: rows[-1][key] for key in ("component", "case", "quantity", "dtype")}
        missing = [{**place, "backend": "tf2", "reason": REASON}] * 12
    return {
        "made": {**MADE, "options": {"compiled": False} | ({} if ok else {"backend": ["tf2"]})},
        "environments": {side: {} if side == REFERENCE else {"numpy": "2.4.6"} for side in SIDES},
        "modes": {"theano": "Python"},
        "browser": "run" if ok else "not run: chromium: expected it on the path, got none",
        "rows": rows,
        "missing": missing,
        "divergence": divergence(),
        "defaults": defaults(),
        "ok": ok,
    }


def divergence() -> list[dict[str, Any]]:
    steps = np.logspace(-17, -9, STEPS).tolist()
    return [
        {
            "component": COMPONENTS[1],
            "case": "a training: with a name",
            "quantity": f"training:{optimizer}",
            "dtype": dtype,
            "a": a,
            "b": b,
            "worst": steps[-1],
            "steps": steps,
        }
        for optimizer in ("sgd", "smorms3")
        for dtype in ("float64", "float32")
        for a, b in combinations(FRAMEWORKS, 2)
    ]


def defaults() -> dict[str, Any]:
    curve = np.linspace(2, 1, STEPS).tolist()
    runs = {
        name: {variant: {"losses": curve, "evaluation": curve} for variant in variants(name)}
        for name in FRAMEWORKS
    }
    return {"runs": runs, "costs": plots.costs(runs)}


def benchmark_report(*, ok: bool = True) -> dict[str, Any]:
    """A report of the benchmarks. Not ok: most targets are missed, one did not run."""
    return {
        "made": {**MADE, "options": {"only": None, "quick": not ok}},
        "threads": 2,
        "versions": {"numpy": {"Python": "3.11.7", "numpy": "2.4.6"}},
        "benchmarks": {name: benchmark(name, ok=ok) for name in BENCHMARKS},
    }


def benchmark(name: str, *, ok: bool) -> dict[str, Any]:
    described = harness.benchmark(name)
    rows: list[dict[str, Any]] = []
    for number, target in enumerate(described.targets):
        is_met = ok or (number % 2 and not target.reason)
        most = target.most if is_met else 2 * target.most
        for contender, value in ((target.of, 1.0), (target.contender, 0.9 * most)):
            place = {"environment": target.environment, "contender": contender}
            rows += [
                {**place, "size": size, "seconds": value * size * 1e-4, "bytes": value * 1e6}
                for size in described.sizes
                if contender
            ]
    return {
        "title": described.title,
        "size": described.size,
        "rows": rows,
        "targets": target_rows(described, rows),
        "growth": growth_rows(described, rows),
        "errors": {} if ok else {"tf2": "ValueError: <b>no</b>"},
    }


def comparison(*, ok: bool = True) -> Comparison:
    """A comparison of a user's ports. Not ok: most rows differ, and one implementation failed."""
    rows = tuple(
        Row(
            f"case {number} with a long name",
            quantity,
            dtype,
            *pair,
            error=1e-14 if ok else 0.1 * number,
            tolerance=1e-12,
            ok=ok or number == 0,
            reason="" if ok else "values",
        )
        for number in range(12)
        for quantity in ("value:output", "gradient:encoder.layers.0.attention.weight")
        for dtype in ("float64", "float32")
        for pair in (("torch", name) for name in PORTS)
    )
    missing = () if ok else (Missing("case 0", "everything", "float16", "keras", REASON),)
    return Comparison(
        rows,
        missing,
        versions={name: {"numpy": "2.4.6", "python": "3.11.8"} for name in ("torch", *PORTS)},
        proposals={"keras": ["kernel: weight, transposed", "bias: bias"]},
        notes=("float16: numpy has no gradients",),
        vacuous=() if ok else ("gradient:scale",),
    )
