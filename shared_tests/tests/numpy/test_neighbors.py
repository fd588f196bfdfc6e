"""The memories: exact against the whole product, ties, growth, and their files."""

import json
from typing import Any

import numpy as np
import pytest

from numpy_infer.format import safetensors_file
from numpy_infer.model_file import ModelFileError, checksum
from numpy_infer.neighbor_memory import NeighborMemory
from numpy_infer.rare_event_memory import RareEventMemory
from numpy_infer.search import tiled_neighbors
from numpy_infer.support.layer import Input
from shared_tests.components.rare_event_memory import QUERIES, STATE
from shared_tests.fixtures import digits, normal


def memory(vectors: np.ndarray) -> NeighborMemory:
    found = NeighborMemory(vectors.shape[1], dtype=str(vectors.dtype))
    found.add(vectors)
    return found


def unit(x: np.ndarray) -> np.ndarray:
    return x / np.linalg.norm(x, axis=1, keepdims=True)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize(("n", "k"), [(1, 1), (7, 7), (3000, 1), (3000, 10), (2500, 2500)])
def test_search_is_the_whole_product_sorted(n, k, dtype):
    x, queries = normal(n, 7, seed=1).astype(dtype), normal(13, 7, seed=2).astype(dtype)
    found = memory(x).search(queries, k)
    cosines = unit(queries.astype("float64")) @ unit(x.astype("float64")).T
    wanted = np.sort(cosines, axis=1)[:, ::-1][:, :k]
    bound = 1e-14 if dtype == "float64" else 1e-6
    np.testing.assert_allclose(found.similarities, wanted, rtol=0, atol=bound)
    at = np.take_along_axis(cosines, found.indices, axis=1)
    np.testing.assert_allclose(at, wanted, rtol=0, atol=bound)
    assert found.indices.dtype == np.int64
    assert found.similarities.dtype == dtype
    assert all(len(set(row)) == k for row in found.indices)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_equal_vectors_tie_across_tiles_and_the_lower_index_wins(dtype):
    few = normal(11, 64, seed=3).astype(dtype)
    numbers = np.random.default_rng(4).integers(0, 11, 5000)
    queries = np.concatenate([few[:5], normal(600, 64, seed=5).astype(dtype)])
    found = memory(few[numbers]).search(queries, 7)
    nearest = (unit(queries) @ unit(few).T).argmax(axis=1)
    for row, number in zip(found.indices, nearest, strict=True):
        np.testing.assert_array_equal(row, np.flatnonzero(numbers == number)[:7])


def test_all_vectors_alike_take_no_more_memory_than_the_tiles(monkeypatch):
    monkeypatch.setattr(tiled_neighbors, "TILE", 64)
    found = memory(np.ones((1000, 3))).search(np.ones((5, 3)), 3)
    np.testing.assert_array_equal(found.indices, np.tile([0, 1, 2], (5, 1)))


def test_many_additions_are_one():
    x = normal(101, 5, seed=6)
    piecewise = NeighborMemory(5, dtype="float64")
    for start in range(0, 101, 7):
        piecewise.add(x[start : start + 7])
    assert len(piecewise) == 101
    np.testing.assert_array_equal(piecewise.vectors, memory(x).vectors)


def test_score_is_the_mean_of_the_five_best():
    x, queries = normal(29, 5, seed=7), normal(3, 5, seed=8)
    cosines = np.sort(unit(queries) @ unit(x).T, axis=1)
    score = memory(x).score(queries)
    np.testing.assert_allclose(score, cosines[:, -5:].mean(axis=1), rtol=0, atol=1e-15)
    np.testing.assert_allclose(
        memory(x[:2]).score(queries), (unit(queries) @ unit(x[:2]).T).mean(axis=1), atol=1e-15
    )
    np.testing.assert_array_equal(memory(x).matches(queries, float(score[1])), score > score[1])


