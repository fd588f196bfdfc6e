"""The plot: a series beside its nearest ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt

from examples.support.plots import save
from examples.time_series.data import Dataset, Part
from numpy_infer.small_world_index import SmallWorldIndex


def neighbors(path: Path, dataset: Dataset) -> None:
    """The first unseen series of each class, and the nearest known series by both distances."""
    first = {label: i for i, label in reversed([*enumerate(dataset.unseen.labels)])}
    labels = sorted(first)[:3]
    queries = [dataset.unseen.series[first[label]] for label in labels]
    band = round(0.07 * max(map(len, queries)))
    kinds: dict[str, dict[str, Any]] = {"euclidean": {}, "warped": {"metric": "dtw", "band": band}}
    kinds = kinds if dataset.regular else {"warped": kinds["warped"]}
    size = (4 * len(queries), 3)
    figure, panels = plt.subplots(
        1, len(queries), figsize=size, squeeze=False, layout="constrained"
    )
    given = Part(queries, labels).values
    found = {
        name: SmallWorldIndex.build(dataset.training.values, **settings).exact_search(given, 1)
        for name, settings in kinds.items()
    }
    for place, (panel, query) in enumerate(zip(panels[0], queries, strict=True)):
        panel.plot(query.reshape(len(query), -1)[:, 0], color="black", label="unseen")
        for name, one in found.items():
            near = int(one.indices[place, 0])
            series = dataset.training.series[near]
            label = f"{name}: {dataset.training.labels[near]}"
            panel.plot(series.reshape(len(series), -1)[:, 0], alpha=0.8, label=label)
        panel.set(xlabel="step", title=f"{dataset.name}, class {labels[place]}")
        panel.legend()
    save(figure, path)
