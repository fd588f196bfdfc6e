"""Definition of the small world index on few points, where it finds what all distances say.

How much of that it finds on many points, and how few distances it looks at, is measured in
tests/numpy/test_small_world.py.
"""

from __future__ import annotations

import numpy as np

from fourfold.definition import BadInput, Case, Definition, Mutant, Operation
from shared_tests.fixtures import digits, normal


def time_warping(x, y, band):
    """The plain dynamic programme."""
    cost = np.full((len(x) + 1, len(y) + 1), np.inf)
    cost[0, 0] = 0
    for i in range(1, len(x) + 1):
        for j in range(max(1, i - band), min(len(y), i + band) + 1):
            step = min(cost[i - 1, j], cost[i, j - 1], cost[i - 1, j - 1])
            cost[i, j] = (x[i - 1] - y[j - 1]) ** 2 + step
    return np.sqrt(cost[-1, -1])


def small_world_index(points, queries, k, metric="euclidean", band=0, degree=24, width=48, seed=0):
    distances = np.array(
        [
            [
                time_warping(query, point, band)
                if metric == "dtw"
                else np.sqrt(((query - point) ** 2).sum())
                for point in points
            ]
            for query in queries
        ]
    )
    indices = np.argsort(distances, axis=1, kind="stable")[:, :k]
    return {"indices": indices, "distances": np.take_along_axis(distances, indices, axis=1)}


PIXELS, _ = digits(53)
POINTS, QUERIES = normal(43, 11, seed=1), normal(5, 11, seed=2)
INPUTS = {"points": POINTS, "queries": QUERIES}
COPIES = POINTS[:3].repeat(4, axis=0)[[0, 4, 8, 1, 5, 9, 2, 6, 10, 3, 7, 11]]

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
        ),
    ),
)
