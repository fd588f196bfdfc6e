"""Plots that several programs draw."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from numpy_infer.gradient_flow import plot_gradient_flow

matplotlib.use("Agg")  # files alone: no display is needed


def curves(path: Path, histories: Mapping[str, Sequence[Mapping[str, float]]]) -> None:
    """What was measured in each epoch of each training: a panel for each measure, a line each."""
    names = list(dict.fromkeys(name for one in histories.values() for name in one[0]))
    size = (4 * len(names), 3)
    figure, panels = plt.subplots(1, len(names), figsize=size, squeeze=False, layout="constrained")
    for panel, name in zip(panels[0], names, strict=True):
        for title, history in histories.items():
            values = [epoch[name] for epoch in history]
            panel.plot(range(1, len(history) + 1), values, marker="o", label=title)
        panel.set(xlabel="epoch", title=name)
        panel.grid(alpha=0.3)
        panel.legend()
    save(figure, path)


def gradient_flow(path: Path, flows: Sequence[Mapping[str, float]]) -> None:
    """How much gradient has reached each layer."""
    save(plot_gradient_flow(flows), path)


def save(figure: Figure, path: Path) -> None:
    """Write a figure and let it go."""
    figure.savefig(path, dpi=100)
    plt.close(figure)
