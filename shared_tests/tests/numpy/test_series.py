"""Series of different lengths and several channels: time warping, and the index on them."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from numpy_infer.format import safetensors_file
from numpy_infer.model_file import ModelFileError, checksum
from numpy_infer.search import time_warping
from numpy_infer.search.time_warping import time_warping_distances
from numpy_infer.small_world_index import SmallWorldIndex
from shared_tests.fixtures import normal

X: np.ndarray = normal(31, 3, seed=13)
BAD: Any = {"text": "series", "lists": [[1.0]]}  # what the types of arguments forbid


def warped_series(x: np.ndarray, y: np.ndarray, band: int) -> float:
    """The plain dynamic programme over series of any lengths, (time,) or (time, channels)."""
    band = max(band, abs(len(x) - len(y)))
    cost = np.full((len(x) + 1, len(y) + 1), np.inf)
    cost[0, 0] = 0
    for i in range(len(x)):
        for j in range(max(0, i - band), min(len(y), i + band + 1)):
            best = min(cost[i, j], cost[i, j + 1], cost[i + 1, j])
            cost[i + 1, j + 1] = ((x[i] - y[j]) ** 2).sum() + best
    return cost[-1, -1] ** 0.5


LENGTHS = (np.array([1, 7, 5, 2, 11, 6, 3]), np.array([4, 7, 1, 2, 9, 11, 6]))


def padded(series: list[np.ndarray], time: int) -> np.ndarray:
    """Series in one array, with NaN behind their ends."""
    rows = np.full((len(series), time, *series[0].shape[1:]), np.nan)
    for row, one in zip(rows, series, strict=True):
        row[: len(one)] = one
    return rows


def series_of(lengths: np.ndarray, channels: int | None, seed: int) -> list[np.ndarray]:
    shape = () if channels is None else (channels,)
    return [normal(n, *shape, seed=seed + place) for place, n in enumerate(lengths)]


@pytest.mark.parametrize("band", [0, 1, 2, 5, 40])
@pytest.mark.parametrize("channels", [None, 1, 3])
def test_time_warping_of_series_of_different_lengths(band, channels):
    x, y = (series_of(n, channels, 10 * seed) for seed, n in enumerate(LENGTHS))
    wanted = [warped_series(*pair, band) for pair in zip(x, y, strict=True)]
    found = time_warping_distances(x, y, band=band)
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-12)
    given: Any = {"x_lengths": LENGTHS[0], "y_lengths": LENGTHS[1].astype("int8"), "band": band}
    again = time_warping_distances(padded(x, 11), padded(y, 13), **given)
    np.testing.assert_array_equal(again, found)
    single = [one.astype("float32") for one in x], [one.astype("float32") for one in y]
    found = time_warping_distances(*single, band=band)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-5)


def test_time_warping_of_series_whose_squares_overflow():
    x, y = (series_of(n, 3, 10 * seed) for seed, n in enumerate(LENGTHS))
    wanted = [1e25 * warped_series(*pair, 2) for pair in zip(x, y, strict=True)]
    scaled = [[(1e25 * one).astype("float32") for one in side] for side in (x, y)]
    np.testing.assert_allclose(time_warping_distances(*scaled, band=2), wanted, rtol=1e-5)


@pytest.mark.parametrize("n", [time_warping.PAIRS - 1, time_warping.PAIRS, time_warping.PAIRS + 1])
def test_time_warping_of_many_pairs_of_different_lengths(n):
    x, y, lengths = normal(n, 3, seed=1), normal(n, 3, seed=2), np.arange(n) % 3 + 1
    found = time_warping_distances(x, y, x_lengths=lengths, y_lengths=lengths[::-1], band=0)
    for i in (0, 1, 2, n - 2, n - 1):
        wanted = warped_series(x[i, : lengths[i]], y[i, : lengths[n - 1 - i]], 0)
        assert abs(found[i] - wanted) < 1e-12


@pytest.mark.parametrize("channels", [1, 3])
def test_an_index_of_series(tmp_path, channels):
    rng = np.random.default_rng(4)
    lengths = rng.integers(5, 12, 60)
    lengths[7] = 11
    points = series_of(lengths, None if channels == 1 else channels, 100)
    points[9] = points[3][:4]
    points.append(np.concatenate([points[9], 0 * points[9][:2]]))  # equal but for its length
    queries = series_of(np.array([3, 8, 13]), None if channels == 1 else channels, 900)
    distances = [[warped_series(query, point, 2) for point in points] for query in queries]
    index = SmallWorldIndex.build(points, metric="dtw", band=2, degree=6)
    assert index.points.shape == ((61, 11) if channels == 1 else (61, 11, 3))
    assert index.lengths.tolist() == [len(one) for one in points]
    index.save(tmp_path / "index.safetensors")
    loaded = SmallWorldIndex.load(tmp_path / "index.safetensors")
    lengths = np.array([3, 8, 13])
    for one in (index, loaded):
        for search in (one.exact_search, one.search):
            for found in (search(queries, 61), search(padded(queries, 13), 61, lengths=lengths)):
                np.testing.assert_array_equal(found.indices, np.argsort(distances, kind="stable"))
                np.testing.assert_allclose(found.distances, np.sort(distances), rtol=0, atol=1e-12)
    for one in (index, loaded):
        one.add(queries[:2])
    found = loaded.search(queries, 2)
    assert found.indices[:2, 0].tolist() == [61, 62]
    for ours, theirs in zip(found, index.search(queries, 2), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_lengths_that_are_all_the_same_change_no_file(tmp_path):
    x = normal(40, 5, seed=3)
    SmallWorldIndex.build(x, metric="dtw", band=1).save(tmp_path / "plain")
    index = SmallWorldIndex.build(list(x), metric="dtw", band=1)
    index.save(tmp_path / "list")
    assert (tmp_path / "plain").read_bytes() == (tmp_path / "list").read_bytes()
    assert "channels" not in index.config


def test_a_file_of_series_is_checked(tmp_path):
    path = tmp_path / "index.safetensors"
    changes: list[Callable[[Any, Any], Any]] = [
        lambda d, a: a.update(steps=a["steps"][1:]),
        lambda d, a: a.update(steps=a["steps"] + 6),
        lambda d, a: a.update(steps=a["steps"] * 1.0),
        lambda d, a: a["points"].fill(1),
        lambda d, a: d["config"].update(channels=2),
        lambda d, a: d["config"].update(channels="1"),
        lambda d, a: d["config"].update(metric="euclidean"),
    ]
    for change in changes:
        SmallWorldIndex.build(series_of(LENGTHS[0], None, 5), metric="dtw", band=1).save(path)
        metadata, mapped = safetensors_file.read(path)
        description = json.loads(metadata["fourfold_index"])
        arrays = {key: array.copy() for key, array in mapped.items()}
        change(description, arrays)
        description.pop("checksum")
        description["checksum"] = checksum(description, arrays)
        safetensors_file.write(path, {"fourfold_index": json.dumps(description)}, arrays)
        with pytest.raises(ModelFileError, match=f"^{path}: .*expected"):
            SmallWorldIndex.load(path)


def series_index() -> SmallWorldIndex:
    return SmallWorldIndex.build(series_of(LENGTHS[0], 2, 5), metric="dtw", band=1)


@pytest.mark.parametrize(
    ("call", "error", "argument"),
    [
        (lambda: SmallWorldIndex(3, channels=2), ValueError, "channels"),
        (lambda: SmallWorldIndex(3, channels=0), ValueError, "channels"),
        (lambda: SmallWorldIndex.build([X[0], X[1]]), TypeError, "points"),
        (
            lambda: SmallWorldIndex(3).add(X.astype("float32"), lengths=np.ones(31, int)),
            ValueError,
            "l",
        ),
        (lambda: series_index().search([X[0]], 1), ValueError, "queries"),
        (lambda: series_index().add([normal(12, 2, seed=1)]), ValueError, "points"),
        (
            lambda: series_index().search([normal(4, 2, seed=1).astype("float32")], 1),
            TypeError,
            "queries",
        ),
        (lambda: series_index().search([np.nan * normal(4, 2, seed=1)], 1), ValueError, "queries"),
        (lambda: time_warping_distances([X[0]], [X[0], X[1]], band=1), ValueError, "y"),
        (lambda: time_warping_distances([X[0]], [X[:2]], band=1), ValueError, "y"),
        (lambda: time_warping_distances([X[0], X[:2]], [X[0]] * 2, band=1), ValueError, "x"),
        (lambda: time_warping_distances([X[0, :0]], [X[0]], band=1), ValueError, "x"),
        (lambda: time_warping_distances([], [], band=1), ValueError, "x"),
        (lambda: time_warping_distances(BAD["text"], [X[0]], band=1), TypeError, "x"),
        (lambda: time_warping_distances(BAD["lists"], [X[0]], band=1), TypeError, "x"),
        (lambda: time_warping_distances([X[0]], [X[0].astype("float32")], band=1), TypeError, "y"),
        (lambda: warped_by(np.zeros(31, int)), ValueError, "x_lengths"),
        (lambda: warped_by(np.full(31, 4)), ValueError, "x_lengths"),
        (lambda: warped_by(np.ones(30, int)), ValueError, "x_lengths"),
        (lambda: warped_by(np.ones((31, 1), int)), ValueError, "x_lengths"),
        (lambda: warped_by(np.ones(31)), TypeError, "x_lengths"),
        (
            lambda: time_warping_distances(list(X), X, band=1, x_lengths=np.ones(31, int)),
            ValueError,
            "x_lengths",
        ),
    ],
)
def test_bad_series(call, error, argument):
    with pytest.raises(error, match=f"^{argument}.*: expected .*, got "):
        call()


def warped_by(lengths: np.ndarray) -> np.ndarray:
    return time_warping_distances(X, X, band=1, x_lengths=lengths)
