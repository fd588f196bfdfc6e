"""The report in the terminal: per component and backend the worst error, and what fails."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rich.console import Console
from rich.table import Table

from fourfold.report.run import REFERENCE

SHOWN = 20


def ratio(row: dict[str, Any]) -> float:
    """The error as a share of its tolerance: above 1 it fails."""
    return float(row["error"]) / float(row["tolerance"])


def worst(rows: Iterable[dict[str, Any]]) -> dict[str, Any] | None:
    """The row that comes nearest to its tolerance, or goes farthest beyond."""
    return max(rows, key=ratio, default=None)


def pairs(rows: Iterable[dict[str, Any]]) -> list[tuple[str, str]]:
    """The pairs that were compared, in the order of the report."""
    return list(dict.fromkeys((row["a"], row["b"]) for row in rows))


def print_table(report: dict[str, Any], console: Console) -> None:
    """The summary, then what is missing or out of tolerance."""
    rows = report["rows"]
    backends = [name for name in report["environments"] if name != REFERENCE]
    table = Table(title="Worst error, as a share of its tolerance")
    table.add_column("component")
    table.add_column("comparisons", justify="right")
    for backend in backends:
        table.add_column(backend, justify="right")
    table.add_column("each other", justify="right")
    table.add_column("travelled", justify="right")
    table.add_column("trained", justify="right")
    for component in dict.fromkeys(row["component"] for row in rows):
        own = [row for row in rows if row["component"] == component]
        marks = [
            mark(worst(row for row in own if (row["a"], row["b"]) == (REFERENCE, backend)))
            for backend in backends
        ]
        others = [row for row in own if row["a"] != REFERENCE]
        kinds = ("computed", "travelled", "trained")
        shared = [mark(worst(row for row in others if kind(row) == one)) for one in kinds]
        table.add_row(component, str(len(own)), *marks, *shared)
    console.print(table)
    failing = [row for row in rows if not row["ok"]]
    for row in failing[:SHOWN]:
        console.print(f"[red]out of tolerance[/red] {describe(row)}", highlight=False)
    for entry in report["missing"][:SHOWN]:
        console.print(
            f"[red]missing[/red] {entry['backend']}: {entry['component']}, {entry['case']}, "
            f"{entry['quantity']}, {entry['dtype']}: {entry['reason']}",
            highlight=False,
        )
    if "theano" in report["modes"]:
        console.print(f"Theano computed as {report['modes']['theano']}")
    console.print(verdict(report))


def verdict(report: dict[str, Any]) -> str:
    """How many comparisons agree, in one line."""
    rows, failing = report["rows"], [row for row in report["rows"] if not row["ok"]]
    return (
        f"{len(rows)} comparisons: {len(rows) - len(failing)} agree, "
        f"{len(failing)} out of tolerance, {len(report['missing'])} missing"
    )


def kind(row: dict[str, Any]) -> str:
    """How what a row compares came about."""
    kinds = {"travel": "travelled", "training": "trained"}
    return kinds.get(row["quantity"].partition(":")[0], "computed")


def mark(row: dict[str, Any] | None) -> str:
    if row is None:
        return "–"
    color = "green" if row["ok"] else "bold red"
    return f"[{color}]{ratio(row):.1%}[/{color}]"


def describe(row: dict[str, Any]) -> str:
    return (
        f"{row['component']}, {row['case']}, {row['quantity']}, {row['dtype']}: "
        f"{row['a']} and {row['b']} differ by {float(row['error']):.3g} > {row['tolerance']:.3g}"
    )
