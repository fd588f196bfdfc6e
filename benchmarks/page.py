"""The benchmarks as one self-contained page: which targets are met, and time and memory by size.

The verdict and one table come first. The details of each benchmark are folded.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from matplotlib.axes import Axes

from benchmarks.harness import FLOOR
from benchmarks.table import cause, figure, missed, place, subject
from fourfold.report.svg import (
    BLACK,
    BLUE,
    BROWN,
    GREEN,
    LINE,
    MARKERS,
    ORANGE,
    RED,
    VIOLET,
    Entry,
    as_svg,
    panel,
)
from fourfold.report.template import environment

COLORS = (BLUE, ORANGE, GREEN, VIOLET, RED, BROWN)
DASHED = "4 3"


def write_page(report: dict[str, Any], path: Path) -> None:
    """Write benchmarks.html: the verdict, a table of benchmarks and environments, and details."""
    sections = [section(name, one) for name, one in report["benchmarks"].items()]
    environments = list(dict.fromkeys(name for one in sections for name in one["environments"]))
    targets = [target for one in report["benchmarks"].values() for target in one["targets"]]
    page = environment(Path(__file__).parent).get_template("benchmarks.html")
    text = page.render(
        report=report,
        sections=sections,
        environments=environments,
        targets=len(targets),
        met=sum(target["ok"] for target in targets),
        failed=sum(len(one["errors"]) for one in report["benchmarks"].values()),
        missed=[
            {"place": f"{name}, {place(target)}", "cause": cause(target)}
            for name, target in missed(report)
        ],
    )
    path.write_text(text)


def section(name: str, one: dict[str, Any]) -> dict[str, Any]:
    """What the page shows of one benchmark."""
    measured = [row["environment"] for row in one["rows"]]
    environments = list(dict.fromkeys((*measured, *one["errors"])))
    entries = legend(one)
    return {
        **one,
        "name": name,
        "environments": environments,
        "marks": {where: mark(one, where) for where in environments},
        "targets": [
            {
                **target,
                "subject": subject(target),
                "aimed": figure(target, target["most"]),
                "measured": figure(target, target["found"]),
            }
            for target in one["targets"]
        ],
        "legend": list(entries.values()),
        "panels": panels(name, one, entries) if several_sizes(one) else [],
    }


def mark(one: dict[str, Any], where: str) -> dict[str, str]:
    """What a cell of the table says, and which kind of cell it is."""
    if where in one["errors"]:
        return {"text": "? did not run", "kind": "lacking"}
    own = [target["ok"] for target in one["targets"] if target["environment"] == where]
    if not own:
        return {"text": "timed", "kind": "none"}
    sign, kind = ("✓", "ok") if all(own) else ("✗", "bad")
    return {"text": f"{sign}\u00a0{sum(own)} of {len(own)}", "kind": kind}


def several_sizes(one: dict[str, Any]) -> bool:
    return len({row["size"] for row in one["rows"]}) > 1


def legend(one: dict[str, Any]) -> dict[str, Entry]:
    """How each contender is drawn: no two with the same color and marker."""
    found = {FLOOR: Entry(FLOOR, BLACK, dash=DASHED)}
    names = list(dict.fromkeys(row["contender"] for row in one["rows"]))
    for number, name in enumerate(name for name in names if name != FLOOR):
        marker = [*MARKERS][number % len(MARKERS)]
        found[name] = Entry(name, COLORS[number % len(COLORS)], marker=marker)
    return {name: found[name] for name in names}


def panels(name: str, one: dict[str, Any], entries: dict[str, Entry]) -> list[str]:
    """An SVG of the times and one of the peak memory, for each environment."""
    svgs = []
    for where in dict.fromkeys(row["environment"] for row in one["rows"]):
        rows = [row for row in one["rows"] if row["environment"] == where]
        for kind, unit, scale in (("seconds", "ms", 1e3), ("bytes", "MiB at the peak", 2**-20)):
            kept = [row for row in rows if row[kind]]
            if not kept:
                continue
            drawn, axes = panel(4, 2.8, left=0.7, title=f"{where}: {unit}")
            for contender, entry in entries.items():
                own = [row for row in kept if row["contender"] == contender]
                values = [scale * row[kind] for row in own]
                line(axes, [row["size"] for row in own], values, entry)
            set_scales(axes, sorted({row["size"] for row in rows}))
            axes.set_xlabel(one["size"])
            title = f"{one['title']}, {where}: {unit} by {one['size']}"
            svgs.append(as_svg(drawn, f"{name}-{where}-{kind}", title))
    return svgs


def line(axes: Axes, sizes: list[int], values: list[float], entry: Entry) -> None:
    dash = tuple(map(float, entry.dash.split()))
    style = {"color": entry.color, "ls": (0, dash) if dash else "-", "lw": 1.2}
    axes.plot(sizes, values, marker=entry.marker or None, ms=4, **style)


def set_scales(axes: Axes, sizes: list[int]) -> None:
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xticks(sizes, [f"{size:,}" for size in sizes])
    axes.tick_params(axis="x", which="minor", bottom=False, labelbottom=False)
    axes.tick_params(axis="y", which="minor", labelleft=False)
    axes.grid(color=LINE, lw=0.6)
