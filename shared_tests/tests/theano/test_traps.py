"""What docs/porting.md says of Theano: a test for each row, which has the row's name.

Each shows what the naive port gets, and that the right one agrees. Some rows hold with a compiler
alone, or without one: their tests say what holds where.
"""

from __future__ import annotations

import theano_impl  # noqa: F401  (prepares what the first import of theano needs)

# isort: split
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.signal
import scipy.sparse
import theano
import theano.sparse
import theano.tensor as T
from theano.compile.builders import OpFromGraph
from theano.gradient import DisconnectedType, disconnected_grad
from theano.tensor.nnet.bn import batch_normalization_train
from theano.tensor.signal.pool import pool_2d
from theano.tensor.sort import topk

from shared_tests.fixtures import normal
from shared_tests.support import trap_definitions as definitions
from shared_tests.support.trap_definitions import (
    PAIR_LABELS,
    PAIR_LOSS,
    PAIR_RATE,
    PAIR_STEPS,
    PAIRS,
    ROW_WEIGHTS,
    TABLE_GRADIENTS,
    largest_error,
    pair_curvature,
)
from theano_impl.distances import paired_distances
from theano_impl.frequency_scaling import scale_gradients_by_frequency, scale_updates_by_frequency
from theano_impl.layers.activations import ReLU
from theano_impl.layers.convolution import convolution
from theano_impl.layers.pooling import GlobalMaxPool, max_pool
from theano_impl.layers.recurrent import gru
from theano_impl.smorms3 import SMORMS3
from theano_impl.soft_nearest_neighbor_loss import (
    SoftNearestNeighborLoss,
    soft_nearest_neighbor_loss,
)
from theano_impl.sparse_projection import SparseProjection
from theano_impl.top_k_gating import keep_top_k
from theano_impl.triplet_loss import triplet_loss

pytestmark = pytest.mark.filterwarnings("ignore:.*encountered in:RuntimeWarning")

NAN = float("nan")
COMPILED = bool(theano.config.cxx)
# Compiling takes seconds for each graph: C is run where its own code decides, as mode FAST_RUN.
PYTHON = theano.Mode("py", "fast_run")


def run(f: Callable, *values: object, mode: object = PYTHON) -> Any:
    """f of symbolic variables for these values, compiled and called."""
    arrays = [np.asarray(value) for value in values]
    symbols = [T.TensorType(str(one.dtype), (False,) * one.ndim)() for one in arrays]
    return theano.function(symbols, f(*symbols), mode=mode)(*arrays)


def gradient(f: Callable, *values: object, mode: object = PYTHON) -> list:
    """The gradient of the sum of f for each value, as lists."""
    found = run(lambda *inputs: T.grad(T.sum(f(*inputs)), list(inputs)), *values, mode=mode)
    return [one.tolist() for one in found]


def test_maximum_tie():
    assert gradient(T.maximum, 2.0, 2.0) == [1, 0]
    assert gradient(T.minimum, 2.0, 2.0) == [1, 0]


def test_hinge_at_zero():
    assert gradient(T.nnet.relu, [0.0], mode="FAST_RUN") == [[0.5]]
    assert gradient(lambda x: T.maximum(x, 0), [0.0]) == [[1]]
    assert gradient(lambda x: T.maximum(0, x), [0.0]) == [[0]]
    assert gradient(lambda x: ReLU(x).output, [0.0]) == [[0]]

    def loss(x):
        other = T.constant([[0.0, 1]])
        return triplet_loss(x, other, other, margin=0.0)

    # Both distances are 1 and the margin is 0.
    assert gradient(loss, [[1.0, 0]]) == [[[0, 0]]]


def test_reduced_maximum_tie():
    tied = [1.0, 3, 3]
    assert gradient(T.max, tied) == [[0, 1, 1]]
    assert gradient(lambda x: T.max_and_argmax(x, axis=0)[0], tied) == [[0, 1, 1]]
    assert gradient(lambda x: GlobalMaxPool(x).output, [[tied]]) == [[[[0, 1, 0]]]]

    def pooled(x):
        return pool_2d(x, (1, 3), ignore_border=True)

    if COMPILED:
        assert gradient(pooled, [[[tied]]], mode="FAST_RUN") == [[[[[0, 1, 1]]]]]
    else:
        with pytest.raises(IndexError, match="valid indices"):
            gradient(pooled, [[[tied]]])


