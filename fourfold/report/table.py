"""The report in the terminal: per component and backend the worst error, and what fails."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from fourfold.definition import BROWSER
from fourfold.report.join import NO_CELL
from fourfold.report.run import REFERENCE

SHOWN = 20


def ratio(row: dict[str, Any]) -> float:
    """The error as a share of its tolerance: above 1 it fails. Infinite for NaN."""
    found = float(row["error"]) / float(row["tolerance"])
    return math.inf if math.isnan(found) else found


def share(row: dict[str, Any] | None) -> str:
    """The error as a share of its tolerance, in few signs: never rounded to the other side of 1."""
    found = ratio(row) if row else 0.0
    if math.isinf(found):
        return "∞"
    if found > 10:
        return f"{found:,.0f}×" if found < 1e4 else f"{found:.0e}×"
    if found > 1:
        return f"{max(found, 1.01):.0%}"
    return f"{found:.0%}" if found == 0 or found >= 0.01 else "<1%"


def worst(rows: Iterable[dict[str, Any]]) -> dict[str, Any] | None:
    """The row that comes nearest to its tolerance, or goes farthest beyond."""
    return max(rows, key=ratio, default=None)


def pairs(rows: Iterable[dict[str, Any]]) -> list[tuple[str, str]]:
    """The pairs that were compared, in the order of the report."""
    return list(dict.fromkeys((row["a"], row["b"]) for row in rows))


def print_table(report: dict[str, Any], console: Console) -> None:
    """The summary, then what is missing or out of tolerance."""
    rows = report["rows"]
    backends = [name for name in report["environments"] if name not in (REFERENCE, BROWSER)]
    table = Table(title="Worst error, as a share of its tolerance")
    table.add_column("component")
    table.add_column("comparisons", justify="right")
    for backend in backends:
        table.add_column(backend, justify="right")
    table.add_column("each other", justify="right")
    table.add_column("travelled", justify="right")
    table.add_column("trained", justify="right")
    for component in components(report):
        own = [row for row in rows if row["component"] == component]
        lacking = [one for one in report["missing"] if one["component"] == component]
        marks = [
            mark(
                worst(row for row in own if (row["a"], row["b"]) == (REFERENCE, backend)),
                [one for one in lacking if one["backend"] in (backend, REFERENCE)],
            )
            for backend in backends
        ]
        others = [row for row in own if row["a"] != REFERENCE]
        kinds = ("computed", "travelled", "trained")
        shared = [
            mark(
                worst(row for row in others if kind(row) == one),
                [entry for entry in lacking if kind(entry) == one],
            )
            for one in kinds
        ]
        table.add_row(component, str(len(own)), *marks, *shared)
    console.print(table)
    failing = [row for row in rows if not row["ok"]]
    for row in failing[:SHOWN]:
        say(console, "out of tolerance", describe(row))
    for group in lacking_groups(report["missing"])[:SHOWN]:
        say(console, "missing", describe_group(group))
    if "theano" in report["modes"]:
        console.print(f"Theano computed as {report['modes']['theano']}")
    console.print(f"models in a browser: {report['browser']}")
    console.print(verdict(report))


def say(console: Console, what: str, line: str) -> None:
    """Print a line about what is not well, as it is."""
    console.print(f"[red]{what}[/red] {escape(line)}", highlight=False, emoji=False, soft_wrap=True)


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


def components(report: dict[str, Any]) -> list[str]:
    """All that were compared or should have been, but the frameworks' own defaults."""
    found = (row["component"] for row in (*report["rows"], *report["missing"]))
    return sorted(set(found) - {NO_CELL["component"]})


def mark(row: dict[str, Any] | None, missing: list[dict[str, Any]]) -> str:
    """The share of the tolerance, and how much could not be compared."""
    lacking = [f"[bold red]{len(missing)} missing[/bold red]"] if missing else []
    if row is None:
        return ", ".join(lacking) or "–"
    color = "green" if row["ok"] else "bold red"
    return ", ".join([f"[{color}]{share(row)}[/{color}]", *lacking])


def lacking_groups(missing: list[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    """What is missing, together where backend, component and reason are the same."""
    groups: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
    for entry in missing:
        key = (entry["backend"], entry["component"], entry["reason"])
        groups.setdefault(key, []).append(entry)
    return list(groups.values())


def describe_group(group: list[dict[str, Any]]) -> str:
    first = group[0]
    more = f" and {len(group) - 1} more" if len(group) > 1 else ""
    place = f"{first['component']}, {first['case']}, {first['quantity']}, {first['dtype']}"
    return f"{first['backend']}: {place}{more}: {first['reason']}"


def describe(row: dict[str, Any]) -> str:
    return (
        f"{row['component']}, {row['case']}, {row['quantity']}, {row['dtype']}: "
        f"{row['a']} and {row['b']} differ by {float(row['error']):.3g} > {row['tolerance']:.3g}"
    )