def test_digits_match_the_memory_of_their_class():
    pixels, labels = digits(97)
    zeros = pixels[labels == 0]
    of_zeros = memory(zeros[:6])
    assert of_zeros.matches(zeros[6:], 0.85).all()
    assert not of_zeros.matches(pixels[labels != 0], 0.85).any()


def test_zero_vectors_are_similar_to_nothing():
    found = memory(np.array([[0.0, 0.0], [1.0, 1.0]])).search(np.array([[2.0, 2.0], [0, 0]]), 2)
    np.testing.assert_array_equal(found.indices, [[1, 0], [0, 1]])
    np.testing.assert_allclose(found.similarities, [[1, 0], [0, 0]], rtol=0, atol=1e-15)


X = normal(5, 3, seed=9)
NO_COUNT: Any = 1.0


@pytest.mark.parametrize(
    ("call", "error", "argument"),
    [
        (lambda: NeighborMemory(0), ValueError, "dim"),
        (lambda: NeighborMemory(3, dtype="int64"), ValueError, "dtype"),
        (lambda: memory(X).add(X[:, :2]), ValueError, "vectors"),
        (lambda: memory(X).add(X[0]), ValueError, "vectors"),
        (lambda: memory(X).add(X[:0]), ValueError, "vectors"),
        (lambda: memory(X).add(X * np.nan), ValueError, "vectors"),
        (lambda: memory(X).add(X.astype("float32")), TypeError, "vectors"),
        (lambda: memory(X).add(np.ones((5, 3), int)), TypeError, "vectors"),
        (lambda: memory(X).search(X * np.inf, 1), ValueError, "queries"),
        (lambda: memory(X).search(X, 0), ValueError, "k"),
        (lambda: memory(X).search(X, 6), ValueError, "k"),
        (lambda: memory(X).search(X, NO_COUNT), TypeError, "k"),
        (lambda: NeighborMemory(3, dtype="float64").score(X), ValueError, "queries"),
        (lambda: memory(X).matches(X, np.nan), ValueError, "threshold"),
        (lambda: NeighborMemory(3, votes=0), ValueError, "votes"),
        (lambda: NeighborMemory(3, threshold=-1.5), ValueError, "threshold"),
        (lambda: memory(X).add(X, np.arange(4)), ValueError, "labels"),
        (lambda: memory(X).add(X, np.arange(5.0)), TypeError, "labels"),
        (lambda: memory(X).add(X, np.arange(5)), ValueError, "labels"),
        (lambda: labelled().add(X), ValueError, "labels"),
        (lambda: labelled().add(X, np.arange(5) - 1), ValueError, "labels"),
        (lambda: labelled().add(X, np.full(5, 2**63, "uint64")), ValueError, "labels"),
        (lambda: memory(X).remove(np.array([5])), ValueError, "indices"),
        (lambda: memory(X).remove(np.array([-1])), ValueError, "indices"),
        (lambda: memory(X).remove(np.array([0.0])), TypeError, "indices"),
        (lambda: memory(X).remove(np.array([], int)), ValueError, "indices"),
        (lambda: memory(X).classify(X), ValueError, "queries"),
        (lambda: labelled().classify(X * np.nan), ValueError, "queries"),
        (lambda: labelled().classify(X, threshold=np.inf), ValueError, "threshold"),
        (lambda: memory(X).calibrate(X, np.ones(5, bool)), ValueError, "positives"),
        (lambda: memory(X).calibrate(X, X[:, 0] > 0, false_alarm_rate=2), ValueError, "rate"),
    ],
)
def test_bad_input(call, error, argument):
    with pytest.raises(error, match=f"^{argument}: expected .*, got "):
        call()


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_file_gives_the_memory_back_and_it_grows_on(tmp_path, dtype):
    path = tmp_path / "memory.safetensors"
    original = memory(normal(31, 5, seed=10).astype(dtype))
    original.save(path)
    loaded = NeighborMemory.load(path)
    np.testing.assert_array_equal(loaded.vectors, original.vectors)
    more = normal(7, 5, seed=11).astype(dtype)
    loaded.add(more)
    original.add(more)
    for one, other in zip(loaded.search(more, 3), original.search(more, 3), strict=True):
        np.testing.assert_array_equal(one, other)
    loaded.save(path)  # in the place of the file that it was read from
    assert len(NeighborMemory.load(path)) == 38


