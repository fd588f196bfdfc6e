"""The plot of a film: the score over time, the threshold, what was found and what is true."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from examples.speaker_tagging.data import Film
from examples.support.plots import save
from numpy_infer.markers import Marker


def scores_over_time(
    path: Path,
    name: str,
    times: np.ndarray,
    scores: np.ndarray,
    threshold: float,
    found: Sequence[Marker],
    film: Film,
) -> None:
    """Grey where the voice speaks, the score as a line, a bar for each marker."""
    figure, axes = plt.subplots(figsize=(10, 3), layout="constrained")
    for number, (start, end) in enumerate(film.stretches):
        label = f"{name} speaks" if number == 0 else None
        axes.axvspan(start, end, color="0.85", label=label)
    axes.plot(times, scores, linewidth=1, label="score")
    axes.axhline(threshold, color="tab:red", linewidth=1, linestyle="--", label="threshold")
    low = min(scores.min(), threshold) - 0.08
    for number, marker in enumerate(found):
        label = "marker" if number == 0 else None
        axes.plot(
            [marker.start, marker.end],
            [low, low],
            color="tab:green",
            linewidth=5,
            solid_capstyle="butt",
            label=label,
        )
    axes.set(xlabel="seconds", ylabel="mean cosine of the 5 nearest", xlim=(0, times[-1] + 1))
    axes.legend(loc="upper center", ncols=4, bbox_to_anchor=(0.5, 1.2), frameon=False)
    save(figure, path)
