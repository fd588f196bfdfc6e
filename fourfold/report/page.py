"""The report as one self-contained page: no scripts, no network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader
from matplotlib.figure import Figure

from fourfold.project import defaults_module
from fourfold.report.divergence import plot_divergence, worst_divergences
from fourfold.report.run import REFERENCE
from fourfold.report.svg import as_svg
from fourfold.report.table import describe, kind, pairs, ratio, worst

DTYPES = ("float64", "float32")
KINDS = {
    "values": "#1f6fb4",
    "gradients of two backends": "#d1711f",
    "gradients and differences": "#3d8f4f",
    "models that travelled": "#8a4fb5",
    "trainings": "#b03a48",
}
SMALLEST, LARGEST = 1e-19, 1e-1  # where errors of zero, and those beyond the plot, are drawn


def write_page(report: dict[str, Any], path: Path) -> None:
    """Write parity.html: per component the matrix of pairs, and its errors per dtype."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, trim_blocks=True
    )
    page = environment.get_template("page.html").render(
        report=report,
        components=[section(report, name) for name in names(report)],
        costs=report["defaults"]["costs"],
        defaults=defaults_plot(report["defaults"]["runs"]),
        failing=[describe(row) for row in report["rows"] if not row["ok"]],
    )
    path.write_text(page)


def defaults_plot(runs: dict[str, Any]) -> str | None:
    """The trainings with the frameworks' own defaults; none in a report on one component."""
    plots = defaults_module("plots")
    return as_svg(plots.figure(runs)) if runs and plots else None


def names(report: dict[str, Any]) -> list[str]:
    return list(dict.fromkeys(row["component"] for row in report["rows"]))


def section(report: dict[str, Any], component: str) -> dict[str, Any]:
    """What the page shows of one component."""
    rows = [row for row in report["rows"] if row["component"] == component]
    divergence = [one for one in report["divergence"] if one["component"] == component]
    sides = list(dict.fromkeys(side for pair in pairs(rows) for side in pair))
    matrix = [
        [
            worst(row for row in rows if {row["a"], row["b"]} == {a, b}) if i <= j else None
            for j, b in enumerate(sides[1:])
        ]
        for i, a in enumerate(sides[:-1])
    ]
    return {
        "name": component,
        "ok": all(row["ok"] for row in rows),
        "cells": len(rows),
        "sides": sides,
        "matrix": matrix,
        "ratio": ratio,
        "plot": plot(rows),
        "trainings": worst_divergences(divergence),
        "divergence": as_svg(plot_divergence(divergence)) if divergence else None,
    }


def plot(rows: list[dict[str, Any]]) -> str:
    """Every error as a dot, one strip per dtype and kind, as SVG; lines are the tolerances."""
    figure = Figure(figsize=(8, 2.9), layout="constrained")
    axes = figure.subplots()
    for bottom, dtype in enumerate(reversed(DTYPES)):
        for number, (name, color) in enumerate(KINDS.items()):
            chosen = [row for row in rows if row["dtype"] == dtype and kind_of(row) == name]
            height = bottom + 0.19 * (2 - number)
            errors = [min(max(float(row["error"]), SMALLEST), LARGEST) for row in chosen]
            axes.scatter(errors, [height] * len(errors), s=14, alpha=0.35, color=color, lw=0)
            bounds = {row["tolerance"] for row in chosen}
            axes.vlines(list(bounds), height - 0.08, height + 0.08, color=color, lw=2)
    for name, color in KINDS.items():
        axes.scatter([], [], s=14, color=color, label=name)
    axes.legend(loc="upper center", ncols=5, frameon=False, bbox_to_anchor=(0.5, 1.3))
    axes.set_xscale("log")
    axes.set_xlim(SMALLEST / 3, LARGEST * 3)
    exponents = range(-16, 0, 3)
    axes.set_xticks(
        [SMALLEST, *(10.0**n for n in exponents)], ["0", *map("1e{}".format, exponents)]
    )
    axes.set_yticks(range(2), DTYPES[::-1])
    axes.set_ylim(-0.5, 1.5)
    axes.set_xlabel("error (a line is the tolerance)")
    axes.spines[["top", "right"]].set_visible(False)
    return as_svg(figure)


def kind_of(row: dict[str, Any]) -> str:
    values, gradients, differences, travels, trainings = KINDS
    if row["quantity"].startswith("value:"):
        return values
    if kind(row) != "computed":
        return travels if kind(row) == "travelled" else trainings
    return differences if row["a"] == REFERENCE else gradients
