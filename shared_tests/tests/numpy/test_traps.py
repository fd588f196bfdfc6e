"""What docs/porting.md says of NumPy: a test for each row, which has the row's name.

Each shows what the naive port gets, and that the right one agrees. They hold for the oldest NumPy
and the newest, except where a test says so.
"""

from __future__ import annotations

import re

import numpy as np
import pytest

from numpy_infer import Input
from numpy_infer.distances import l2_normalize, pairwise_distances
from numpy_infer.layers.activations import Sigmoid, Softmax, Softplus
from numpy_infer.padded_embedding import PaddedEmbedding
from numpy_infer.text import tokenize_title
from numpy_infer.top_k_gating import keep_top_k
from shared_tests.fixtures import normal
from shared_tests.support.trap_definitions import FAR_ROWS, GRADIENTS, START, largest_error, smorms3

# Scalars and Python numbers weigh less in promotion since NumPy 2.
NEW_PROMOTION = int(np.__version__.split(".")[0]) >= 2


def test_hinge_of_nan():
    nan = np.array([np.nan])
    assert np.where(nan > 0, nan, 0) == 0
    assert np.isnan(np.maximum(nan, 0))


def test_pairwise_distance():
    x = (FAR_ROWS + 900).astype(np.float32)
    true = np.linalg.norm(x[:, None].astype(float) - x, axis=-1)
    square = (x * x).sum(1)
    naive = square[:, None] + square - 2 * x @ x.T  # how wrong it is depends on the BLAS
    assert largest_error(np.sqrt(np.maximum(naive, 0)), true) > 0.05
    assert largest_error(pairwise_distances(x, x, distance="euclidean"), true) < 1e-5


def test_unit_norm_floor():
    zero = np.zeros(2)
    with np.errstate(invalid="ignore"):
        assert np.isnan(zero / np.linalg.norm(zero)).all()
    assert not l2_normalize(zero).any()
    assert largest_error(l2_normalize(np.array([3e-13, 4e-13])), [0.3, 0.4]) < 1e-15


def test_log_sum_exp():
    x = np.array([1000.0, 1000])
    with np.errstate(over="ignore"):
        assert np.isinf(np.log(np.exp(x).sum()))
    assert np.logaddexp.reduce(x) == pytest.approx(1000 + np.log(2), rel=1e-15)


def test_masked_softmax():
    layer = Softmax(Input())
    with np.errstate(invalid="ignore"):
        assert np.isnan(layer(np.full((1, 3), -np.inf))).all()
    assert layer(np.full((1, 3), -1e9)).tolist() == [[pytest.approx(1 / 3)] * 3]


def test_sigmoid_tails():
    x = np.array([-88.7, -88.8], np.float32)
    with pytest.warns(RuntimeWarning, match="overflow"):
        naive = 1 / (1 + np.exp(-x))
    assert naive.tolist() == [pytest.approx(3.0066e-39, rel=1e-4), 0]
    right = Sigmoid(Input())(x[None])[0]
    assert right.tolist() == pytest.approx([3.0066e-39, 2.7205e-39], rel=1e-4)


def test_softplus_tail():
    with pytest.warns(RuntimeWarning, match="overflow"):
        assert np.isinf(np.log(1 + np.exp(np.float64(800))))
    assert np.log(1 + np.exp(-40.0)) == 0
    x = np.array([[-40.0, 20.1, 800]])
    found = Softplus(Input())(x)
    assert found[0, 0] == pytest.approx(np.exp(-40), rel=1e-15)
    assert largest_error(found, np.logaddexp(0, x)) < 1e-12


def test_top_k_ties():
    x = np.random.default_rng(1).integers(0, 3, 100).astype(float)
    stable = np.argsort(-x, kind="stable")
    assert not np.array_equal(np.argsort(-x), stable)
    assert np.argsort(x, kind="stable")[::-1][0] != stable[0]  # reversing turns the ties round
    kept = np.flatnonzero(np.isfinite(keep_top_k(x, 3)))
    assert kept.tolist() == np.sort(stable[:3]).tolist()


def test_padding_embedding():
    table = normal(5, 2, seed=1)
    assert np.array_equal(table[[3, -1]], table[[3, 4]])  # -1 for padding is the last row
    table[0] = 0
    assert not PaddedEmbedding(Input(), table)(np.array([[0, 0]])).any()


