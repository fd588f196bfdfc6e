"""The program: index series, search the nearest, exactly and by a small world graph."""

from __future__ import annotations

import json
import time
from typing import Any, NamedTuple

import numpy as np

from examples.support.options import Options, Report
from examples.support.results import Quality
from examples.time_series import data
from examples.time_series.data import Dataset
from numpy_infer.small_world_index import Found, SmallWorldIndex

BANDS = (0.0, 0.03, 0.07)  # shares of the length, of which the training chooses one


class Search(NamedTuple):
    """What one kind of search has found, and the seconds that it took."""

    found: Found
    seconds: float


def run(options: Options, report: Report) -> Quality:
    """Tell the class of a time series by the nearest known one.

    The nearest is looked for among all and along a small world graph, by Euclidean distances and
    by time warping. Five data sets of the UCR and UEA archives, with their own split, and series
    that are made up. The last index is saved. NumPy does all of it.
    """
    datasets = data.load(options.data, quick=options.quick, seed=options.seed)
    if data.shipped() is None and options.data is None:
        print("without the package sktime or --data there are only series made up here")
    quality: dict[str, dict[str, float]] = {}
    for place, dataset in enumerate(datasets, 1):
        for metric, settings in metrics(dataset).items():
            index = SmallWorldIndex.build(dataset.training.values, seed=options.seed, **settings)
            exact, walked = compare(index, dataset)
            for name, search in (("exact", exact), ("small world", walked)):
                row = f"{dataset.name}: {metric}, {name}"
                quality[row] = measures(search.found, exact.found, dataset)
            print(verdict(f"{dataset.name}, {metric}", len(index), exact, walked))
        report(place, len(datasets), accuracy=quality[row]["accuracy"])
    save(index, dataset, options)
    if options.plots:
        from examples.time_series.plots import neighbors

        neighbors(options.output / "neighbors.png", datasets[0])
    return quality


def metrics(dataset: Dataset) -> dict[str, dict[str, Any]]:
    """The options of the index for each metric.

    Series of different lengths have no Euclidean distance; where that is there, a band of 0 is it.
    """
    band = chosen_band(dataset)
    warping = {f"warped by {band}": {"metric": "dtw", "band": band}}
    if not dataset.regular:
        return warping
    if not band:
        print(f"{dataset.name}: the training tells its series best without warping")
        return {"euclidean": {}}
    return {"euclidean": {}, **warping}


def chosen_band(dataset: Dataset) -> int:
    """The band that tells most of the first 100 training series by the others; the narrowest."""
    series, labels = dataset.training.series[:100], dataset.training.labels[:100]
    longest = max(map(len, series))
    scores = {}
    for band in dict.fromkeys(round(share * longest) for share in BANDS):
        index = SmallWorldIndex.build(series, metric="dtw", band=band)
        near = index.exact_search(series, 2).indices
        others = np.where(near[:, 0] == np.arange(len(series)), near[:, 1], near[:, 0])
        scores[band] = data.accuracy(others, labels, labels)
    return max(scores, key=lambda band: (scores[band], -band))


def compare(index: SmallWorldIndex, dataset: Dataset) -> tuple[Search, Search]:
    """The nearest known series of each unseen one, among all and along the graph."""
    searches = []
    for search in (index.exact_search, index.search):
        begin = time.monotonic()
        found = search(dataset.unseen.values, 1)
        searches.append(Search(found, time.monotonic() - begin))
    return searches[0], searches[1]


def measures(found: Found, exact: Found, dataset: Dataset) -> dict[str, float]:
    """Accuracy, the share of true nearest neighbors, and the distances computed for a query."""
    nearest = found.indices[:, 0]
    same = np.isclose(found.distances[:, 0], exact.distances[:, 0])
    return {
        "accuracy": data.accuracy(nearest, dataset.training.labels, dataset.unseen.labels),
        "recall@1": float(same.mean()),
        "evaluations": float(found.evaluations.mean()),
    }


def verdict(name: str, count: int, exact: Search, walked: Search) -> str:
    """A sentence: whether the graph is worth its while."""
    share = walked.found.evaluations.mean() / count
    pays = "pays" if walked.seconds < 0.8 * exact.seconds else "does not pay"
    times = f"{walked.seconds:.2f} s for {exact.seconds:.2f} s"
    return f"{name}: the graph looks at {share:.0%} of {count}, {times}: it {pays}"


def save(index: SmallWorldIndex, dataset: Dataset, options: Options) -> None:
    """Write the index, and beside it the classes of its series."""
    index.save(options.model_file)
    text = json.dumps({"dataset": dataset.name, "labels": dataset.training.labels})
    (options.output / "labels.json").write_text(text + "\n", encoding="utf-8")
