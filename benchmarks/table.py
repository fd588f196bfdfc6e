"""The tables in the terminal: what each contender takes, and how far the targets are reached."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.harness import FLOOR


def print_tables(report: dict[str, Any], console: Console) -> None:
    for environment, versions in report["versions"].items():
        listed = ", ".join(f"{name} {version}" for name, version in versions.items())
        console.print(f"{environment}: {listed}", highlight=False)
    console.print(f"{report['threads']} cores; medians, float32; memory: peak beyond the inputs")
    table = Table(title="Time and memory")
    for column in ("benchmark", "environment", "contender"):
        table.add_column(column)
    for column in ("size", "ms", "of the floor", "MiB"):
        table.add_column(column, justify="right")
    for name, one in report["benchmarks"].items():
        for row in one["rows"]:
            floor = floor_of(row, one["rows"])
            table.add_row(
                name,
                row["environment"],
                row["contender"],
                str(row["size"]),
                f"{1e3 * row['seconds']:.3g}",
                "" if floor is None else f"{row['seconds'] / floor:.2g}×",
                "" if row["bytes"] is None else f"{row['bytes'] / 2**20:.1f}",
            )
        table.add_section()
    console.print(table)
    for summary in (targets(report), growth(report)):
        if summary.row_count:
            console.print(summary)
    for name, target in missed(report):
        line = f"{name}, {place(target)}: {cause(target)}"
        console.print(line, highlight=False, markup=False)


def floor_of(row: dict[str, Any], rows: list[dict[str, Any]]) -> float | None:
    """What cannot be avoided at this size and in this environment, in seconds."""
    place = (row["environment"], FLOOR, row["size"])
    found = [
        one["seconds"]
        for one in rows
        if (one["environment"], one["contender"], one["size"]) == place
    ]
    return found[0] if found else None


def targets(report: dict[str, Any]) -> Table:
    table = Table(title="Targets")
    for column in ("benchmark", "environment", "what", "size", "aimed at", "found", ""):
        table.add_column(column)
    for name, one in report["benchmarks"].items():
        for target in one["targets"]:
            mark = "[green]met[/green]" if target["ok"] else "[bold red]missed[/bold red]"
            aimed, found = (figure(target, target[key]) for key in ("most", "found"))
            size = str(target["size"])
            table.add_row(name, target["environment"], subject(target), size, aimed, found, mark)
    return table


def missed(report: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """The targets that are missed for a known reason, each with its benchmark."""
    return [
        (name, target)
        for name, one in report["benchmarks"].items()
        for target in one["targets"]
        if target["reason"] and not target["ok"]
    ]


def cause(target: dict[str, Any]) -> str:
    """Why a target is missed, and where that was found."""
    reason = target["reason"]
    return f"{reason['why']} (as measured on {reason['date']}, {reason['machine']})"


def place(target: dict[str, Any]) -> str:
    """What was measured, and where."""
    return f"{target['environment']}, {subject(target)} at {target['size']}"


def subject(target: dict[str, Any]) -> str:
    kind = "memory of " if target["memory"] else ""
    return f"{kind}{target['contender']}" + (f" / {target['of']}" if target["of"] else "")


def figure(target: dict[str, Any], value: float) -> str:
    """A ratio, as times faster where it is to be below one; or bytes."""
    if target["of"] is None:
        return f"{value / 2**20:.1f} MiB"
    if target["most"] < 1:
        return f"{1 / max(value, 1e-12):.3g}× faster"
    return f"{value:.3g}×"


def growth(report: dict[str, Any]) -> Table:
    table = Table(title="Growth: time ~ size to the power of")
    for column in ("benchmark", "environment", "contender", "expected", "found"):
        table.add_column(column)
    for name, one in report["benchmarks"].items():
        for row in one["growth"]:
            figures = (f"{row['expected']:g}", f"{row['found']:.2f}")
            table.add_row(name, row["environment"], row["contender"], *figures)
    return table
