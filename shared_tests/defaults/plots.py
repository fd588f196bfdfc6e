"""The runs as one figure, a panel for each trap, and what each trap costs, as rows of a table."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from shared_tests.defaults import FRAMEWORKS, STEPS, TRAPS, Trap

# {framework: {variant: {"losses", "evaluation"}}}, as arrays or, from parity.json, as lists
Results = Mapping[str, Mapping[str, Mapping[str, Any]]]

NAMES = {"torch": "PyTorch", "tf2": "TensorFlow / Keras", "theano": "Theano"}
# Each is drawn over the one before, and narrower: curves that coincide are still all seen.
STYLES: dict[str, dict[str, Any]] = {
    "torch": {"color": "#eda35a", "lw": 4.5, "ls": "-"},
    "tf2": {"color": "#1f6fb4", "lw": 2.0, "ls": "-"},
    "theano": {"color": "#41c46a", "lw": 1.7, "ls": (0, (2, 2))},
}
PINNED: dict[str, Any] = {"color": "#777777", "lw": 0.9, "zorder": 1}
COLUMNS = 3
NOTICED = 1e-3


def costs(results: Results) -> list[dict[str, Any]]:
    """A row for each trap that a framework has run.

    trap, title; shown: which losses are compared; defaults: in words; difference: the largest
    between two frameworks at any step, None where only one has a default; step: the first, from
    1, where it is above 1e-3, or "never"; from_pinned: each framework's largest difference from
    its own pinned run; final, evaluation: the last losses, and those of the other digits.
    """
    return [_row(trap, results) for trap in TRAPS if _curves(trap, results)]


def _row(trap: Trap, results: Results) -> dict[str, Any]:
    curves = _curves(trap, results)
    pinned = {name: _losses(results[name][trap.pinned], trap.shown) for name in curves}
    runs = {name: results[name][trap.name] for name in curves}
    apart = _apart(curves)
    above = [] if apart is None else np.flatnonzero(apart > NOTICED).tolist()
    return {
        "trap": trap.name,
        "title": trap.title,
        "shown": trap.shown,
        "defaults": trap.words(),
        "difference": None if apart is None else float(apart.max()),
        "step": above[0] + 1 if above else "never",
        "from_pinned": {name: float(np.abs(curves[name] - pinned[name]).max()) for name in curves},
        "final": {name: float(run["losses"][-1]) for name, run in runs.items()},
        "evaluation": {name: float(run["evaluation"][-1]) for name, run in runs.items()},
    }


def _curves(trap: Trap, results: Results) -> dict[str, np.ndarray]:
    """The losses that show the trap, of the frameworks that have a default."""
    present = [name for name in FRAMEWORKS if trap.name in results.get(name, {})]
    return {name: _losses(results[name][trap.name], trap.shown) for name in present}


def _losses(run: Mapping[str, Any], shown: str) -> np.ndarray:
    return np.asarray(run[shown], np.float64)


def _apart(curves: Mapping[str, np.ndarray]) -> np.ndarray | None:
    """The largest difference between two frameworks at each step."""
    pairs = [np.abs(a - b) for a, b in combinations(curves.values(), 2)]
    return np.max(pairs, axis=0) if pairs else None


def figure(results: Results) -> Figure:
    """The losses over the steps: a panel for each trap, the pinned training thin and grey."""
    traps = [trap for trap in TRAPS if _curves(trap, results)]
    rows = -(-(len(traps) + 1) // COLUMNS)  # the legend takes a panel
    drawn = Figure(figsize=(3.6 * COLUMNS, 2.35 * rows), layout="constrained")
    panels = drawn.subplots(rows, COLUMNS, squeeze=False).flatten()
    for axes, trap in zip(panels, traps, strict=False):
        _panel(axes, trap, results)
    for axes in panels[len(traps) :]:
        axes.axis("off")
    legend = panels[len(traps)]
    present = [name for name in FRAMEWORKS if results.get(name)]
    for name in present:
        legend.plot([], [], **STYLES[name], label=f"{NAMES[name]}, its own default")
    legend.plot([], [], **PINNED, label="pinned: all frameworks")
    legend.legend(loc="center", frameon=False, fontsize=10, handlelength=3)
    return drawn


def _panel(axes: Axes, trap: Trap, results: Results) -> None:
    curves = _curves(trap, results)
    steps = np.arange(1, STEPS + 1)
    for name, curve in curves.items():
        axes.plot(steps, curve, **STYLES[name], solid_capstyle="butt")
    first = next(iter(curves))
    axes.plot(steps, _losses(results[first][trap.pinned], trap.shown), **PINNED)
    apart = _apart(curves)
    note = "one framework only" if apart is None else f"up to {apart.max():.2g} apart"
    axes.text(0.97, 0.93, note, transform=axes.transAxes, ha="right", va="top", fontsize=9)
    axes.set_title(trap.title, fontsize=10, loc="left")
    axes.set_ylabel("evaluation loss" if trap.shown == "evaluation" else "loss", fontsize=9)
    axes.set_xlabel("step", fontsize=9)
    axes.set_xlim(0, STEPS)
    axes.set_ylim(0, 1.3 * axes.dataLim.ymax)  # with room for the note
    axes.tick_params(labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)