def test_id_out_of_range():
    table = normal(5, 2, seed=1)
    with pytest.raises(IndexError, match="out of bounds"):
        table[[7]]
    assert np.array_equal(table[[-1]], table[[4]])
    table[0] = 0
    for id in (7, -1):
        with pytest.raises(ValueError, match="ids: expected"):
            PaddedEmbedding(Input(), table)(np.array([[id]]))


def test_sparse_duplicates():
    ids, gradients = [1, 1], np.array([2.0, 3.0])
    naive, right = np.zeros(3), np.zeros(3)
    naive[ids] += gradients
    np.add.at(right, ids, gradients)
    assert naive.tolist() == [0, 3, 0]
    assert right.tolist() == [0, 5, 0]
    with np.errstate(invalid="ignore"), pytest.warns(RuntimeWarning, match="empty slice"):
        assert np.isnan(np.mean([]))


def test_combining_marks():
    title = "हिन्दी में"
    assert re.findall(r"\w+", title) == ["ह", "न", "द", "म"]
    assert [word.isalnum() for word in title.split()] == [False, False]
    assert np.char.isalnum(title.split()).tolist() == [False, False]
    assert str.split("Hello—World") == ["Hello—World"]
    assert tokenize_title(title) == title.split()
    assert tokenize_title("Hello—World") == ["hello", "world"]


def test_padding_mean():
    table, ids = np.array([[0.0], [1], [3]]), np.array([[1, 2, 0, 0]])
    assert table[ids].mean(axis=1).tolist() == [[1]]
    assert PaddedEmbedding(Input(), table, reduce="mean")(ids).tolist() == [[2]]


def test_variance():
    x = np.array([1.0, 2, 6])
    assert np.var(x) == pytest.approx(14 / 3, rel=1e-15)
    assert np.var(x, ddof=1) == pytest.approx(7, rel=1e-15)


def test_convolution_kernel():
    x, kernel = [1, 2, 3, 4], [1, 10, 100]
    assert np.convolve(x, kernel, "valid").tolist() == [123, 234]
    assert np.correlate(x, kernel, "valid").tolist() == [321, 432]


def test_empty_batch():
    x = np.zeros((0, 9, 3))
    with pytest.raises(ValueError, match="cannot reshape array of size 0"):
        x.reshape(len(x), -1)
    with pytest.warns(RuntimeWarning, match="Mean of empty slice"):
        assert np.isnan(np.mean(x))


def test_smorms3():
    steps = smorms3(START, GRADIENTS)
    # The first step has r = 1/2, signal 1/2 and root |g| / √2.
    first = START - 0.0025 * 2**0.5 * np.sign(GRADIENTS[0])
    assert largest_error(steps[0], first) < 1e-12
    changed = {
        "rate": smorms3(START, GRADIENTS, rate=0.001),
        "memory moves first": smorms3(START, GRADIENTS, first_memory=2.0),
        "memory from zero": smorms3(START, GRADIENTS, first_memory=0.0),
    }
    found = {name: largest_error(one, steps) for name, one in changed.items()}
    wanted = {"rate": 4.30e-3, "memory moves first": 1.34e-3, "memory from zero": 1.50e-3}
    assert found == pytest.approx(wanted, rel=1e-2)

    # Gradients whose square is near epsilon, and those that are zero.
    tiny = (np.array([1e-10]),)
    naive, right = (smorms3(np.zeros(1), tiny, epsilon=e)[0, 0] for e in (1e-24, 1e-16))
    assert naive / right == pytest.approx(100, rel=1e-2)
    nothing = (np.zeros(1),)
    with np.errstate(invalid="ignore"):
        assert np.isnan(smorms3(np.zeros(1), nothing, root_epsilon=False)).all()
    assert smorms3(np.zeros(1), nothing) == 0


def test_default_dtypes():
    assert np.array(1.5).dtype == np.float64
    assert np.array(1).dtype == np.int64
    x = np.ones(1, np.float32)
    assert (x * 2.5).dtype == (x / 3).dtype == np.float32
    assert (x * np.ones(1)).dtype == (x * np.arange(1)).dtype == np.float64
    # What the version decides: a float64 scalar beside an array, a Python float beside a scalar.
    array, scalar = (x * np.float64(2.5)).dtype, (np.float32(1) * 2.5).dtype
    wanted = (np.float64, np.float32) if NEW_PROMOTION else (np.float32, np.float64)
    assert (array, scalar) == wanted


def test_python_float():
    assert np.float32(0.1).astype(np.float64) - 0.1 == pytest.approx(1.49e-9, rel=1e-2)
    assert (np.ones(1) * 0.1)[0] == 0.1
