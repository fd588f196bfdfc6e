"""How far the frameworks drift apart in a training: loss by loss, as panels and as a table."""

from __future__ import annotations

from itertools import accumulate
from typing import Any

from fourfold.report.svg import (
    BLUE,
    GREEN,
    MUTED,
    ORANGE,
    Entry,
    as_svg,
    panel,
)
from fourfold.report.trained import JUDGED

STYLES = {
    ("torch", "tf2"): (BLUE, "o"),
    ("torch", "theano"): (ORANGE, "s"),
    ("tf2", "theano"): (GREEN, "^"),
}
DOTTED = "1.5 2.5"
LEGEND = [
    *(Entry(f"{a} and {b}", color, marker=sign) for (a, b), (color, sign) in STYLES.items()),
    Entry("float64", MUTED),
    Entry("float32", MUTED, dash=DOTTED),
]
SMALLEST, LARGEST = 1e-19, 1.0  # where differences of zero, and those beyond the plot, are drawn


def panels(divergence: list[dict[str, Any]], component: str) -> list[str]:
    """The largest difference up to each step: an SVG for each training and optimizer."""
    chosen: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for one in divergence:
        optimizer = one["quantity"].partition(":")[2]
        chosen.setdefault((one["case"], optimizer), []).append(one)
    svgs = []
    for number, ((training, optimizer), lines) in enumerate(chosen.items()):
        figure, axes = panel(4, 2.5, left=0.6, title=f"{training}, {optimizer}")
        draw(axes, lines)
        title = f"How far the losses of {training} by {optimizer} drift apart, step by step"
        svgs.append(as_svg(figure, f"{component}-training-{number}", title))
    return svgs


def draw(axes: Any, lines: list[dict[str, Any]]) -> None:
    for one in lines:
        so_far = accumulate((float(step) for step in one["steps"]), max)
        steps = [min(max(worst, SMALLEST), LARGEST) for worst in so_far]
        style = "-" if one["dtype"] == JUDGED else ":"
        color, marker = STYLES[one["a"], one["b"]]
        shown = {"marker": marker, "markevery": 25, "ms": 4}
        axes.plot(range(1, len(steps) + 1), steps, color=color, linestyle=style, lw=1, **shown)
    axes.set_yscale("log")
    axes.set_ylim(SMALLEST / 3, LARGEST)
    exponents = range(-16, 1, 4)
    ticks = [SMALLEST, *(10.0**n for n in exponents)]
    axes.set_yticks(ticks, ["0", *map("1e{}".format, exponents)])
    axes.minorticks_off()
    axes.set_xlabel("step")


def worst_divergences(divergence: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """For each training and optimizer the worst of all pairs, in each dtype."""
    table: dict[tuple[str, str], dict[str, float]] = {}
    for one in divergence:
        row = table.setdefault((one["case"], one["quantity"].partition(":")[2]), {})
        row[one["dtype"]] = max(row.get(one["dtype"], 0.0), float(one["worst"]))
    return [
        {"training": training, "optimizer": optimizer, **worst}
        for (training, optimizer), worst in table.items()
    ]