def test_norm_at_zero():
    zero = [[0.0, 0]]
    for norm in (lambda x: x.norm(2), lambda x: T.sqrt(T.sum(x**2))):
        assert np.isnan(gradient(norm, zero)).all()

    def distance(x):
        return paired_distances(x, T.constant(zero), distance="euclidean")

    assert gradient(distance, zero) == [[[0, 0]]]


def test_where_gradient():
    def naive(x):
        return T.switch(x > 0, T.log(x), 0)

    def right(x):
        return T.switch(x > 0, T.log(T.switch(x > 0, x, 1)), 0)

    x = [0.0, 4]
    assert gradient(naive, x) == [[0, 0.25]]  # a rewrite moves the switch
    assert np.isnan(gradient(naive, x, mode="FAST_COMPILE")[0][0])
    assert gradient(right, x, mode="FAST_COMPILE") == [[0, 0.25]]


def test_hinge_of_nan():
    assert run(lambda x: T.switch(x > 0, x, 0), [NAN]) == 0
    for hinge in (T.nnet.relu, lambda x: T.maximum(x, 0)):
        assert np.isnan(run(hinge, [NAN]))
    assert np.isnan(run(lambda x: ReLU(x).output, [NAN]))


def test_scan_twice():
    def naive(x):
        states, _ = theano.scan(lambda x, h: T.tanh(h + x), x, T.zeros((), x.dtype))
        return states

    def right(x):
        def step(x, h):
            state = T.tanh(h + x)
            return state, state

        (_, states), _ = theano.scan(step, x, [T.zeros((), x.dtype), None])
        return states

    x, start, v = T.dvector(), normal(4, seed=1), normal(4, seed=2)

    def second(recurrence, chosen):
        first = T.grad(T.sum(recurrence(x)[chosen] ** 2), x)
        return theano.function([x], [first, T.grad(T.sum(first * v), x)])

    def error(recurrence, chosen):
        derivatives = second(recurrence, chosen)
        above, below = (derivatives(start + step * v)[0] for step in (1e-5, -1e-5))
        return np.abs(derivatives(start)[1] - (above - below) / 2e-5).max()

    last, every = slice(-1, None), slice(None)
    assert error(naive, last) < 1e-8
    assert error(naive, every) > 0.1
    assert error(right, last) < 1e-8
    assert error(right, every) < 1e-8


def test_once_differentiable():
    def second(function, power, x=2.0):
        def derivative(x):
            first = T.grad(function(x) ** power, x)
            return T.grad(first, x, disconnected_inputs="ignore")

        return run(derivative, x).item()

    def cube(slope):
        x = T.dscalar()
        return OpFromGraph([x], [x**3], grad_overrides=lambda given, of: [slope(given[0]) * of[0]])

    right, naive = cube(lambda x: 3 * x**2), cube(lambda x: disconnected_grad(3 * x**2))
    # Of x³ at 2 it is 12, of x³ squared 480.
    assert [second(right, power) for power in (1, 2)] == [12, 480]
    assert [second(naive, power) for power in (1, 2)] == [0, 288]

    def gradients(given, of):
        return [3 * given[0] ** 2 * of[0], DisconnectedType()()]

    x, integer = T.dscalar(), T.lscalar()
    beside = OpFromGraph([x, integer], [x**3], grad_overrides=gradients)
    with pytest.raises(TypeError, match="given a known_grad of type TensorType"):
        second(lambda x: beside(x, T.constant(np.int64(1))), 1)
    labels = T.constant(PAIR_LABELS)  # integers
    ours = second(lambda s: soft_nearest_neighbor_loss(s * PAIRS, labels), 1, x=1.0)
    assert ours == pytest.approx(pair_curvature(), abs=1e-12)


