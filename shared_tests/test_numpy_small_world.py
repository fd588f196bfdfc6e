"""The small world index: recall and cost against exact search, time warping, and its file."""

import json
from typing import Any

import numpy as np
import pytest

from numpy_infer import safetensors_file
from numpy_infer.model_file import ModelFileError, checksum
from numpy_infer.small_world_index import Found, SmallWorldIndex
from numpy_infer.time_warping import time_warping_distances
from shared_tests.fixtures import digits, normal


def warped(x: np.ndarray, y: np.ndarray, band: int) -> float:
    """A plain dynamic programme."""
    n = len(x)
    cost = np.full((n + 1, n + 1), np.inf)
    cost[0, 0] = 0
    for i in range(n):
        for j in range(max(0, i - band), min(n, i + band + 1)):
            best = min(cost[i, j], cost[i, j + 1], cost[i + 1, j])
            cost[i + 1, j + 1] = (x[i] - y[j]) ** 2 + best
    return cost[n, n] ** 0.5


@pytest.mark.parametrize("band", [0, 1, 2, 5, 40])
@pytest.mark.parametrize("time", [1, 2, 3, 7, 23])
def test_time_warping_is_the_dynamic_programme(time, band):
    x, y = normal(2, 5, time, seed=time)
    wanted = [warped(*pair, band) for pair in zip(x, y, strict=True)]
    np.testing.assert_allclose(time_warping_distances(x, y, band=band), wanted, rtol=0, atol=1e-12)
    found = time_warping_distances(x.astype("float32"), y.astype("float32"), band=band)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-5)


def test_time_warping_sees_the_same_shape_at_another_pace():
    time = np.linspace(0, 1, 47)
    x, y = np.sin(7 * time)[None], np.sin(7 * time**1.1)[None]
    assert time_warping_distances(x, y, band=5)[0] < 0.4 * np.linalg.norm(x - y)


def clustered(n: int, clusters: int, spread: float) -> tuple[np.ndarray, np.ndarray]:
    """Points and 500 queries around the same normal centers, each coordinate by `spread`."""
    rng = np.random.default_rng(1)
    centers = rng.normal(size=(clusters, 64))
    x = centers[rng.integers(0, clusters, n + 500)] + spread * rng.normal(size=(n + 500, 64))
    return x[:n].astype("float32"), x[n:].astype("float32")


def recall(found: Found, exact: Found) -> float:
    pairs = zip(found.indices, exact.indices, strict=True)
    return float(np.mean([len(set(one) & set(other)) / len(one) for one, other in pairs]))


def test_recall_on_clusters_at_a_tenth_of_the_distances():
    points, queries = clustered(10_000, 200, spread=0.5)
    index = SmallWorldIndex.build(points)
    exact, found = index.exact_search(queries, 10), index.search(queries, 10)
    assert found.evaluations.mean() <= 1000
    assert recall(found, exact) >= 0.95
    assert (exact.evaluations == 10_000).all()


def test_recall_where_there_are_no_clusters_grows_with_the_beam():
    points, queries = normal(2000, 64, seed=1), normal(200, 64, seed=2)
    index = SmallWorldIndex.build(points)
    exact = index.exact_search(queries, 10)
    narrow, wide = (index.search(queries, 10, width=width) for width in (16, 128))
    assert recall(narrow, exact) > 0.6
    assert recall(wide, exact) > 0.95
    assert narrow.evaluations.mean() < wide.evaluations.mean() < 1500


def test_recall_of_time_warping():
    time = np.linspace(0, 1, 32)
    rng = np.random.default_rng(3)
    waves = rng.integers(1, 6, 1100)[:, None] * (time + 0.05 * rng.normal(size=(1100, 1)))
    series = np.sin(2 * np.pi * waves) + 0.1 * rng.normal(size=(1100, 32))
    index = SmallWorldIndex.build(series[:1000], metric="dtw", band=3, width=32)
    found, exact = (search(series[1000:], 5) for search in (index.search, index.exact_search))
    assert recall(found, exact) >= 0.95
    assert found.evaluations.mean() < 500
    wanted = warped(series[1000], series[exact.indices[0, 0]], 3)
    assert abs(exact.distances[0, 0] - wanted) < 1e-12


