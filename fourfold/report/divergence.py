"""How far the frameworks drift apart in a training: loss by loss, as plots and as a table."""

from __future__ import annotations

from itertools import accumulate
from typing import Any

from matplotlib.figure import Figure

from fourfold.report.trained import JUDGED

COLORS = {
    ("torch", "tf2"): "#1f6fb4",
    ("torch", "theano"): "#d1711f",
    ("tf2", "theano"): "#3d8f4f",
}
SMALLEST, LARGEST = 1e-19, 1.0  # where differences of zero, and those beyond the plot, are drawn


def plot_divergence(divergence: list[dict[str, Any]]) -> Figure:
    """The largest difference up to each step: a panel for each training and optimizer."""
    trainings = list(dict.fromkeys(one["case"] for one in divergence))
    optimizers = list(dict.fromkeys(one["quantity"] for one in divergence))
    height = 2.3 * len(trainings) + 0.5
    figure = Figure(figsize=(8, height), layout="constrained")
    grid = figure.subplots(len(trainings), len(optimizers), sharex=True, sharey=True, squeeze=False)
    for row, training in zip(grid, trainings, strict=True):
        for axes, optimizer in zip(row, optimizers, strict=True):
            chosen = [one for one in divergence if one["case"] == training]
            draw(axes, [one for one in chosen if one["quantity"] == optimizer])
            axes.set_title(f"{training}, {optimizer.partition(':')[2]}", fontsize=9)
        row[0].set_ylabel("losses differ so far by")
    for axes in grid[-1]:
        axes.set_xlabel("step")
    for (a, b), color in COLORS.items():
        grid[0, 0].plot([], [], color=color, label=f"{a} and {b}")
    grid[0, 0].plot([], [], color="#777", label="float64")
    grid[0, 0].plot([], [], color="#777", linestyle=":", label="float32")
    figure.legend(loc="outside upper center", ncols=5, frameon=False)
    return figure


def draw(axes: Any, lines: list[dict[str, Any]]) -> None:
    for one in lines:
        so_far = accumulate((float(step) for step in one["steps"]), max)
        steps = [min(max(worst, SMALLEST), LARGEST) for worst in so_far]
        style = "-" if one["dtype"] == JUDGED else ":"
        color = COLORS[one["a"], one["b"]]
        axes.plot(range(1, len(steps) + 1), steps, color=color, linestyle=style, lw=1)
    axes.set_yscale("log")
    axes.set_ylim(SMALLEST / 3, LARGEST)
    exponents = range(-16, 1, 4)
    ticks = [SMALLEST, *(10.0**n for n in exponents)]
    axes.set_yticks(ticks, ["0", *map("1e{}".format, exponents)])
    axes.minorticks_off()
    axes.spines[["top", "right"]].set_visible(False)


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
