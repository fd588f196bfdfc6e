"""Plots that several programs draw."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from numpy_infer.gradient_flow import plot_gradient_flow

matplotlib.use("Agg")  # files alone: no display is needed


def curves(path: Path, history: Sequence[Mapping[str, float]]) -> None:
    """What was measured in each epoch, a panel for each measure."""
    names = list(history[0])
    figure, panels = plt.subplots(
        1, len(names), figsize=(4 * len(names), 3), squeeze=False, layout="constrained"
    )
    for panel, name in zip(panels[0], names, strict=True):
        panel.plot(range(1, len(history) + 1), [epoch[name] for epoch in history], marker="o")
        panel.set(xlabel="epoch", title=name)
        panel.grid(alpha=0.3)
    save(figure, path)


def gradient_flow(path: Path, flows: Sequence[Mapping[str, float]]) -> None:
    """How much gradient has reached each layer."""
    save(plot_gradient_flow(flows), path)


def save(figure: Figure, path: Path) -> None:
    """Write a figure and let it go."""
    figure.savefig(path, dpi=100)
    plt.close(figure)
