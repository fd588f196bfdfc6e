"""`predict`: batch by batch, in the memory of one batch, into an array or a whole file."""

import os
import tracemalloc
from typing import NamedTuple

import numpy as np
import pytest
from numpy.lib.format import open_memmap

import numpy_infer
from numpy_infer import Input, Layer, Projection, ReLU, predict
from numpy_infer.distances import l2_normalize
from numpy_infer.feedback_network import FeedbackNetwork
from numpy_infer.rare_event_memory import RareEventMemory
from numpy_infer.recursive_autoencoder import RecursiveAutoencoder
from numpy_infer.sparse_projection import SparseMatrix, SparseProjection
from shared_tests.fixtures import digits, normal

X = normal(23, 5, seed=1)
NET = [inp := Input(), hidden := Projection(inp, normal(5, 3, seed=2)), ReLU(hidden)]


class Function(Layer):
    """Any function as a layer."""

    def __init__(self, function):
        super().__init__(Input())
        self.forward = function


@pytest.mark.parametrize("batch_size", [1, 2, 7, 22, 23, 24, 1024])
@pytest.mark.parametrize("to_file", [False, True])
def test_batches_make_the_whole(batch_size, to_file, tmp_path):
    sizes, steps = [], []
    net = Function(lambda x: sizes.append(len(x)) or NET[-1](x))
    got = predict(
        net,
        X,
        batch_size=batch_size,
        output=tmp_path / "y.npy" if to_file else None,
        progress=lambda done, total: steps.append((done, total)),
    )
    assert got.dtype == X.dtype
    np.testing.assert_allclose(got, NET[-1](X), rtol=0, atol=1e-15)
    assert max(sizes) <= batch_size
    assert steps == [(done, 23) for done in np.cumsum(sizes)]
    assert steps[-1] == (23, 23)


def test_a_list_of_layers_is_its_last_one():
    np.testing.assert_array_equal(predict(NET, X), predict(NET[-1], X))
    np.testing.assert_array_equal(predict(NET[:1], X), X)


def test_batches_of_a_size_that_numpy_computed():
    got = predict(NET, X, batch_size=np.uint8(3))
    np.testing.assert_array_equal(got, predict(NET, X, batch_size=3))


def test_digits_through_a_net():
    pixels, _ = digits(97)
    net = ReLU(Projection(Input(), normal(64, 11, seed=9).astype("float32")))
    got = predict(net, pixels.astype("float32"), batch_size=10)
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, net(pixels.astype("float32")), rtol=0, atol=1e-5)


@pytest.mark.parametrize("dtype", ["float32", "float64", "int64", "bool"])
@pytest.mark.parametrize("shape", [(), (3,), (2, 3), (0,)])
def test_the_file_is_what_numpy_would_have_saved(dtype, shape, tmp_path):
    net = Function(lambda x: np.ones((len(x), *shape), dtype))
    got = predict(net, X, batch_size=4, output=str(tmp_path / "y.npy"))
    assert isinstance(got, np.memmap)
    assert not got.flags.writeable
    np.save(tmp_path / "wanted.npy", np.ones((23, *shape), dtype))
    assert (tmp_path / "y.npy").read_bytes() == (tmp_path / "wanted.npy").read_bytes()


def test_outputs_that_are_not_contiguous_are_written_in_order(tmp_path):
    net = Function(lambda x: np.moveaxis(x.reshape(len(x), 5, 1) + np.arange(3.0), 1, 2))
    got = predict(net, X, batch_size=10, output=tmp_path / "y.npy")
    np.testing.assert_array_equal(got, predict(net, X))


@pytest.mark.parametrize("to_file", [False, True])
def test_memory_is_that_of_a_batch(to_file, tmp_path):
    """32 MiB in, mapped; a batch has 128 KiB. Its output is as large when it goes to a file."""
    path = tmp_path / "x.npy"
    open_memmap(path, mode="w+", dtype=np.float32, shape=(2**17, 64)).flush()
    x = np.load(path, mmap_mode="r")
    weight = np.ones((64, 64 if to_file else 1), np.float32)
    net = ReLU(Projection(Input(), weight))
    tracemalloc.start()
    try:
        got = predict(net, x, batch_size=512, output=tmp_path / "y.npy" if to_file else None)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert got.shape == (2**17, weight.shape[1])
    result = 0 if to_file else got.nbytes
    assert peak - result < 2**20


def fail(*_):
    raise RuntimeError("a layer fails")


def test_a_failure_leaves_the_old_file_and_no_draft(tmp_path):
    path = tmp_path / "y.npy"
    path.write_bytes(b"old")

    def late(x):
        return x if x[0, 0] == X[0, 0] else fail()

    for problem in (Function(late), Function(fail)):
        with pytest.raises(RuntimeError, match="a layer fails"):
            predict(problem, X, batch_size=10, output=path)
    with pytest.raises(RuntimeError, match="a layer fails"):
        predict(NET, X, batch_size=10, output=path, progress=fail)
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["y.npy"]


def test_a_file_may_take_the_place_of_its_input(tmp_path):
    path = tmp_path / "x.npy"
    np.save(path, X)
    wanted = predict(NET, X, batch_size=5)
    got = predict(NET, np.load(path, mmap_mode="r"), batch_size=5, output=path)
    np.testing.assert_array_equal(got, wanted)
    np.testing.assert_array_equal(np.load(path), wanted)


