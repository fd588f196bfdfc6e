"""The small world index: recall and cost against exact search, time warping, and its file."""

import copy
import json
import pickle
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from numpy_infer import neighbor_memory
from numpy_infer.format import safetensors_file
from numpy_infer.model_file import ModelFileError, checksum
from numpy_infer.neighbor_memory import NeighborMemory
from numpy_infer.search.metric import Metric
from numpy_infer.search.time_warping import time_warping_distances
from numpy_infer.small_world_index import Found, SmallWorldIndex
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


def test_the_defaults():
    options: dict[str, Any] = {"degree": 24, "width": 48, "seed": 0, "dtype": "float32"}
    x = normal(300, 5, seed=4).astype("float32")
    plain, explicit = SmallWorldIndex(5), SmallWorldIndex(5, **options)
    assert plain.config == explicit.config
    for index in (plain, explicit):
        index.add(x)
    for one, other in zip(contents(plain), contents(explicit), strict=True):
        np.testing.assert_array_equal(one, other)


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
    clock = np.linspace(0, 1, 47)
    x, y = np.sin(7 * clock)[None], np.sin(7 * clock**1.1)[None]
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
    clock = np.linspace(0, 1, 32)
    rng = np.random.default_rng(3)
    waves = rng.integers(1, 6, 1100)[:, None] * (clock + 0.05 * rng.normal(size=(1100, 1)))
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


@pytest.mark.parametrize("degree", [2, 3, 4])
@pytest.mark.parametrize("name", ["digits", "islands", "line", "all alike", "one", "two"])
def test_every_point_is_found(name, degree):
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
    index = SmallWorldIndex.build(points, degree=degree, width=8)
    n = len(points)
    found, exact = index.search(points[:3], n), index.exact_search(points[:3], n)
    for got, wanted in zip(found, exact, strict=True):
        np.testing.assert_array_equal(got, wanted)
    beam = index._now.beam(index._now.series[:3], n, index._metric.paired)
    assert (np.sort(beam.points) == np.arange(n)).all()
    assert (beam.evaluations == n).all()


def test_distances_are_counted(monkeypatch):
    points, queries = normal(700, 5, seed=8), normal(11, 5, seed=9)
    index, counts = SmallWorldIndex.build(points), []
    paired = Metric.paired
    monkeypatch.setattr(Metric, "paired", lambda *of: counts.append(len(of[1])) or paired(*of))
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


def test_time_warping_has_no_default_band():
    with pytest.raises(ValueError, match=r"^band: expected .* for the metric dtw, got None"):
        SmallWorldIndex.build(X, metric="dtw")
    zero = SmallWorldIndex.build(X, metric="dtw", band=0)
    assert zero.config["band"] == SmallWorldIndex.build(X).config["band"] == 0


def test_series_without_entries_are_alike():
    nothing = np.zeros((3, 0), np.float32)
    found = time_warping_distances(nothing, nothing, band=1)
    np.testing.assert_array_equal(found, np.zeros(3, np.float32))
    assert found.dtype == np.float32
    assert time_warping_distances(X[:0], X[:0], band=1).shape == (0,)


METRICS = {"euclidean": {}, "dtw": {"metric": "dtw", "band": 1}}


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("size", [1e-38, 1e-25, 1e20, 1e37])
def test_large_and_small_points_are_those_of_size_one(size, metric):
    """Their squares overflow, or vanish, in float32."""
    points, queries = normal(300, 3, seed=15), normal(20, 3, seed=16)
    scaled, at = ((size * one).astype(np.float32) for one in (points, queries))
    index = SmallWorldIndex.build(scaled, **METRICS[metric])
    true = SmallWorldIndex.build(scaled.astype(np.float64) / size, **METRICS[metric])
    found, exact = index.search(at, 5), true.exact_search(at.astype(np.float64) / size, 5)
    assert recall(found, exact) > 0.95
    exactly = index.exact_search(at, 5).distances.astype(np.float64) / size
    np.testing.assert_allclose(exactly, exact.distances, rtol=1e-2 if size < 1e-30 else 1e-5)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_points_whose_distances_overflow_are_refused(dtype):
    largest = np.finfo(dtype).max
    index = SmallWorldIndex.build(X.astype(dtype))
    for call in (index.add, lambda x: index.search(x, 1), lambda x: index.exact_search(x, 1)):
        with pytest.raises(ValueError, match=r"^(points|queries): expected numbers up to .*, got"):
            call(np.full((2, 3), largest / 2, dtype))
    far = np.array([[1, 1, 1], [-1, -1, -1]], dtype) * (largest / 8)
    with np.errstate(over="raise"):
        found = SmallWorldIndex.build(far).search(far, 2)
    assert found.indices.tolist() == [[0, 1], [1, 0]]
    assert np.isfinite(found.distances).all()


@pytest.mark.parametrize("metric", METRICS)
def test_of_equal_points_the_lower_index_comes_first(metric):
    few = normal(40, 3, seed=17)
    numbers = np.random.default_rng(18).integers(0, 40, 2000)
    points = few[numbers]
    index = SmallWorldIndex.build(points, **METRICS[metric])
    queries = np.concatenate([points[:20], normal(20, 3, seed=20)])
    for k in (1, 3, 60):
        found, exact = index.search(queries, k), index.exact_search(queries, k)
        np.testing.assert_array_equal(found.indices[:20], exact.indices[:20])
        np.testing.assert_array_equal(found.distances, np.sort(found.distances, axis=1))
    signed = np.array([[0.0, 1], [-0.0, 1], [0.0, 1]])
    assert SmallWorldIndex.build(signed).search(signed, 2).indices.tolist() == [[0, 1]] * 3