def test_log_sum_exp():
    def plain(x, kept):
        return T.log(T.sum(T.exp(x))) + 0 * T.sum(kept)

    def masked(x, kept):
        return T.log(T.sum(kept * T.exp(x)))

    def shifted(x, kept):
        largest = T.max(x)
        return largest + T.log(T.sum(kept * T.exp(x - largest)))

    both = [1000.0, 1000], [1.0, 1]
    wanted = pytest.approx(1000 + np.log(2), rel=1e-15)
    assert run(plain, *both) == wanted
    assert np.isinf(run(plain, *both, mode="FAST_COMPILE"))
    assert np.isinf(run(masked, *both))
    assert run(shifted, *both) == wanted
    # The gradient is made before the rewrite.
    assert np.isnan(gradient(lambda x: T.log(T.sum(T.exp(x))), both[0])).all()


def test_masked_softmax():
    assert np.isnan(run(T.nnet.softmax, np.full((1, 3), -np.inf))).all()
    filled = run(T.nnet.softmax, np.full((1, 3), -1e9))
    assert filled.tolist() == [[pytest.approx(1 / 3)] * 3]


def test_sigmoid_tails():
    x = np.array([-88.7, -88.8], np.float32)
    found = run(T.nnet.sigmoid, x, mode="FAST_RUN")
    assert found.tolist() == [pytest.approx(3.0066e-39, rel=1e-4), 0]

    def logarithm(x):
        return T.log(T.nnet.sigmoid(x))

    assert run(logarithm, x)[1] == x[1]  # a rewrite makes it −softplus(−x)
    assert np.isinf(run(logarithm, x, mode="FAST_COMPILE")[1])


def test_softplus_tail():
    x = np.array([-40, 15.5, 16.5, 20.1, 40])
    found = run(T.nnet.softplus, x, mode="FAST_RUN")
    assert largest_error(found, np.logaddexp(0, x)) < 1e-14


def test_top_k_ties():
    with pytest.raises(NotImplementedError, match="sorted"):
        topk(T.vector(), 2, sorted=True)
    with pytest.raises(IndexError, match="valid indices"):
        run(lambda x: topk(x, 2, sorted=False), [1.0, 3, 3])
    x = np.random.default_rng(1).integers(0, 3, 100).astype(float)
    stable = np.argsort(x, kind="stable").tolist()
    assert run(T.argsort, x).tolist() != stable
    assert run(lambda x: T.argsort(x, kind="stable"), x).tolist() == stable
    kept = run(lambda x: keep_top_k(x, 3), np.zeros((1, 64)))
    assert np.flatnonzero(np.isfinite(kept)).tolist() == [0, 1, 2]


def test_id_out_of_range():
    table = np.arange(10.0).reshape(5, 2)
    with pytest.raises(IndexError, match="out of bounds"):
        run(lambda table, ids: table[ids], table, [7])
    assert run(lambda table, ids: table[ids], table, [-1]).tolist() == [[8, 9]]


def test_sparse_duplicates():
    matrix = scipy.sparse.csr_matrix(([2.0, 3.0], [1, 1], [0, 2, 2]), (2, 2))
    symbol = theano.sparse.csr_matrix(dtype="float64")
    dense = theano.sparse.dense_from_sparse
    outputs = [dense(symbol), dense(theano.sparse.sqr(symbol))]
    itself, square = theano.function([symbol], outputs, mode=PYTHON)(matrix)
    assert itself.tolist() == [[0, 5], [0, 0]]
    assert square.tolist() == [[0, 13], [0, 0]]
    model = SparseProjection(symbol, 2, 1, seed=1)
    weight = model.params[0].get_value()
    found = theano.function([symbol], model.output, mode=PYTHON)(matrix)
    assert largest_error(found[0], 5 * weight[1]) < 1e-12
    twice = run(lambda x: T.inc_subtensor(x[[1, 1]], T.constant([2.0, 3])), np.zeros(3))
    assert twice.tolist() == [0, 5, 0]


def test_gru():
    x = definitions.SEQUENCES
    weights = {**definitions.GRU_WEIGHTS, "hidden_bias": np.zeros(6)}
    negated = {name: one * [1, 1, -1, -1, 1, 1] for name, one in weights.items()}
    # The loop inside takes Theano's default mode. To change that here would change it for good:
    # Theano keeps the first that it makes, and what follows would not be compiled.
    found, other = (run(gru, x, *one.values()) for one in (weights, negated))
    assert largest_error(found, definitions.gru(x, weights)) < 1e-12
    lasagne = definitions.gru_lasagne(x, weights)
    assert largest_error(found, lasagne) == pytest.approx(1.305, abs=1e-3)
    assert largest_error(other, lasagne) < 1e-12


