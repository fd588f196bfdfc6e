"""The report as one self-contained page: no scripts, no network.

The verdict and one table come first. The details of each component are folded.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fourfold.definition import DTYPES
from fourfold.project import defaults_module
from fourfold.report.divergence import LEGEND, panels, worst_divergences
from fourfold.report.run import REFERENCE
from fourfold.report.svg import (
    BLACK,
    BLUE,
    GREEN,
    ORANGE,
    RED,
    VIOLET,
    as_svg,
    panel,
)
from fourfold.report.table import (
    components,
    describe,
    describe_group,
    kind,
    lacking_groups,
    pairs,
    ratio,
    share,
    worst,
)
from fourfold.report.template import environment

KINDS = {
    "values": BLUE,
    "gradients of two backends": ORANGE,
    "gradients and differences": GREEN,
    "models that travelled": VIOLET,
    "trainings": RED,
}
SMALLEST, LARGEST = 1e-19, 1e-1  # where errors of zero, and those beyond the plot, are drawn
NARROW = "\u00a0"  # between a sign and its number a line does not break
SHOWN, MOST = 10, 200  # lines of what is not well that are unfolded, and that are there at all


def write_page(report: dict[str, Any], path: Path) -> None:
    """Write parity.html: the verdict, a table of components and backends, and details."""
    backends = [name for name in report["environments"] if name != REFERENCE]
    sections = [section(report, name, backends) for name in components(report)]
    failing = sorted((row for row in report["rows"] if not row["ok"]), key=ratio, reverse=True)
    options = report.get("made", {}).get("options", {})
    page = environment().get_template("page.html")
    text = page.render(
        report=report,
        backends=backends,
        components=sorted(sections, key=lambda one: one["sign"] == "✓"),
        narrowed=narrowed(options),
        devices=options.get("device", {}),
        defaults=defaults(report["defaults"]["runs"]),
        divergences=LEGEND,
        failing=[describe(row) for row in failing],
        missing=[describe_group(group) for group in lacking_groups(report["missing"])],
        SHOWN=SHOWN,
        MOST=MOST,
    )
    path.write_text(text)


def narrowed(options: dict[str, Any]) -> list[str]:
    """What the report was narrowed to by its options, in words."""
    found = ((name, options.get(name)) for name in ("component", "backend"))
    return [
        f"the {name}{'s' * (len(names) > 1)} {', '.join(names)}" for name, names in found if names
    ]


def defaults(runs: dict[str, Any]) -> dict[str, Any] | None:
    """The trainings with the frameworks' own defaults; none in a report on some components."""
    plots = defaults_module("plots")
    if not runs or not plots:
        return None
    figures = plots.panels(runs)
    svgs = [
        as_svg(figure, f"defaults-{number}", f"Losses of the trainings: {title}")
        for number, (title, figure) in enumerate(figures.items())
    ]
    return {"legend": plots.legend(runs), "panels": svgs}


def section(report: dict[str, Any], component: str, backends: Sequence[str]) -> dict[str, Any]:
    """What the page shows of one component."""
    rows = [row for row in report["rows"] if row["component"] == component]
    missing = [one for one in report["missing"] if one["component"] == component]
    divergence = [one for one in report["divergence"] if one["component"] == component]
    beyond = sum(not row["ok"] for row in rows)
    marks = [
        mark(
            [row for row in rows if backend in (row["a"], row["b"])],
            sum(one["backend"] in (backend, REFERENCE) for one in missing),
        )
        for backend in backends
    ]
    if beyond or missing or not rows:
        said = f"{beyond} out of tolerance, {len(missing)} missing"
    else:
        said = f"the worst takes {share(worst(rows))} of its tolerance"
    return {
        "name": component,
        "sign": "✗" if beyond else "?" if missing else "✓",
        "count": len(rows),
        "verdict": said,
        "marks": marks,
        "missing": [describe_group(group) for group in lacking_groups(missing)],
        "pairs": [worst_pair(rows, *pair) for pair in pairs(rows)],
        "plot": plot(rows, component) if rows else None,
        "trainings": worst_divergences(divergence),
        "panels": panels(divergence, component),
    }