def test_exact_search_is_the_sorted_distances():
    points, queries = normal(101, 7, seed=4), normal(5, 7, seed=5)
    distances = np.linalg.norm(queries[:, None] - points, axis=2)
    found = SmallWorldIndex.build(points).exact_search(queries, 11)
    np.testing.assert_array_equal(found.indices, distances.argsort(axis=1)[:, :11])
    np.testing.assert_allclose(found.distances, np.sort(distances)[:, :11], rtol=0, atol=1e-14)


@pytest.mark.parametrize("name", ["digits", "islands", "line", "all alike", "one", "two"])
def test_every_point_is_found(name):
    """A beam as wide as the index reaches everything: no point is cut off."""
    islands = (100 * normal(60, 5, seed=6)[:, None] + normal(60, 13, 5, seed=7)).reshape(-1, 5)
    points = {
        "digits": digits(97)[0],
        "islands": islands,
        "line": np.arange(500.0)[:, None],
        "all alike": np.ones((300, 3)),
        "one": np.ones((1, 3)),
        "two": np.eye(2),
    }[name]
    index = SmallWorldIndex.build(points, degree=4, width=8)
    n = len(points)
    found, exact = index.search(points[:3], n), index.exact_search(points[:3], n)
    for got, wanted in zip(found, exact, strict=True):
        np.testing.assert_array_equal(got, wanted)


def test_distances_are_counted(monkeypatch):
    points, queries = normal(700, 5, seed=8), normal(11, 5, seed=9)
    index, counts = SmallWorldIndex.build(points), []
    paired = index._paired
    monkeypatch.setattr(index, "_paired", lambda x, y: counts.append(len(x)) or paired(x, y))
    found = index.search(queries, 3)
    assert sum(counts) == found.evaluations.sum()
    counts.clear()
    assert sum(index.search(queries[[i]], 3).evaluations.sum() for i in range(11)) == sum(counts)


def test_queries_together_give_what_each_gives_alone():
    index = SmallWorldIndex.build(normal(900, 5, seed=10))
    queries = normal(7, 5, seed=11)
    together = index.search(queries, 3)
    for row in range(7):
        alone = index.search(queries[[row]], 3)
        for one, all_of_them in zip(alone, together, strict=True):
            np.testing.assert_array_equal(one[0], all_of_them[row])


def test_points_may_be_added_later_and_seeds_repeat():
    points = normal(900, 5, seed=12)
    first, again, other = (SmallWorldIndex.build(points, seed=seed) for seed in (1, 1, 2))
    for name, array in first.graph.arrays().items():
        np.testing.assert_array_equal(array, again.graph.arrays()[name])
    assert not np.array_equal(first.graph.links, other.graph.links)
    later = SmallWorldIndex.build(points[:300])
    for start in range(300, 900, 100):
        later.add(points[start : start + 100])
    assert recall(later.search(points, 5), first.exact_search(points, 5)) > 0.95
    assert later.graph.links.shape == (900, 24)


X = normal(31, 3, seed=13)
NO_COUNT: Any = 0.5


def grown() -> SmallWorldIndex:
    return SmallWorldIndex.build(X)


@pytest.mark.parametrize(
    ("call", "error", "argument"),
    [
        (lambda: SmallWorldIndex(0), ValueError, "dim"),
        (lambda: SmallWorldIndex(3, metric="cosine"), ValueError, "metric"),
        (lambda: SmallWorldIndex(3, band=-1), ValueError, "band"),
        (lambda: SmallWorldIndex(3, degree=1), ValueError, "degree"),
        (lambda: SmallWorldIndex(3, width=0), ValueError, "width"),
        (lambda: SmallWorldIndex(3, seed=NO_COUNT), TypeError, "seed"),
        (lambda: SmallWorldIndex(3, dtype="float16"), ValueError, "dtype"),
        (lambda: SmallWorldIndex.build(X[0]), ValueError, "points"),
        (lambda: SmallWorldIndex.build(np.ones((3, 2), int)), TypeError, "points"),
        (lambda: grown().add(X[:, :2]), ValueError, "points"),
        (lambda: grown().add(X[:0]), ValueError, "points"),
        (lambda: grown().add(X / 0), ValueError, "points"),
        (lambda: grown().add(X.astype("float32")), TypeError, "points"),
        (lambda: grown().search(X * np.nan, 1), ValueError, "queries"),
        (lambda: grown().search(X, 0), ValueError, "k"),
        (lambda: grown().search(X, 32), ValueError, "k"),
        (lambda: grown().search(X, 1, width=0), ValueError, "width"),
        (lambda: grown().exact_search(X, 32), ValueError, "k"),
        (lambda: SmallWorldIndex(3, dtype="float64").search(X, 1), ValueError, "k"),
        (lambda: time_warping_distances(X, X[:5], band=1), ValueError, "y"),
        (lambda: time_warping_distances(X, X.astype("float32"), band=1), TypeError, "y"),
        (lambda: time_warping_distances(X, X, band=-1), ValueError, "band"),
    ],
)
@pytest.mark.filterwarnings("ignore:divide by zero:RuntimeWarning")
def test_bad_input(call, error, argument):
    with pytest.raises(error, match=f"^{argument}: expected .*, got "):
        call()