def test_batch_norm():
    x = normal(3, 2, seed=1)

    def normalized(x):
        ones, zeros = T.ones((1, 2)), T.zeros((1, 2))
        return batch_normalization_train(x, ones, zeros, running_mean=zeros, running_var=ones)

    y, _, _, mean, variance = run(normalized, x)
    assert largest_error(y, (x - x.mean(0)) / np.sqrt(x.var(0) + 1e-4)) < 1e-12
    torch = (x - x.mean(0)) / np.sqrt(x.var(0) + 1e-5)
    assert largest_error(y, torch) == pytest.approx(8.88e-4, rel=1e-2)
    assert largest_error(mean[0], 0.1 * x.mean(0)) < 1e-12
    assert largest_error(variance[0], 0.9 + 0.1 * x.var(0, ddof=1)) < 1e-12


def test_variance():
    assert run(T.var, [1.0, 2, 6]) == pytest.approx(14 / 3, rel=1e-15)


def convolved(x: list, kernel: list, **options: object) -> list:
    """Theano's own convolution of one row."""
    row, weights = np.reshape(x, (1, 1, 1, -1)), np.reshape(kernel, (1, 1, 1, -1))

    def convolve(x, kernel):
        return T.nnet.conv2d(x, kernel, **options)

    return run(convolve, row, weights, mode="FAST_RUN").ravel().tolist()


def test_convolution_kernel():
    x, kernel = [1.0, 2, 3, 4], [1.0, 10, 100]
    assert scipy.signal.convolve(x, kernel, "valid").tolist() == pytest.approx([123, 234])
    if COMPILED:
        assert convolved(x, kernel) == [123, 234]
        assert convolved(x, kernel, filter_flip=False) == [321, 432]
    else:
        with pytest.raises(Exception, match=r"scipy\.signal"):
            convolved(x, kernel)


def test_same_padding_stride():
    x, kernel = np.arange(1.0, 7).reshape(1, 1, 6), np.array([[[1.0, 10, 100]]])
    if COMPILED:
        options = {"border_mode": "half", "subsample": (1, 2), "filter_flip": False}
        assert convolved(x, kernel, **options) == [210, 432, 654]

    def right(x, kernel):
        window = {"kernel_size": [3], "stride": [2], "padding": [[0, 1]], "dilation": [1]}
        return convolution(x, kernel, None, **window)

    assert run(right, x, kernel).ravel().tolist() == [321, 543, 65]


def test_flatten_order():
    x = normal(1, 2, 3, 5, seed=1)
    assert np.array_equal(run(lambda x: x.flatten(2), x), x.reshape(1, 30))


def test_pooling_edge():
    x, ones = np.arange(7.0).reshape(1, 1, 1, 7), np.ones((1, 1, 1, 4))

    def average(x, mode):
        return pool_2d(x, (1, 2), ignore_border=True, pad=(0, 1), mode=mode)

    if COMPILED:
        with pytest.warns(DeprecationWarning, match="ignore_border"):
            kept = run(lambda x: pool_2d(x, (1, 2)), x, mode="FAST_RUN")
        assert kept.ravel().tolist() == [1, 3, 5, 6]
        dropped = run(lambda x: pool_2d(x, (1, 2), ignore_border=True), x, mode="FAST_RUN")
        assert dropped.ravel().tolist() == [1, 3, 5]
        counted = run(lambda x: average(x, "average_inc_pad"), ones, mode="FAST_RUN")
        assert counted.ravel().tolist() == [0.5, 1, 0.5]
        left_out = run(lambda x: average(x, "average_exc_pad"), ones, mode="FAST_RUN")
        assert left_out.ravel().tolist() == [1, 1, 1]

    def right(x):
        return max_pool(x, [1, 2], [1, 2], [[0, 0], [0, 0]]).values

    ours = run(right, x)
    assert ours.ravel().tolist() == [1, 3, 5]