TREES = RecursiveAutoencoder(
    Input(), np.ones((10, 5)), np.ones(5), np.ones((5, 10)), np.ones(10), pairs="adjacent"
)


@pytest.mark.parametrize(
    ("net", "x", "options", "error", "message"),
    [
        ([], X, {}, ValueError, "net: expected at least one layer, got none"),
        (["ReLU"], X, {}, TypeError, "net: expected layers, got str"),
        (NET, X[:0], {}, ValueError, r"x: expected at least one row, got shape \(0, 5\)"),
        (NET, X[0, 0], {}, TypeError, "x: expected a numpy.ndarray or sparse, got float64"),
        (NET, X.tolist(), {}, TypeError, "x: expected a numpy.ndarray or sparse, got list"),
        (NET, np.array(1.0), {}, ValueError, "x: expected at least one axis"),
        (NET, X.astype("float32"), {}, TypeError, "x: expected float64, got float32"),
        (NET, X, {"batch_size": 0}, ValueError, "batch_size: expected .* at least 1, got 0"),
        (NET, X, {"batch_size": 2.0}, TypeError, "batch_size: expected a whole number, got float"),
        (
            NET,
            X,
            {"output": "y.csv"},
            ValueError,
            "output: expected a path ending in .npy or .npz, got",
        ),
        (
            Function(lambda x: [x, x]),
            X,
            {},
            ValueError,
            "output: expected a path ending in .npz for output_0, output_1, got 'y.npy'",
        ),
        (
            TREES,
            X,
            {},
            ValueError,
            r"net: expected merges of shape \(23, 2\) .* for 23 rows, got \(22",
        ),
        (Function(lambda x: x[:-1]), X, {}, ValueError, r"net: expected shape \(23, 5\) .* got"),
        (Function(lambda x: x.sum()), X, {}, TypeError, "net: expected arrays for each batch"),
        (Function(lambda x: []), X, {}, TypeError, "net: expected arrays for each batch, got list"),
        (Function(lambda x: [x, 1]), X, {}, TypeError, "net: expected arrays for each batch"),
        (
            Function(lambda x: x[:, : len(x)]),
            X,
            {"batch_size": 20},
            ValueError,
            r"net: expected shape \(3, 5\) and float64 for 3 rows, got \(3, 3\)",
        ),
        (
            Function(lambda x: x.astype("float32" if len(x) == 3 else "float64")),
            X,
            {"batch_size": 20},
            ValueError,
            "net: expected .* float64 for 3 rows, got .* float32",
        ),
    ],
)
def test_bad_input(net, x, options, error, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error, match=f"^{message}"):
        predict(net, x, **({"output": "y.npy"} | options))
    assert os.listdir(tmp_path) == []


class Pair(NamedTuple):
    sums: np.ndarray
    rows: np.ndarray


SEVERAL = {
    "list": (lambda x: [x.sum(1), 2 * x], list, ["output_0", "output_1"]),
    "tuple": (lambda x: (x.sum(1), 2 * x), list, ["output_0", "output_1"]),
    "named": (lambda x: Pair(x.sum(1), 2 * x), Pair, ["sums", "rows"]),
}


@pytest.mark.parametrize("name", SEVERAL)
@pytest.mark.parametrize("batch_size", [1, 7, 100])
def test_several_outputs_come_in_the_form_of_the_net(name, batch_size, tmp_path):
    function, kind, names = SEVERAL[name]
    net, path = Function(function), tmp_path / "y.npz"
    got = predict(net, X, batch_size=batch_size)
    assert type(got) is kind
    with predict(net, X, batch_size=batch_size, output=path) as file:
        assert list(file) == names
        for one, key, wanted in zip(got, names, function(X), strict=True):
            np.testing.assert_allclose(one, wanted, rtol=0, atol=1e-15)
            np.testing.assert_array_equal(file[key], one)
    assert os.listdir(tmp_path) == ["y.npz"]


def test_a_network_of_levels_and_a_memory():
    config = {"in_features": 5, "classes": [2, 3], "hidden": 4}
    shapes = FeedbackNetwork.array_shapes(**config)
    arrays = {name.replace(".", "_"): normal(*shape, seed=2) for name, shape in shapes.items()}
    levels = FeedbackNetwork(Input(), **arrays)
    for one, wanted in zip(predict(levels, X, batch_size=10), levels(X), strict=True):
        np.testing.assert_allclose(one, wanted, rtol=0, atol=1e-14)
    keys = l2_normalize(normal(3, 5, seed=3))
    memory = RareEventMemory(Input(), keys, np.array([0.0, 1.0, -1.0]), np.zeros(3))
    got = predict(memory, X, batch_size=10)
    assert type(got) is type(memory(X))
    for one, wanted in zip(got, memory(X), strict=True):
        np.testing.assert_allclose(one, wanted, rtol=0, atol=1e-14)


@pytest.mark.parametrize("layout", ["csr", "csc"])
def test_sparse_rows(layout):
    x = X * (np.abs(X) > 1)
    x[4] = 0
    net = SparseProjection(Input(), normal(5, 3, seed=2))
    for batch_size in (1, 7, 100):
        got = predict(net, SparseMatrix.from_dense(x, layout), batch_size=batch_size)
        np.testing.assert_allclose(got, net(x), rtol=0, atol=1e-14)


def test_it_is_offered_and_comes_when_asked_for():
    assert "predict" in numpy_infer.__all__
    assert numpy_infer.predict is predict
