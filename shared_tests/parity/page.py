"""The report as one self-contained page: no scripts, no network."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import matplotlib
from jinja2 import Environment, FileSystemLoader
from matplotlib.figure import Figure

from shared_tests.parity.table import describe, pairs, ratio, worst

DTYPES = ("float64", "float32")
COLORS = {"value": "#1f6fb4", "gradient": "#d1711f"}
SMALLEST = 1e-19  # where an error of exactly zero is drawn


def write_page(report: dict[str, Any], path: Path) -> None:
    """Write parity.html: per component the matrix of pairs, and its errors per dtype."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, trim_blocks=True
    )
    page = environment.get_template("page.html").render(
        report=report,
        components=[section(report, name) for name in names(report)],
        failing=[describe(row) for row in report["rows"] if not row["ok"]],
    )
    path.write_text(page)


def names(report: dict[str, Any]) -> list[str]:
    return list(dict.fromkeys(row["component"] for row in report["rows"]))


def section(report: dict[str, Any], component: str) -> dict[str, Any]:
    """What the page shows of one component."""
    rows = [row for row in report["rows"] if row["component"] == component]
    sides = list(dict.fromkeys(side for pair in pairs(rows) for side in pair))
    found = {
        pair: worst(row for row in rows if (row["a"], row["b"]) == pair) for pair in pairs(rows)
    }
    matrix = [[found.get((a, b)) for b in sides[1:]] for a in sides[:-1]]
    return {
        "name": component,
        "ok": all(row["ok"] for row in rows),
        "cells": len(rows),
        "sides": sides,
        "matrix": matrix,
        "ratio": ratio,
        "plot": plot(rows),
    }


def plot(rows: list[dict[str, Any]]) -> str:
    """Every error as a dot, one strip per dtype, as SVG; the line is the widest tolerance."""
    matplotlib.rcParams["svg.fonttype"] = "none"
    figure = Figure(figsize=(8, 2.1), layout="constrained")
    axes = figure.subplots()
    for height, dtype in enumerate(reversed(DTYPES)):
        for offset, kind in ((0.15, "value"), (-0.15, "gradient")):
            chosen = [
                row
                for row in rows
                if row["dtype"] == dtype and row["quantity"].startswith(f"{kind}:")
            ]
            if not chosen:
                continue
            errors = [max(float(row["error"]), SMALLEST) for row in chosen]
            heights = [height + offset] * len(errors)
            axes.scatter(errors, heights, s=14, alpha=0.35, color=COLORS[kind], linewidths=0)
            for bound in {row["tolerance"] for row in chosen}:
                axes.plot([bound] * 2, [height + offset - 0.12, height + offset + 0.12], color="k")
    for kind, color in COLORS.items():
        axes.scatter([], [], s=14, color=color, label=f"{kind}s")
    axes.plot([], [], color="k", label="tolerance")
    axes.legend(loc="upper center", ncols=3, frameon=False, bbox_to_anchor=(0.5, 1.32))
    axes.set_xscale("log")
    axes.set_xlim(SMALLEST / 3, 1e-2)
    axes.set_xticks(
        [SMALLEST, 1e-16, 1e-13, 1e-10, 1e-7, 1e-4], ["0", *map("1e-{}".format, (16, 13, 10, 7, 4))]
    )
    axes.set_yticks(range(2), reversed(DTYPES))
    axes.set_ylim(-0.5, 1.5)
    axes.set_xlabel("error")
    axes.spines[["top", "right"]].set_visible(False)
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None})
    return buffer.getvalue().partition("<svg")[1] + buffer.getvalue().partition("<svg")[2]
