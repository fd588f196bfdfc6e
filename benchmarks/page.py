"""The benchmarks as one self-contained page: time and memory against size, the floor as a line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader
from matplotlib.figure import Figure

from benchmarks.harness import FLOOR
from benchmarks.table import figure as target_figure
from benchmarks.table import place, subject
from fourfold.report.svg import as_svg


def write_page(report: dict[str, Any], path: Path) -> None:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, trim_blocks=True
    )
    page = environment.get_template("page.html").render(
        report=report,
        plots={
            name: as_svg(plot(one))
            for name, one in report["benchmarks"].items()
            if len({row["size"] for row in one["rows"]}) > 1
        },
        place=place,
        subject=subject,
        figure=target_figure,
    )
    path.write_text(page)


def plot(one: dict[str, Any]) -> Figure:
    """A row of two panels for each environment: time, and peak memory."""
    environments = list(dict.fromkeys(row["environment"] for row in one["rows"]))
    drawn = Figure(figsize=(11, 2.9 * len(environments)), layout="constrained")
    grid = drawn.subplots(len(environments), 2, squeeze=False)
    for (time, memory), environment in zip(grid, environments, strict=True):
        rows = [row for row in one["rows"] if row["environment"] == environment]
        ticks = sorted({row["size"] for row in rows})
        for number, contender in enumerate(dict.fromkeys(row["contender"] for row in rows)):
            own = [row for row in rows if row["contender"] == contender]
            style = (
                {"color": "black", "ls": "--"} if contender == FLOOR else {"color": f"C{number}"}
            )
            sizes = [row["size"] for row in own]
            times = [1e3 * row["seconds"] for row in own]
            time.plot(sizes, times, marker="o", ms=3, lw=1.2, label=contender, **style)
            held = [(row["size"], row["bytes"] / 2**20) for row in own if row["bytes"]]
            if held:
                memory.plot(*zip(*held, strict=True), marker="o", ms=3, lw=1.2, **style)
        for axes, label in ((time, "milliseconds"), (memory, "MiB at the peak")):
            axes.set_xscale("log")
            axes.set_yscale("log")
            axes.set_xticks(ticks, [f"{size:,}" for size in ticks])
            axes.minorticks_off()
            axes.set_xlabel(one["size"])
            axes.set_ylabel(label)
            axes.set_title(environment, fontsize=10)
            axes.grid(alpha=0.3)
            axes.spines[["top", "right"]].set_visible(False)
        handles, labels = time.get_legend_handles_labels()
        beside = {"loc": "center left", "bbox_to_anchor": (1, 0.5)}
        memory.legend(handles, labels, fontsize=8, frameon=False, **beside)
    return drawn