def test_a_file_keeps_labels_votes_and_threshold(tmp_path):
    path = tmp_path / "memory.safetensors"
    original, queries = labelled(votes=3, threshold=0.25), normal(9, 3, seed=24)
    original.save(path)
    loaded = NeighborMemory.load(path)
    assert (loaded.votes, loaded.threshold) == (3, 0.25)
    for changed in (
        lambda it: None,
        lambda it: it.remove(np.array([4])),
        lambda it: it.add(X, LABELS[:5]),
    ):
        changed(loaded)
        changed(original)
        for one, other in zip(loaded.classify(queries), original.classify(queries), strict=True):
            np.testing.assert_array_equal(one, other)


def test_a_memory_as_of_old_has_a_file_as_of_old(tmp_path):
    """No labels, five votes, a threshold of 0.7: what older versions write, and can read."""
    path = tmp_path / "memory.safetensors"
    memory(X).save(path)
    metadata, arrays = safetensors_file.read(path)
    assert json.loads(metadata["fourfold_index"])["config"] == {}
    assert [*arrays] == ["vectors"]
    loaded = NeighborMemory.load(path)
    assert (loaded.votes, loaded.threshold, loaded.labels) == (5, 0.7, None)


def test_an_empty_memory_has_a_file_too(tmp_path):
    NeighborMemory(5).save(tmp_path / "empty")
    loaded = NeighborMemory.load(tmp_path / "empty")
    assert len(loaded) == 0
    loaded.add(np.ones((1, 5), "float32"))


LABELS = np.random.default_rng(20).integers(0, 4, 60)


def labelled(dtype: str = "float64", **options: Any) -> NeighborMemory:
    found = NeighborMemory(3, dtype=dtype, **options)
    for start in range(0, 60, 7):
        part = slice(start, start + 7)
        found.add(normal(60, 3, seed=21)[part].astype(dtype), LABELS[part])
    return found


@pytest.mark.parametrize("votes", [1, 2, 3, 5, 7, 60, 99])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_most_votes_win_then_the_cosines_then_the_lower_label(votes, dtype, monkeypatch):
    monkeypatch.setattr("numpy_infer.search.neighbor_votes.ENTRIES", 100)  # a few queries a block
    x, queries = normal(60, 3, seed=21), normal(40, 3, seed=22)
    found = labelled(dtype, votes=votes).classify(queries.astype(dtype), threshold=0.5)
    assert found.labels.dtype == np.int64
    assert found.scores.dtype == dtype
    cosines = unit(queries) @ unit(x).T
    k = min(votes, 60)
    for row, label, score in zip(cosines, found.labels, found.scores, strict=True):
        nearest = np.argsort(-row, kind="stable")[:k]
        np.testing.assert_allclose(score, row[nearest].mean(), rtol=0, atol=1e-6)
        tally = {
            one: ((LABELS[nearest] == one).sum(), row[nearest][LABELS[nearest] == one].sum())
            for one in set(LABELS[nearest].tolist())
        }
        wanted = max(tally, key=lambda one, tally=tally: (*tally[one], -one))
        assert label == (wanted if score > 0.5 else -1)


def test_equal_votes_and_cosines_go_to_the_lower_label():
    memory = NeighborMemory(2, dtype="float64", votes=4, threshold=0)
    memory.add(np.array([[1.0, 0], [1.0, 0], [1.0, 0], [1.0, 0]]), np.array([9, 4, 4, 9]))
    assert memory.classify(np.array([[1.0, 0]])).labels.tolist() == [4]


