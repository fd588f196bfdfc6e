"""The plot of this program alone."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from examples.genres.data import LEVELS
from examples.support.plots import save


def plot_levels(path: Path, quality: Mapping[str, Mapping[str, float]]) -> None:
    """The accuracy of each method at each level, and how often its classes lie on one path."""
    names = [*LEVELS, "consistent"]
    figure, axes = plt.subplots(figsize=(8, 3.6), layout="constrained")
    width = 0.8 / len(quality)
    for number, (method, row) in enumerate(quality.items()):
        values = [100 * row[name] for name in names]
        axes.bar(np.arange(len(names)) + number * width, values, width, label=method)
    axes.set_xticks(np.arange(len(names)) + 0.4 - width / 2, names)
    lowest = min(row[name] for row in quality.values() for name in names)
    axes.set(ylabel="percent", ylim=(max(0, 100 * lowest - 5), 101))
    axes.grid(axis="y", alpha=0.3)
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), fontsize=8)
    save(figure, path)