def contents(index: SmallWorldIndex | NeighborMemory) -> list[np.ndarray]:
    """Copies of all that an addition may change."""
    if isinstance(index, NeighborMemory):
        return [index.vectors.copy()]
    return [index.points.copy(), *(array.copy() for array in index.graph.arrays().values())]


class Failing:
    """A function that fails at one of its calls."""

    def __init__(self, function: Any, call: int) -> None:
        self.function, self.left = function, call

    def __call__(self, *arguments: Any) -> Any:
        self.left -= 1
        if self.left < 0:
            raise ZeroDivisionError
        return self.function(*arguments)


@pytest.mark.parametrize("filled", [False, True], ids=["empty", "filled"])
@pytest.mark.parametrize("kind", [SmallWorldIndex, NeighborMemory])
def test_an_addition_that_fails_changes_nothing(kind, filled, monkeypatch):
    """Whichever step of it fails, and whatever it was given."""
    index = kind(3, dtype="float64")
    if filled:
        index.add(X)
    before = contents(index)
    bad: list[Any] = [X * np.nan, X[:, :2], X[:0], X.astype("float32"), X.tolist(), X[0]]
    for points in [*bad, X + np.inf]:
        with pytest.raises((TypeError, ValueError), match="expected"):
            index.add(points)
    step = "paired" if kind is SmallWorldIndex else "l2_normalize"
    place: Any = Metric if kind is SmallWorldIndex else neighbor_memory
    function, more = getattr(place, step), normal(40, 3, seed=21)
    for call in [*range(30), 60, 90] if kind is SmallWorldIndex else [0]:
        failing = Failing(function, call)
        monkeypatch.setattr(place, step, lambda *given, failing=failing: failing(*given))
        with pytest.raises(ZeroDivisionError):
            index.add(more)
        for one, other in zip(contents(index), before, strict=True):
            np.testing.assert_array_equal(one, other)
    monkeypatch.setattr(place, step, function)
    index.add(more)
    assert len(index) == len(before[0]) + 40


@pytest.mark.parametrize("kind", [SmallWorldIndex, NeighborMemory])
def test_threads_search_while_others_add(kind):
    """A search sees the index before an addition or after it; no addition is lost."""
    index = kind(3, dtype="float64")
    index.add(X[:5])
    parts = [normal(11, 3, seed=seed) for seed in range(40)]
    done = threading.Event()

    def search() -> None:
        last = False
        while not last:  # once more after all additions
            last, n = done.is_set(), len(index)
            found = index.search(X, n)
            assert all(len(set(row) - {-1}) == n for row in found.indices.tolist())
            if kind is SmallWorldIndex:
                index.exact_search(X, n)

    with ThreadPoolExecutor(6) as threads:
        searches = [threads.submit(search) for _ in range(3)]
        added = [threads.submit(index.add, part) for part in parts]
        try:
            for one in added:
                one.result()
        finally:
            done.set()
        for one in searches:
            one.result()
    assert len(index) == 5 + 40 * 11
    again = pickle.loads(pickle.dumps(copy.deepcopy(index)))
    again.add(X)
    assert len(again) == len(index) + 31


def test_exact_search_takes_many_queries_in_one_step(monkeypatch):
    index = SmallWorldIndex.build(normal(50, 4, seed=22), metric="dtw", band=2)
    queries, sizes = normal(300, 4, seed=23), []
    paired = Metric.paired
    monkeypatch.setattr(Metric, "paired", lambda *of: sizes.append(len(of[1])) or paired(*of))
    found = index.exact_search(queries, 3)
    assert sum(sizes) == 50 * 300
    assert len(sizes) == 4
    for row in (0, 80, 81, 299):
        alone = index.exact_search(queries[[row]], 3)
        for one, all_of_them in zip(alone, found, strict=True):
            np.testing.assert_array_equal(one[0], all_of_them[row])


def test_a_wide_beam_costs_no_more_than_all_points():
    points = normal(800, 5, seed=24)
    index = SmallWorldIndex.build(points)
    wide, exact = index.search(points[:5], 3, width=10**8), index.exact_search(points[:5], 3)
    for one, other in zip(wide, exact, strict=True):
        np.testing.assert_array_equal(one, other)
    begin = time.process_time()
    again = SmallWorldIndex.build(points, width=10**8)  # it is in a file's header too
    again.search(points, 1)
    assert time.process_time() - begin < 30
    assert recall(again.search(points[:50], 5, width=48), index.exact_search(points[:50], 5)) > 0.9


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


def put(name: str, value: float, place: Any = 0):
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
    "a length below zero": put("lengths", -1.0),
    "a cover below zero": put("cover", -np.inf),
    "more hubs than a search looks at": lambda d, a: a.update(hubs=np.arange(31)),
    "links that last all": lambda d, a: a["lasting"].fill(True),
    "a point that no link leads to": lambda d, a: put("links", -1, slice(None))(d, a),
    "points whose distances overflow": put("points", 1e308),
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