def test_labels_grow_with_the_vectors_and_all_have_one_or_none_has():
    memory = labelled()
    assert memory.labels is not None
    np.testing.assert_array_equal(memory.labels, LABELS)
    with pytest.raises(ValueError, match="labels: expected labels, as of the vectors before, got"):
        memory.add(X)
    assert len(memory) == len(memory.labels) == 60
    plain = NeighborMemory(3, dtype="float64")
    plain.add(X)
    assert plain.labels is None
    with pytest.raises(ValueError, match="labels: expected no labels, as of the vectors before"):
        plain.add(X, LABELS[:5])


def test_what_is_removed_is_gone_and_the_rest_moves_up():
    x, gone = normal(60, 3, seed=21), np.array([3, 0, 59, 3, 17])
    memory = labelled()
    before = memory.vectors
    copy = before.copy()
    memory.remove(gone)
    stay = np.setdiff1d(np.arange(60), gone)
    rebuilt = NeighborMemory(3, dtype="float64")
    rebuilt.add(x[stay], LABELS[stay])
    np.testing.assert_array_equal(memory.vectors, rebuilt.vectors)
    np.testing.assert_array_equal(memory.labels, rebuilt.labels)
    memory.add(X, LABELS[:5])
    np.testing.assert_array_equal(before, copy)  # searches that run go on in it
    assert len(memory) == 61
    memory.remove(np.arange(61))
    assert len(memory) == 0
    memory.add(X)  # an empty memory may begin without labels
    assert memory.labels is None


def test_removal_without_labels():
    x = normal(7, 3, seed=23)
    found = memory(x)
    found.remove(np.array([2]))
    np.testing.assert_array_equal(found.vectors, memory(np.delete(x, 2, axis=0)).vectors)
    assert found.labels is None


@pytest.mark.parametrize("rate", [None, 0.0, 0.1])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_a_calibrated_threshold_is_the_memorys(rate, dtype):
    pixels, labels = digits(97)
    pixels = pixels.astype(dtype)
    zeros = memory(pixels[labels == 0][:5])
    positives = labels == 0
    found = zeros.calibrate(pixels, positives, false_alarm_rate=rate)
    assert zeros.threshold == found.threshold
    accepted = zeros.matches(pixels)
    np.testing.assert_array_equal(accepted, zeros.score(pixels) > found.threshold)
    assert found.recall == accepted[positives].mean()
    assert found.false_alarm_rate == accepted[~positives].mean()
    assert found.false_alarm_rate <= (1 if rate is None else rate)
    assert found.recall > 0.5
    assert found.f1 > 0.7


def test_a_memory_votes_and_matches_as_it_was_told():
    x, queries = normal(29, 5, seed=7), normal(3, 5, seed=8)
    cosines = np.sort(unit(queries) @ unit(x).T, axis=1)
    three = NeighborMemory(5, dtype="float64", votes=3, threshold=-0.5)
    three.add(x)
    wanted = cosines[:, -3:].mean(axis=1)
    np.testing.assert_allclose(three.score(queries), wanted, rtol=0, atol=1e-15)
    np.testing.assert_array_equal(three.matches(queries), wanted > -0.5)
    np.testing.assert_array_equal(three.matches(queries, 0.75), wanted > 0.75)


def rewritten(path, change) -> None:
    """The file with other arrays or metadata, and a checksum that is right for them."""
    metadata, arrays = safetensors_file.read(path)
    description = json.loads(metadata["fourfold_index"])
    arrays = {name: array.copy() for name, array in arrays.items()}
    change(description, arrays)
    kept = {key: value for key, value in description.items() if key != "checksum"}
    if "checksum" in description:
        kept["checksum"] = checksum(kept, arrays)
    safetensors_file.write(path, {"fourfold_index": json.dumps(kept)}, arrays)


