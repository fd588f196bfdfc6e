"""Small world index: about the ten nearest of n clustered points, next to all distances.

Before anything is timed it is checked that recall@10 is at least 0.95, and that from LARGE points
on at most a tenth of the distances are computed.
"""

from __future__ import annotations

import numpy as np

from benchmarks.harness import FLOOR, Benchmark, Contender, Target

QUERIES, DIMENSIONS, CLUSTERS, K = 256, 32, 50, 10
RECALL, SHARE, LARGE = 0.95, 0.1, 4_000
LINKS, BEAM = 24, 48  # of both graphs


def data(n: int, dtype: str) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(n)
    centers = 4 * rng.normal(size=(CLUSTERS, DIMENSIONS))
    points = centers[rng.integers(CLUSTERS, size=n + QUERIES)]
    points = (points + rng.normal(size=points.shape)).astype(dtype)
    return points[:n], points[n:]


def in_numpy(n: int, dtype: str) -> dict[str, Contender]:
    import hnswlib

    from numpy_infer.small_world_index import SmallWorldIndex

    points, queries = data(n, dtype)
    index = SmallWorldIndex.build(points, degree=LINKS, width=BEAM)
    peer = hnswlib.Index(space="l2", dim=DIMENSIONS)
    peer.init_index(max_elements=n, M=LINKS // 2, ef_construction=100, random_seed=1)
    peer.add_items(points)
    peer.set_ef(BEAM)
    exact, found = index.exact_search(queries, K), index.search(queries, K)
    indices = {"small world": found.indices, "hnswlib": peer.knn_query(queries, K)[0]}
    for name, got in indices.items():
        recall = np.mean([np.isin(*rows).mean() for rows in zip(exact.indices, got, strict=True)])
        assert recall >= RECALL, f"{name}: recall {recall:.3f} of {n} points"
    share = found.evaluations.mean() / n
    assert share <= SHARE or n < LARGE, f"{share:.1%} of the distances to {n} points"
    evaluated = np.random.default_rng(1).integers(n, size=int(found.evaluations.sum()))
    asking = np.arange(QUERIES).repeat(found.evaluations)

    def plain() -> np.ndarray:
        """All distances through one product, sorted."""
        square = (queries**2).sum(axis=1)[:, None] + (points**2).sum(axis=1)
        square -= 2 * (queries @ points.T)
        nearest = np.argsort(square, axis=1, kind="stable")[:, :K]
        return np.sqrt(np.take_along_axis(square, nearest, axis=1))

    def floor() -> np.ndarray:
        """As many distances as the walk computes, all at once."""
        difference = queries[asking] - points[evaluated]
        difference *= difference
        return difference.sum(axis=1)

    return {
        "small world": lambda: index.search(queries, K).distances,
        "exact": lambda: index.exact_search(queries, K).distances,
        "plain": plain,
        "hnswlib": lambda: peer.knn_query(queries, K),
        FLOOR: floor,
    }


BENCHMARK = Benchmark(
    title="Small world index, about the 10 nearest of clustered points for 256 queries",
    size="points",
    sizes=(1_000, 2_000, 4_000, 8_000),
    contenders={"bench": in_numpy},
    targets=(Target("bench", "small world", "exact", 8_000, 1),),
    growth={"small world": 0, "exact": 1},  # a walk grows as the logarithm
    differs={
        "small world": "misses up to a twentieth of the nearest",
        "hnswlib": "misses some of the nearest, and gives squared distances",
        FLOOR: "only as many distances as the walk computes",
    },
)
