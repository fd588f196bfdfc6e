"""Definition of the neighbor memory: all cosines, sorted."""

from __future__ import annotations

import numpy as np

from fourfold.definition import BadInput, Case, Definition, Mutant, Operation
from shared_tests.components.distances import l2_normalize
from shared_tests.fixtures import digits, normal


def neighbor_memory(vectors, queries, k):
    cosines = np.array([[q @ v for v in l2_normalize(vectors)] for q in l2_normalize(queries)])
    # Equal vectors are equal candidates, however their products are rounded: the older one first.
    indices = np.argsort(-np.round(cosines, 12), axis=1, kind="stable")[:, :k]
    return {"indices": indices, "similarities": np.take_along_axis(cosines, indices, axis=1)}


PIXELS, _ = digits(53)
VECTORS, QUERIES = normal(41, 7, seed=1), normal(5, 7, seed=2)
COPIES = VECTORS[:3].repeat(4, axis=0)[[0, 4, 8, 1, 5, 9, 2, 6, 10, 3, 7, 11]]

DEFINITION = Definition(
    "neighbor_memory",
    operations=(
        Operation(
            "NeighborMemory",
            neighbor_memory,
            cases=(
                Case("nearest three", {"vectors": VECTORS, "queries": QUERIES}, {"k": 3}),
                Case("nearest one", {"vectors": VECTORS, "queries": QUERIES}, {"k": 1}),
                Case("all of them", {"vectors": VECTORS, "queries": QUERIES}, {"k": 41}),
                Case("one vector", {"vectors": VECTORS[:1], "queries": QUERIES}, {"k": 1}),
                Case("copies", {"vectors": COPIES, "queries": QUERIES}, {"k": 7}),
                Case("long queries", {"vectors": VECTORS, "queries": 1e3 * QUERIES}, {"k": 3}),
                Case("zero query", {"vectors": VECTORS, "queries": 0 * QUERIES}, {"k": 3}),
                Case("digits", {"vectors": PIXELS[:47], "queries": PIXELS[47:]}, {"k": 5}),
            ),
            bad_inputs=(
                BadInput({"vectors": np.ones((41, 7), int)}, TypeError),
                BadInput({"vectors": VECTORS[0]}),
                BadInput({"vectors": VECTORS * np.inf}),
                BadInput({"queries": QUERIES[:, :5]}),
                BadInput({"queries": QUERIES.astype("float32")}, TypeError),
                BadInput({"queries": QUERIES * np.nan}),
                BadInput({"k": 0}),
                BadInput({"k": 42}),
                BadInput({"k": 1.0}, TypeError),
            ),
            differentiable=False,
            only="numpy",
        ),
    ),
    mutants=(
        Mutant(
            "queries not normalized",
            "NeighborMemory",
            "long queries",
            {"numpy_infer": ("unit = l2_normalize(queries)", "unit = queries")},
            file="search.neighbor_votes",
        ),
        Mutant(
            "farthest first",
            "NeighborMemory",
            "nearest three",
            {
                "numpy_infer": (
                    "np.lexsort((columns, -cosines, rows))",
                    "np.lexsort((columns, cosines, rows))",
                )
            },
            file="search.tiled_neighbors",
        ),
        Mutant(
            "the younger of equals",
            "NeighborMemory",
            "copies",
            {
                "numpy_infer": (
                    "np.lexsort((columns, -cosines, rows))",
                    "np.lexsort((-columns, -cosines, rows))",
                )
            },
            file="search.tiled_neighbors",
        ),
    ),
)
