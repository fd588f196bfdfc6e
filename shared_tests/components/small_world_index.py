"""Definition of the small world index on few points, where it finds what all distances say.

How much of that it finds on many points, and how few distances it looks at, is measured in
tests/numpy/test_small_world.py.
"""

from __future__ import annotations

import numpy as np

from fourfold.definition import BadInput, Case, Definition, Mutant, Operation
from shared_tests.fixtures import digits, normal


def time_warping(x, y, band):
    """The plain dynamic programme over series, (time,) or (time, channels), of any lengths."""
    band = max(band, abs(len(x) - len(y)))
    cost = np.full((len(x) + 1, len(y) + 1), np.inf)
    cost[0, 0] = 0
    for i in range(1, len(x) + 1):
        for j in range(max(1, i - band), min(len(y), i + band) + 1):
            step = min(cost[i - 1, j], cost[i, j - 1], cost[i - 1, j - 1])
            cost[i, j] = ((x[i - 1] - y[j - 1]) ** 2).sum() + step
    return np.sqrt(cost[-1, -1])


def small_world_index(
    points,
    queries,
    lengths=None,
    query_lengths=None,
    *,
    k,
    metric="euclidean",
    band=0,
    degree=24,
    width=48,
    seed=0,
):
    distances = np.array(
        [
            [
                time_warping(query, point, band)
                if metric == "dtw"
                else np.sqrt(((query - point) ** 2).sum())
                for point in series(points, lengths)
            ]
            for query in series(queries, query_lengths)
        ]
    )
    indices = np.argsort(distances, axis=1, kind="stable")[:, :k]
    return {"indices": indices, "distances": np.take_along_axis(distances, indices, axis=1)}


def series(rows, lengths):
    """The rows up to their lengths."""
    return rows if lengths is None else [row[:n] for row, n in zip(rows, lengths, strict=True)]


PIXELS, _ = digits(53)
POINTS, QUERIES = normal(43, 11, seed=1), normal(5, 11, seed=2)
INPUTS = {"points": POINTS, "queries": QUERIES}
COPIES = POINTS[:3].repeat(4, axis=0)[[0, 4, 8, 1, 5, 9, 2, 6, 10, 3, 7, 11]]
RAGGED = {"lengths": np.arange(43) * 7 % 11 + 1, "query_lengths": np.array([5, 1, 11, 8, 2])}
CHANNELS = {"points": normal(43, 7, 3, seed=3), "queries": normal(5, 7, 3, seed=4)}
RAGGED_CHANNELS = {
    **CHANNELS,
    "lengths": np.arange(43) * 5 % 7 + 1,
    "query_lengths": np.array([7, 3, 1, 5, 6]),
}
WARPED = {"k": 5, "metric": "dtw", "band": 2}

DEFINITION = Definition(
    "small_world_index",
    operations=(
        Operation(
            "SmallWorldIndex",
            small_world_index,
            cases=(
                Case("nearest three", INPUTS, {"k": 3}),
                Case("all of them", INPUTS, {"k": 43}),
                Case("few links, wide beam", INPUTS, {"k": 3, "degree": 5, "width": 43}),
                Case("time warping", INPUTS, {"k": 3, "metric": "dtw", "band": 3}),
                Case("a band of nothing", INPUTS, {"k": 3, "metric": "dtw", "band": 0}),
                Case("a band of everything", INPUTS, {"k": 3, "metric": "dtw", "band": 11}),
                Case("series of several lengths", {**INPUTS, **RAGGED}, WARPED),
                Case(
                    "a band of nothing between lengths", {**INPUTS, **RAGGED}, WARPED | {"band": 0}
                ),
                Case("series of three channels", CHANNELS, WARPED),
                Case("channels and several lengths", RAGGED_CHANNELS, WARPED),
                Case("one point", {"points": POINTS[:1], "queries": QUERIES}, {"k": 1}),
                Case("copies", {"points": COPIES, "queries": QUERIES}, {"k": 7}),
                Case("digits", {"points": PIXELS[:47], "queries": PIXELS[47:]}, {"k": 5}),
            ),
            bad_inputs=(
                BadInput({"points": np.ones((43, 11), int)}, TypeError),
                BadInput({"points": POINTS[0]}),
                BadInput({"points": POINTS * np.nan}),
                BadInput({"queries": QUERIES[:, :5]}),
                BadInput({"queries": QUERIES.astype("float32")}, TypeError),
                BadInput({"lengths": np.full(43, 11)}, inputs=("lengths",)),
                BadInput({"k": 0}),
                BadInput({"k": 44}),
                BadInput({"metric": "cosine"}),
                BadInput({"band": -1}),
                BadInput({"degree": 1}),
                BadInput({"width": 0}),
                BadInput({"seed": 0.5}, TypeError),
            ),
            differentiable=False,
            only="numpy",
        ),
    ),
    mutants=(
        Mutant(
            "no root",
            "SmallWorldIndex",
            "nearest three",
            {
                "numpy_infer": ("= np.sqrt(square)", "= square"),
            },
            file="search.row_distances",
        ),
        Mutant(
            "farthest first",
            "SmallWorldIndex",
            "all of them",
            {"numpy_infer": ("(beam.points, beam.distances)", "(beam.points, -beam.distances)")},
            file="search.small_world_snapshot",
        ),
        Mutant(
            "the younger of equals",
            "SmallWorldIndex",
            "copies",
            {"numpy_infer": ("(every, to_each)", "(-every, to_each)")},
            file="search.small_world_snapshot",
        ),
        Mutant(
            "band forgotten",
            "SmallWorldIndex",
            "time warping",
            {"numpy_infer": ("band=self.band)", "band=0)")},
            file="search.metric",
        ),
        Mutant(
            "padding compared",
            "SmallWorldIndex",
            "series of several lengths",
            {"numpy_infer": ("lengths = {} if whole else", "lengths = {} if True else")},
            file="search.metric",
        ),
        Mutant(
            "the widest band of all pairs",
            "SmallWorldIndex",
            "a band of nothing between lengths",
            {"numpy_infer": ("if differ:", "if not s:")},
            file="search.time_warping",
        ),
        Mutant(
            "the last channel forgotten",
            "SmallWorldIndex",
            "series of three channels",
            {
                "numpy_infer": (
                    "zip(x_values[1:], y_values[1:],",
                    "zip(x_values[1:-1], y_values[1:-1],",
                )
            },
            file="search.time_warping",
        ),
        Mutant(
            "channels and steps exchanged",
            "SmallWorldIndex",
            "channels and several lengths",
            {
                "numpy_infer": (
                    "rows.shape[1] // self.channels, self.channels)",
                    "self.channels, rows.shape[1] // self.channels).swapaxes(1, 2)",
                )
            },
            file="search.metric",
        ),
    ),
)
