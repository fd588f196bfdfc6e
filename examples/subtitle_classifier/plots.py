"""The plot of this program alone."""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from examples.support.plots import save
from numpy_infer.evaluation import Confusion


def plot_confusion(path: Path, found: Confusion, classes: list[str]) -> None:
    """Of the texts of each class, in percent: which class they were taken for."""
    names = [classes[number] for number in found.classes]
    percent = 100 * found.counts / np.maximum(found.counts.sum(axis=1, keepdims=True), 1)
    side = 1.5 + 0.45 * len(names)
    figure, axes = plt.subplots(figsize=(side, side), layout="constrained")
    axes.imshow(percent, cmap="Blues", vmin=0, vmax=100)
    for row, column in np.argwhere(percent >= 0.5):
        color = "white" if percent[row, column] > 50 else "black"
        text = f"{percent[row, column]:.0f}"
        axes.text(column, row, text, ha="center", va="center", color=color, fontsize=8)
    axes.set(xlabel="predicted", ylabel="class of the text", title="texts of each class, percent")
    axes.set_xticks(range(len(names)), names, rotation=60, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(len(names)), names)
    save(figure, path)
