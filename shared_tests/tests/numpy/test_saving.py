"""What is saved can be loaded again, or the save fails and the old file stays."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from numpy_infer import model_file
from numpy_infer.format import safetensors_file
from numpy_infer.model_file import read_model, write_model
from numpy_infer.neighbor_memory import NeighborMemory
from numpy_infer.small_world_index import SmallWorldIndex
from numpy_infer.text import Vocabulary
from shared_tests.model_files.samples import SAMPLES

FLOATS = {"float32": np.float32, "float64": np.float64}


def awkward(rng: np.random.Generator, n: int, dim: int, dtype: str) -> np.ndarray:
    """Rows of any size that a float has, zeros, equal rows, signed zeros, the odd huge entry."""
    info = np.finfo(dtype)
    low, high = np.log10(float(info.tiny)) - 6, np.log10(float(info.max))
    rows = rng.normal(size=(n, dim)) * 10.0 ** rng.uniform(low, high - 3, (n, 1))
    rows[rng.random(n) < 0.2] = rng.choice([0.0, -0.0])
    rows[rng.random((n, dim)) < 0.1] = rng.choice([0, 1, 1e-12, 9e-13, 1e-45])
    rows[rng.random(n) < 0.2] = rows[0]
    with np.errstate(over="ignore", under="ignore"):
        return rows.astype(dtype)


def arrays_of(index: Any) -> list[np.ndarray]:
    if isinstance(index, NeighborMemory):
        return [index.vectors]
    return [index.points, *index.graph.arrays().values()]


def test_short_vectors_are_saved_and_loaded(tmp_path):
    memory = NeighborMemory(3)
    memory.add(np.array([[9e-13, 0, 0], [1e-30, 0, 0], [0, 0, 0], [1, 2, 3]], np.float32))
    memory.save(tmp_path / "memory")
    np.testing.assert_array_equal(NeighborMemory.load(tmp_path / "memory").vectors, memory.vectors)


@pytest.mark.parametrize("kind", [NeighborMemory, SmallWorldIndex])
def test_whatever_an_index_holds_is_saved_and_loaded(kind, tmp_path):
    rng, path, saved = np.random.default_rng(1), tmp_path / "index", 0
    for _ in range(150):
        dtype, dim = str(rng.choice(list(FLOATS))), int(rng.integers(1, 6))
        options: dict[str, Any] = {}
        if kind is SmallWorldIndex:
            options = {"degree": int(rng.integers(2, 9)), "width": int(rng.integers(1, 9))}
            if rng.random() < 0.5:
                options |= {"metric": "dtw", "band": int(rng.integers(0, 4))}
        index = kind(dim, dtype=dtype, **options)
        for _ in range(rng.integers(0, 4)):
            index.add(awkward(rng, int(rng.integers(1, 40)), dim, dtype))
        index.save(path)
        loaded = kind.load(path)
        for one, other in zip(arrays_of(loaded), arrays_of(index), strict=True):
            np.testing.assert_array_equal(one, other)
        if len(index):
            queries, k = awkward(rng, 3, dim, dtype), int(rng.integers(1, len(index) + 1))
            for one, other in zip(loaded.search(queries, k), index.search(queries, k), strict=True):
                np.testing.assert_array_equal(one, other)
            saved += 1
    assert saved > 50


def grown(kind: Any) -> Any:
    index = kind(3, dtype="float64")
    index.add(np.random.default_rng(2).normal(size=(31, 3)))
    return index


def vocabulary() -> Vocabulary:
    return Vocabulary.count([["a", "b", "a"], ["b"]], buckets=3)


def put(array: np.ndarray, value: float) -> None:
    array.reshape(-1)[0] = value


SPOILED: dict[str, tuple[Callable[[], Any], Callable[[Any], Any]]] = {
    "memory, long vector": (lambda: grown(NeighborMemory), lambda it: put(it.vectors, 3)),
    "memory, nan": (lambda: grown(NeighborMemory), lambda it: put(it.vectors, np.nan)),
    "index, nan": (lambda: grown(SmallWorldIndex), lambda it: put(it.points, np.nan)),
    "index, link": (lambda: grown(SmallWorldIndex), lambda it: put(it.graph.links, 99)),
    "index, hub": (lambda: grown(SmallWorldIndex), lambda it: put(it.graph.hubs, -1)),
    "index, length": (lambda: grown(SmallWorldIndex), lambda it: put(it.graph.lengths, np.nan)),
    "index, width": (lambda: grown(SmallWorldIndex), lambda it: it.config.update(width=0)),
    "index, option": (lambda: grown(SmallWorldIndex), lambda it: it.config.update(more=0)),
    "vocabulary, counts": (vocabulary, lambda it: put(it.counts, -1)),
    "vocabulary, words": (vocabulary, lambda it: it.words.append("a")),
    "vocabulary, buckets": (vocabulary, lambda it: setattr(it, "buckets", 4)),
}


@pytest.mark.parametrize("name", SPOILED)
def test_what_could_not_be_loaded_is_not_saved_over_a_good_file(name, tmp_path):
    make, spoil = SPOILED[name]
    path, it = tmp_path / "file", make()
    it.save(path)
    good = path.read_bytes()
    spoil(it)
    with pytest.raises(ValueError, match=f"^{path}: expected what can be loaded again, got .*"):
        it.save(path)
    assert path.read_bytes() == good
    assert [one.name for one in tmp_path.iterdir()] == ["file"]
    type(it).load(path)


@pytest.mark.parametrize("name", SAMPLES)
def test_a_model_is_read_again_before_it_takes_the_place_of_another(name, tmp_path, monkeypatch):
    """Whatever goes wrong between what was checked and what is in the file."""
    sample, path = SAMPLES[name], tmp_path / "model.safetensors"
    good = sample.write(path)
    right, calls = model_file.checksum, iter([True])
    wrong_once = lambda *given: "0" * 8 if next(calls, False) else right(*given)  # noqa: E731
    monkeypatch.setattr(model_file, "checksum", wrong_once)
    with pytest.raises(ValueError, match=f"^{path}: expected what can be loaded again, got check"):
        sample.write(path)
    assert path.read_bytes() == good
    assert [one.name for one in tmp_path.iterdir()] == [path.name]
    read_model(path)


def test_arrays_of_any_layout_are_saved_as_they_are(tmp_path):
    path = tmp_path / "model.safetensors"
    rng = np.random.default_rng(3)
    config = {"layers": [{"layer": "Input", "previous": [], "config": {}}]}
    config["layers"].append({"layer": "Projection", "previous": [0], "config": {}})
    weight = rng.normal(size=(7, 5))
    for one in (weight, weight.T, weight[::2], weight[:, ::-1], np.broadcast_to(weight[0], (4, 5))):
        write_model(path, "chain", config, {"1.weight": one})
        np.testing.assert_array_equal(read_model(path).arrays["1.weight"], one)


def test_axes_that_no_reader_takes_are_not_written(tmp_path):
    path = tmp_path / "arrays"
    path.write_text("old")
    with pytest.raises(ValueError, match="expected what can be loaded again, got array 'x': expec"):
        safetensors_file.write(path, {}, {"x": np.zeros((0, 2**50))})
    assert path.read_text() == "old"