HOSTILE = {
    "another version": lambda d, a: d.update(version=2),
    "a version that is no number": lambda d, a: d.update(version=True),
    "another kind": lambda d, a: d.update(kind="small_world_index"),
    "a config": lambda d, a: d.update(config={"dim": 5}),
    "no votes": lambda d, a: d.update(config={"votes": 0}),
    "votes that are no number": lambda d, a: d.update(config={"votes": True}),
    "a low threshold": lambda d, a: d.update(config={"threshold": -2}),
    "a threshold that is no number": lambda d, a: d.update(config={"threshold": "0.7"}),
    "too few labels": lambda d, a: a.update(labels=np.zeros(4, int)),
    "labels below 0": lambda d, a: a.update(labels=np.arange(5) - 1),
    "labels of 32 bits": lambda d, a: a.update(labels=np.zeros(5, "int32")),
    "floating labels": lambda d, a: a.update(labels=np.zeros(5)),
    "labels in a table": lambda d, a: a.update(labels=np.zeros((5, 1), int)),
    "labels without vectors": lambda d, a: a.update(labels=a.pop("vectors")[:, 0].astype(int)),
    "a config that is a list": lambda d, a: d.update(config=[]),
    "no checksum": lambda d, a: d.pop("checksum"),
    "more in it": lambda d, a: d.update(more=1),
    "an array too many": lambda d, a: a.update(more=a["vectors"]),
    "no array": lambda d, a: a.clear(),
    "a vector of another length": lambda d, a: a["vectors"].__imul__(2),
    "nan": lambda d, a: a["vectors"].__imul__(np.nan),
    "whole numbers": lambda d, a: a.update(vectors=np.eye(3, dtype=int)),
    "half precision": lambda d, a: a.update(vectors=np.eye(3, dtype="float16")),
    "one axis": lambda d, a: a.update(vectors=np.ones(1)),
    "no features": lambda d, a: a.update(vectors=np.ones((3, 0))),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_file_is_refused(tmp_path, name):
    path = tmp_path / "memory.safetensors"
    memory(X).save(path)
    rewritten(path, lambda d, a: None)
    NeighborMemory.load(path)
    rewritten(path, HOSTILE[name])
    with pytest.raises(ModelFileError, match=f"^{path}: .*expected"):
        NeighborMemory.load(path)


def test_how_far_above_1_a_length_may_be(tmp_path):
    """By rounding, or by another program's: 0.001."""
    path = tmp_path / "memory.safetensors"
    for length, loads in ((1.0009, True), (1.0011, False)):
        memory(X).save(path)
        rewritten(path, lambda d, a, length=length: a["vectors"].__imul__(length))
        if loads:
            assert len(NeighborMemory.load(path)) == len(X)
        else:
            with pytest.raises(ModelFileError, match="expected rows of length 1 at most"):
                NeighborMemory.load(path)


def test_a_flipped_bit_is_an_error(tmp_path):
    path = tmp_path / "memory.safetensors"
    memory(X).save(path)
    data = bytearray(path.read_bytes())
    data[-3] ^= 1
    path.write_bytes(data)
    with pytest.raises(ModelFileError, match="checksum"):
        NeighborMemory.load(path)
    path.write_bytes(data[:40])
    with pytest.raises(ModelFileError, match="expected"):
        NeighborMemory.load(path)


def test_rare_event_memory_augments_and_names_its_orphans():
    arrays = {name: array.astype("float32") for name, array in STATE.items()}
    model = RareEventMemory(Input(), **arrays)
    queries = QUERIES.astype("float32")
    augmented = model.augment(queries)
    assert augmented.dtype == np.float32
    np.testing.assert_array_equal(augmented, model(queries).augmented)
    old = (STATE["labels"] >= 0) & (STATE["ages"] >= 7)
    np.testing.assert_array_equal(model.orphans(7), np.flatnonzero(old))
    with pytest.raises(ValueError, match="ages: expected the shape"):
        RareEventMemory(Input(), arrays["keys"], arrays["labels"], arrays["ages"][1:])