def mark(rows: Iterable[dict[str, Any]], missing: int = 0) -> dict[str, str]:
    """What a cell of a table says, and which kind of cell it is."""
    row = worst(rows)
    parts = [] if row is None else [f"{'✓' if row['ok'] else '✗'}{NARROW}{share(row)}"]
    parts += [f"?{NARROW}{missing} missing"] if missing else []
    if row is not None and not row["ok"]:
        kind = "bad"
    else:
        kind = "lacking" if missing else "none" if row is None else "ok"
    return {"text": ", ".join(parts) or "–", "kind": kind}


def worst_pair(rows: list[dict[str, Any]], a: str, b: str) -> dict[str, Any]:
    """The worst row of two sides, with what the table says of it."""
    row = worst(row for row in rows if (row["a"], row["b"]) == (a, b))
    assert row is not None
    return {**row, "mark": mark([row])}


def plot(rows: list[dict[str, Any]], component: str) -> str:
    """How often each error occurs, a strip for each dtype and kind; lines are the tolerances."""
    dtypes = [*DTYPES, *dict.fromkeys(row["dtype"] for row in rows if row["dtype"] not in DTYPES)]
    grouped = {
        (dtype, name): [row for row in rows if (row["dtype"], kind_of(row)) == (dtype, name)]
        for dtype in dtypes
        for name in KINDS
    }
    strips = {key: own for key, own in grouped.items() if own}
    figure, axes = panel(4.6, 0.5 * len(strips) + 0.6, left=0.15)
    for number, ((dtype, name), own) in enumerate(strips.items()):
        color, bottom = KINDS[name], len(strips) - 1 - number
        errors = np.array([float(row["error"]) for row in own])
        places = np.round(10 * np.log10(np.nan_to_num(errors, nan=1).clip(SMALLEST, LARGEST)))
        counts = Counter(places.tolist())
        heights = 0.08 + 0.5 * np.log([*counts.values()]) / max(np.log(max(counts.values())), 1)
        x = np.repeat(10 ** (np.array([*counts]) / 10), 3)
        y = np.stack([np.full(len(counts), bottom), bottom + heights, np.full(len(counts), np.nan)])
        axes.plot(x, y.T.ravel(), color=color, lw=1.8, solid_capstyle="butt")
        beyond = [float(row["error"]) for row in own if not row["ok"]]
        seen = np.nan_to_num(beyond, nan=1).clip(SMALLEST, LARGEST)
        axes.plot(seen, np.full(len(beyond), bottom + 0.3), "X", color=RED, ms=6)
        for bound in {row["tolerance"] for row in own}:
            axes.plot([bound, bound], [bottom, bottom + 0.58], color=BLACK, lw=1)
        axes.text(SMALLEST, bottom + 0.75, f"{dtype}, {name}", fontsize=9, va="center", color=BLACK)
    axes.set_xscale("log")
    axes.set_xlim(SMALLEST / 2, LARGEST * 3)
    exponents = range(-16, 0, 3)
    axes.set_xticks(
        [SMALLEST, *(10.0**n for n in exponents)], ["0", *map("1e{}".format, exponents)]
    )
    axes.minorticks_off()
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.set_ylim(-0.1, len(strips) - 0.1)
    axes.set_xlabel("error")
    failing = sum(not row["ok"] for row in rows)
    said = f"{failing} of them beyond it" if failing else "none beyond it"
    title = f"{component}: {len(rows)} errors by dtype and kind beside their tolerance, {said}"
    return as_svg(figure, f"{component}-errors", title)


def kind_of(row: dict[str, Any]) -> str:
    values, gradients, differences, travels, trainings = KINDS
    if row["quantity"].startswith("value:"):
        return values
    if kind(row) != "computed":
        return travels if kind(row) == "travelled" else trainings
    return differences if row["a"] == REFERENCE else gradients