@pytest.mark.parametrize("options", [{}, {"metric": "dtw", "band": 1}], ids=["euclidean", "dtw"])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_file_gives_the_index_back_and_it_grows_on(tmp_path, dtype, options):
    path = tmp_path / "index.safetensors"
    original = SmallWorldIndex.build(X.astype(dtype), seed=3, **options)
    original.save(path)
    loaded = SmallWorldIndex.load(path)
    assert loaded.config == original.config
    more = normal(300, 3, seed=14).astype(dtype)
    for index in (loaded, original):
        index.add(more)
    for one, other in zip(loaded.search(more, 3), original.search(more, 3), strict=True):
        np.testing.assert_array_equal(one, other)
    SmallWorldIndex(3).save(path)
    assert len(SmallWorldIndex.load(path)) == 0


def put(name: str, value: float, place: int = 0):
    return lambda d, a: a[name].reshape(-1).__setitem__(place, value)


HOSTILE = {
    "another kind": lambda d, a: d.update(kind="neighbor_memory"),
    "an option too many": lambda d, a: d["config"].update(more=1),
    "an option too few": lambda d, a: d["config"].pop("seed"),
    "an option of another type": lambda d, a: d["config"].update(width="9"),
    "another degree": lambda d, a: d["config"].update(degree=12),
    "an unknown metric": lambda d, a: d["config"].update(metric=["dtw"]),
    "an array too few": lambda d, a: a.pop("cover"),
    "points of whole numbers": lambda d, a: a.update(points=a["points"].astype(int)),
    "a point of nan": put("points", np.nan),
    "a link past the end": put("links", 31),
    "a link before the start": put("links", -2),
    "a link twice": lambda d, a: put("links", a["links"][0, 0], 1)(d, a),
    "links of another type": lambda d, a: a.update(links=a["links"].astype("int32")),
    "links of too few points": lambda d, a: a.update(links=a["links"][1:]),
    "a length of nan": put("lengths", np.nan),
    "lengths of another shape": lambda d, a: a.update(lengths=a["lengths"][:, 1:]),
    "lasting of another type": lambda d, a: a.update(lasting=a["lasting"].astype("int8")),
    "no hubs": lambda d, a: a.update(hubs=a["hubs"][:0]),
    "hubs of another shape": lambda d, a: a.update(hubs=a["hubs"][:, None]),
    "a hub that is no point": put("hubs", -1),
    "a hub twice": lambda d, a: put("hubs", a["hubs"][0], 1)(d, a),
    "a cover of nan": put("cover", np.nan),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_file_is_refused(tmp_path, name):
    path = tmp_path / "index.safetensors"
    grown().save(path)
    metadata, mapped = safetensors_file.read(path)
    description = json.loads(metadata["fourfold_index"])
    arrays = {key: array.copy() for key, array in mapped.items()}
    HOSTILE[name](description, arrays)
    description.pop("checksum")
    description["checksum"] = checksum(description, arrays)
    safetensors_file.write(path, {"fourfold_index": json.dumps(description)}, arrays)
    with pytest.raises(ModelFileError, match=f"^{path}: .*(expected|unexpected)"):
        SmallWorldIndex.load(path)