def test_empty_batch():
    x = T.dtensor3()
    refusal = "cannot reshape array of size 0" if COMPILED else "Cannot reshape input of shape"
    for flat in (x.flatten(2), x.reshape((x.shape[0], -1))):
        with pytest.raises(ValueError, match=refusal):
            theano.function([x], flat)(np.zeros((0, 9, 3)))
    assert np.isnan(theano.function([x], T.mean(x))(np.zeros((0, 9, 3))))


def test_default_dtypes():
    assert theano.config.floatX == T.vector().dtype == "float64"
    assert T.constant(1).dtype == "int8"
    assert T.constant(1.5).dtype == "float32"
    # The size is int64, and int64 beside float32 is float64.
    x = T.fvector()
    assert (T.sum(x) / x.shape[0]).dtype == "float64"
    assert T.mean(x).dtype == "float32"

    counts = run(lambda x: T.cumsum(x > 0), [1.0, 1, 1], mode="FAST_RUN")
    assert counts.tolist() == ([True] * 3 if COMPILED else [1, 2, 3])
    cast = run(lambda x: T.cumsum(T.cast(x > 0, "int64")), [1.0, 1, 1])
    assert cast.tolist() == [1, 2, 3]


def test_python_float():
    x = T.fvector()
    assert (x * 0.5).dtype == "float32"
    assert (x * 0.1).dtype == "float64"
    assert (x * np.float32(0.1)).dtype == "float32"
    with theano.config.change_flags(floatX="float32"):
        assert (x * 0.1).dtype == "float32"


def moves(rule: str, scaled: str) -> np.ndarray:
    """How far the rows of a table have moved after ten steps; what is scaled by rarity."""
    table, given = theano.shared(np.zeros((3, 2))), T.dmatrix()
    (gradient,) = (
        scale_gradients_by_frequency([given], ROW_WEIGHTS) if scaled == "gradients" else [given]
    )
    updates = {table: table - 0.01 * gradient}
    if rule == "SMORMS3":
        updates = SMORMS3([table]).updates([gradient])
    if scaled == "updates":
        updates = scale_updates_by_frequency(updates, [table], ROW_WEIGHTS)
    step = theano.function([given], updates=updates)
    for one in TABLE_GRADIENTS:
        step(one)
    return table.get_value()


def test_scale_invariant_optimizers():
    plain, naive, right = (moves("SMORMS3", scaled) for scaled in ("", "gradients", "updates"))
    assert largest_error(naive[1:], plain[1:]) < 1e-4 * np.abs(plain).max()
    assert largest_error(right, ROW_WEIGHTS[:, None] * plain) < 1e-15
    plain, naive, right = (moves("descent", scaled) for scaled in ("", "gradients", "updates"))
    assert largest_error(naive, ROW_WEIGHTS[:, None] * plain) < 1e-15
    assert largest_error(right, naive) < 1e-15


def test_learned_temperature():
    others = 1 - np.eye(4)
    partners = others * (PAIR_LABELS[:, None] == PAIR_LABELS)
    distances = ((PAIRS[:, None] - PAIRS) ** 2).sum(axis=2)

    def by_hand(inverse):
        near = T.exp(-distances * inverse)
        return -T.mean(T.log(T.sum(near * partners, axis=1) / T.sum(near * others, axis=1)))

    def maximized(loss, parameter):
        moved = parameter + PAIR_RATE * T.grad(loss, parameter)
        step = theano.function([], loss, updates=[(parameter, moved)], mode=PYTHON)
        for _ in range(PAIR_STEPS):
            step()
        return step().item()

    inverse, logarithm = theano.shared(np.array(1.0)), theano.shared(np.array(0.0))
    assert maximized(by_hand(inverse), inverse) == pytest.approx(PAIR_LOSS, rel=1e-3)
    assert inverse.get_value() < -5
    right = maximized(by_hand(T.exp(logarithm)), logarithm)
    assert right == pytest.approx(0.487, rel=1e-2)  # below log 3
    layer = SoftNearestNeighborLoss(
        T.constant(PAIRS), T.constant(PAIR_LABELS), learn_temperature=True
    )
    ours = maximized(layer.output, layer.log_inverse_temperature)
    assert ours == pytest.approx(right, abs=1e-12)
