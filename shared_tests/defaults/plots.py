"""The runs as figures, one for each trap, and what each trap costs, as rows of a table."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from fourfold.report.svg import BLUE, GREEN, MUTED, ORANGE, Entry, panel
from shared_tests.defaults import FRAMEWORKS, STEPS, TRAPS, Trap

# {framework: {variant: {"losses", "evaluation"}}}, as arrays or, from parity.json, as lists
Results = Mapping[str, Mapping[str, Mapping[str, Any]]]

# Each is drawn over the one before, and narrower: curves that coincide are still all seen.
STYLES = {
    "torch": Entry("PyTorch, its own default", ORANGE, width=4.5),
    "tf2": Entry("TensorFlow / Keras, its own default", BLUE, width=2),
    "theano": Entry("Theano, its own default", GREEN, width=1.7, dash="2 2"),
}
PINNED = Entry("pinned: all frameworks", MUTED, width=0.9)
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


def panels(results: Results) -> dict[str, Figure]:
    """The losses over the steps: a figure for each trap, the pinned training thin and grey."""
    return {trap.title: _panel(trap, results) for trap in TRAPS if _curves(trap, results)}


def legend(results: Results) -> list[Entry]:
    """What the lines of all panels are."""
    present = [STYLES[name] for name in FRAMEWORKS if results.get(name)]
    return [*present, PINNED]


def _panel(trap: Trap, results: Results) -> Figure:
    figure, axes = panel(4, 2.5, left=0.55, title=trap.title)
    curves = _curves(trap, results)
    steps = np.arange(1, STEPS + 1)
    for name, curve in curves.items():
        axes.plot(steps, curve, **_line(STYLES[name]), solid_capstyle="butt")
    first = next(iter(curves))
    pinned = _losses(results[first][trap.pinned], trap.shown)
    axes.plot(steps, pinned, **_line(PINNED), zorder=1)
    apart = _apart(curves)
    note = "one framework only" if apart is None else f"up to {apart.max():.2g} apart"
    axes.text(0.97, 0.93, note, transform=axes.transAxes, ha="right", va="top", fontsize=9)
    axes.set_xlabel(f"step; {'evaluation loss' if trap.shown == 'evaluation' else 'loss'} upwards")
    axes.set_xlim(0, STEPS)
    axes.set_ylim(0, 1.3 * axes.dataLim.ymax)  # with room for the note
    return figure


def _line(entry: Entry) -> dict[str, Any]:
    dash = tuple(map(float, entry.dash.split()))
    return {"color": entry.color, "lw": entry.width, "ls": (0, dash) if dash else "-"}
