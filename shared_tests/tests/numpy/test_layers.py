"""Recurrence, look-up, shapes and activations of numpy_infer against direct formulas."""

from __future__ import annotations

import math

import numpy as np
import pytest

from fourfold.agreement import VALUE_TOLERANCE, assert_close, assert_dtype
from numpy_infer import (
    ELU,
    GELU,
    GRU,
    LSTM,
    SELU,
    Affine,
    ChannelsFirst,
    ChannelsLast,
    Clip,
    Embedding,
    Flatten,
    GroupNorm,
    HardSigmoid,
    HardSwish,
    Input,
    LeakyReLU,
    LogSigmoid,
    LogSoftmax,
    Mish,
    PReLU,
    ReLU,
    ReLU6,
    RMSNorm,
    Sigmoid,
    SiLU,
    Softmax,
    Softplus,
    Softsign,
    Tanh,
)
from numpy_infer.layers.recurrent import gru, lstm
from numpy_infer.support.normal_cdf import normal_cdf
from shared_tests.fixtures import normal

DTYPES = ("float64", "float32")


def agree(got: np.ndarray, wanted: np.ndarray, dtype: str, what: str) -> None:
    assert_dtype(got, dtype, what)
    assert_close(got, wanted, VALUE_TOLERANCE["layer", dtype], what)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def recurred(x, w, u, b, c, *, mask=None, backward=False):
    """All states, gate by gate."""
    h = len(u)
    states = np.zeros((*x.shape[:2], h))
    for i in range(len(x)):
        state = np.zeros(h)
        times = range(x.shape[1])
        for t in reversed(times) if backward else times:
            g, k = x[i, t] @ w + b, state @ u + c
            reset, update = sigmoid(g[:h] + k[:h]), sigmoid(g[h : 2 * h] + k[h : 2 * h])
            new = np.tanh(g[2 * h :] + reset * k[2 * h :])
            if mask is None or mask[i, t]:
                state = (1 - update) * new + update * state
            states[i, t] = state
    return states


def gru_arrays(seed, h=3):
    shapes = ((5, 3 * h), (h, 3 * h), (3 * h,), (3 * h,))
    return [normal(*shape, seed=seed + i) for i, shape in enumerate(shapes)]


@pytest.mark.parametrize("return_sequences", [True, False])
@pytest.mark.parametrize("direction", ["forward", "backward", "both"])
@pytest.mark.parametrize("time", [1, 7])
@pytest.mark.parametrize("biased", [True, False])
@pytest.mark.parametrize("dtype", DTYPES)
def test_gru(dtype, biased, time, direction, return_sequences):
    x, there, back = normal(2, time, 5, seed=9), gru_arrays(1), gru_arrays(5)
    count = 4 if biased else 2
    names = ("input_weight", "hidden_weight", "input_bias", "hidden_bias")[:count]
    arrays = dict(zip(names, there, strict=False))
    if direction == "both":
        arrays |= {f"backward_{name}": array for name, array in zip(names, back, strict=False)}
    if not biased:
        there[2:], back[2:] = (0, 0), (0, 0)
    ways = {
        "forward": [recurred(x, *there)],
        "backward": [recurred(x, *there, backward=True)],
        "both": [recurred(x, *there), recurred(x, *back, backward=True)],
    }[direction]
    if not return_sequences:
        last = {"forward": [-1], "backward": [0], "both": [-1, 0]}[direction]
        ways = [states[:, t] for states, t in zip(ways, last, strict=True)]
    cast = {name: array.astype(dtype) for name, array in arrays.items()}
    layer = GRU(Input(), **cast, direction=direction, return_sequences=return_sequences)
    agree(layer(x.astype(dtype)), np.concatenate(ways, -1), dtype, direction)


def remembered(x, w, u, b, *, backward=False):
    """All states of an LSTM, gate by gate."""
    h = len(u)
    states = np.zeros((*x.shape[:2], h))
    for i in range(len(x)):
        state, memory = np.zeros(h), np.zeros(h)
        times = range(x.shape[1])
        for t in reversed(times) if backward else times:
            gates = x[i, t] @ w + state @ u + b
            let_in, forget, out = (sigmoid(gates[n * h : (n + 1) * h]) for n in (0, 1, 3))
            memory = forget * memory + let_in * np.tanh(gates[2 * h : 3 * h])
            state = out * np.tanh(memory)
            states[i, t] = state
    return states


def lstm_arrays(seed, h=3):
    shapes = ((5, 4 * h), (h, 4 * h), (4 * h,))
    return [normal(*shape, seed=seed + i) for i, shape in enumerate(shapes)]


@pytest.mark.parametrize("return_sequences", [True, False])
@pytest.mark.parametrize("direction", ["forward", "backward", "both"])
@pytest.mark.parametrize("biased", [True, False])
@pytest.mark.parametrize("dtype", DTYPES)
def test_lstm(dtype, biased, direction, return_sequences):
    x, there, back = normal(2, 7, 5, seed=9), lstm_arrays(1), lstm_arrays(5)
    names = ("input_weight", "hidden_weight", "bias")[: 3 if biased else 2]
    arrays = dict(zip(names, there, strict=False))
    if direction == "both":
        arrays |= {f"backward_{name}": array for name, array in zip(names, back, strict=False)}
    if not biased:
        there[2], back[2] = 0, 0
    ways = {
        "forward": [remembered(x, *there)],
        "backward": [remembered(x, *there, backward=True)],
        "both": [remembered(x, *there), remembered(x, *back, backward=True)],
    }[direction]
    if not return_sequences:
        last = {"forward": [-1], "backward": [0], "both": [-1, 0]}[direction]
        ways = [states[:, t] for states, t in zip(ways, last, strict=True)]
    cast = {name: array.astype(dtype) for name, array in arrays.items()}
    layer = LSTM(Input(), **cast, direction=direction, return_sequences=return_sequences)
    agree(layer(x.astype(dtype)), np.concatenate(ways, -1), dtype, direction)


@pytest.mark.parametrize("backward", [False, True])
@pytest.mark.parametrize("dtype", DTYPES)
def test_gru_stands_still_where_the_mask_is_zero(dtype, backward):
    x, arrays = normal(3, 7, 5, seed=9), gru_arrays(1)
    mask = np.array([[1, 1, 0, 1, 0, 0, 1], [0, 0, 1, 1, 1, 0, 0], [0] * 7])
    x[mask == 0] = np.nan
    wanted = recurred(np.nan_to_num(x), *arrays, mask=mask, backward=backward)
    cast = [array.astype(dtype) for array in arrays]
    for one in (mask, mask.astype(bool), mask.astype(dtype)):
        agree(gru(x.astype(dtype), *cast, backward=backward, mask=one), wanted, dtype, "mask")


@pytest.mark.parametrize(("states", "arrays"), [(gru, gru_arrays(1)), (lstm, lstm_arrays(1))])
def test_gates_that_are_shut_do_not_overflow(states, arrays):
    far = [(1000 * array).astype("float32") for array in arrays]
    with np.errstate(all="raise", under="ignore"):
        got = states(normal(2, 7, 5, seed=9).astype("float32"), *far)
    assert np.isfinite(got).all()


@pytest.mark.parametrize("shape", [(5,), (2, 3), (2, 3, 5), (0, 3)])
@pytest.mark.parametrize("kind", ["int64", "uint8", "uint64", "int32"])
def test_embedding(kind, shape):
    table = normal(11, 3, seed=1)
    ids = np.random.default_rng(1).integers(0, 11, shape)
    got = Embedding(Input(), table)(ids.astype(kind))
    wanted = np.array([table[i] for i in ids.flat]).reshape(*shape, 3)
    np.testing.assert_array_equal(got, wanted)


def test_shapes():
    x = normal(2, 3, 5, 7, seed=1)
    first, last = ChannelsFirst(Input())(x), ChannelsLast(Input())(x)
    for b, i, j, k in np.ndindex(*x.shape):
        assert first[b, k, i, j] == last[b, j, k, i] == x[b, i, j, k]
    np.testing.assert_array_equal(Flatten(Input())(x), [row.ravel() for row in x])
    np.testing.assert_array_equal(ChannelsFirst(ChannelsLast(Input()))(x), x)
    flat_x = x[:, :, 0, 0]
    for layer in (ChannelsFirst, ChannelsLast, Flatten):
        np.testing.assert_array_equal(layer(Input())(flat_x), flat_x)


def each(function):
    return np.vectorize(function, otypes=[float])


def gauss(x):
    return x * (1 + math.erf(x / math.sqrt(2))) / 2


def gauss_by_tanh(x):
    return x * (1 + math.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))) / 2


ACTIVATIONS = {
    "relu": (ReLU, {}, lambda x: x if x > 0 else 0.0),
    "relu6": (ReLU6, {}, lambda x: min(max(x, 0.0), 6.0)),
    "leaky relu": (LeakyReLU, {"slope": 0.3}, lambda x: x if x > 0 else 0.3 * x),
    "leaky relu, steep": (LeakyReLU, {"slope": 3}, lambda x: x if x > 0 else 3 * x),
    "elu": (ELU, {"alpha": 0.7}, lambda x: x if x > 0 else 0.7 * math.expm1(x)),
    "selu": (
        SELU,
        {},
        lambda x: 1.0507009873554805 * (x if x > 0 else 1.6732632423543772 * math.expm1(x)),
    ),
    "gelu": (GELU, {"approximate": False}, gauss),
    "gelu by tanh": (GELU, {"approximate": True}, gauss_by_tanh),
    "silu": (SiLU, {}, lambda x: x / (1 + math.exp(-x))),
    "sigmoid": (Sigmoid, {}, lambda x: 1 / (1 + math.exp(-x))),
    "softplus": (Softplus, {}, lambda x: math.log1p(math.exp(-abs(x))) + max(x, 0)),
    "tanh": (Tanh, {}, math.tanh),
    "hard sigmoid": (HardSigmoid, {}, lambda x: min(max(x + 3, 0.0), 6.0) / 6),
    "hard swish": (HardSwish, {}, lambda x: x * min(max(x + 3, 0.0), 6.0) / 6),
    "mish": (Mish, {}, lambda x: x * math.tanh(math.log1p(math.exp(-abs(x))) + max(x, 0))),
    "log sigmoid": (LogSigmoid, {}, lambda x: min(x, 0) - math.log1p(math.exp(-abs(x)))),
    "softsign": (Softsign, {}, lambda x: x / (1 + abs(x))),
    "clip": (Clip, {"minimum": -0.3, "maximum": 0.7}, lambda x: min(max(x, -0.3), 0.7)),
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activation_is_its_formula(name, dtype):
    layer, options, formula = ACTIVATIONS[name]
    x = np.concatenate([30 * normal(2, 3, 5003, seed=1), normal(2, 3, 5003, seed=2)], 2)
    x[0, 0, :3] = 0, -0.0, 1e-30
    x = x.astype(dtype)
    original = x.copy()
    agree(layer(Input(), **options)(x), each(formula)(x.astype(float)), dtype, name)
    agree(layer(Input(), **options)(x.T), each(formula)(x.T.astype(float)), dtype, "a view")
    np.testing.assert_array_equal(x, original)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activation_far_out(name, dtype):
    layer, options, _ = ACTIVATIONS[name]
    least = {
        "leaky relu": -0.3e30,
        "leaky relu, steep": -3e30,
        "elu": -0.7,
        "selu": -1.0507009873554805 * 1.6732632423543772,
        "tanh": -1,
        "softsign": -1,
        "log sigmoid": -1e30,
        "clip": -0.3,
    }
    greatest = {"relu6": 6, "sigmoid": 1, "tanh": 1, "selu": 1.0507009873554805e30}
    greatest |= {"hard sigmoid": 1, "softsign": 1, "clip": 0.7, "log sigmoid": 0}
    x = np.array([-1e30, 1e30, np.nan], dtype)
    with np.errstate(over="raise", divide="raise", invalid="ignore"):
        got = layer(Input(), **options)(x)
    wanted = np.array([least.get(name, 0), greatest.get(name, 1e30), np.nan])
    np.testing.assert_allclose(got, wanted, rtol=1e-6)
    assert got.dtype == dtype


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("groups", [1, 2, 3, 6])
@pytest.mark.parametrize("shape", [(2, 6), (2, 6, 3), (1, 6, 5, 1), (2, 6, 1, 7)])
def test_group_norm(shape, groups, dtype):
    x, scale, shift = normal(*shape, seed=1) + 1, normal(6, seed=2), normal(6, seed=3)
    wanted = np.empty(shape)
    for one, y in zip(x, wanted, strict=True):
        for part in np.split(np.arange(6), groups):
            mean, spread = one[part].mean(), np.sqrt(one[part].var() + 0.01)
            for i in part:
                y[i] = (one[i] - mean) / spread * scale[i] + shift[i]
    arrays = [array.astype(dtype) for array in (scale, shift)]
    layer = GroupNorm(Input(), *arrays, groups=groups, epsilon=0.01)
    agree(layer(x.astype(dtype)), wanted, dtype, "group norm")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(3, 7), (2, 5, 7), (2, 1, 3, 7)])
def test_rms_norm(shape, dtype):
    x, scale = normal(*shape, seed=1), normal(7, seed=2)
    wanted = [row / math.sqrt(np.dot(row, row) / 7 + 0.01) * scale for row in x.reshape(-1, 7)]
    layer = RMSNorm(Input(), scale.astype(dtype), epsilon=0.01)
    agree(layer(x.astype(dtype)), np.reshape(wanted, shape), dtype, "rms norm")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(2, 7), (2, 7, 3), (3, 7, 5, 1)])
def test_affine(shape, dtype):
    x, scale, shift = normal(*shape, seed=1), normal(7, seed=2), normal(7, seed=3)
    wanted = np.stack([x[:, i] * scale[i] for i in range(7)], axis=1)
    both = np.stack([wanted[:, i] + shift[i] for i in range(7)], axis=1)
    arrays = [array.astype(dtype) for array in (scale, shift)]
    agree(Affine(Input(), arrays[0])(x.astype(dtype)), wanted, dtype, "scale alone")
    agree(Affine(Input(), *arrays)(x.astype(dtype)), both, dtype, "scale and shift")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("slopes", [1, 7])
@pytest.mark.parametrize("shape", [(2, 7), (2, 7, 3), (3, 7, 5, 1)])
def test_prelu(shape, slopes, dtype):
    x, slope = normal(*shape, seed=1), normal(slopes, seed=2)
    wanted = np.where(x > 0, x, x * slope.reshape(-1, *[1] * (len(shape) - 2)))
    agree(PReLU(Input(), slope.astype(dtype))(x.astype(dtype)), wanted, dtype, "prelu")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("axis", [-1, 1])
def test_softmax(axis, dtype):
    x = 5 * normal(2, 7, 3, 5, seed=1)
    share = np.exp(x) / np.exp(x).sum(axis)[:, None if axis == 1 else slice(None)].reshape(
        (2, 1, 3, 5) if axis == 1 else (2, 7, 3, 1)
    )
    agree(Softmax(Input(), axis=axis)(x.astype(dtype)), share, dtype, "softmax")
    agree(LogSoftmax(Input(), axis=axis)(x.astype(dtype)), np.log(share), dtype, "log")


@pytest.mark.parametrize("dtype", DTYPES)
def test_log_softmax_far_out(dtype):
    with np.errstate(all="raise", under="ignore"):
        got = LogSoftmax(Input())(np.array([[-1e4, 0, 1e4], [np.nan, 0, 1]], dtype))
    np.testing.assert_array_equal(got, [[-2e4, -1e4, 0], [np.nan] * 3])


def test_normal_cdf_is_as_exact_as_float64():
    x = np.concatenate([np.linspace(-9, 9, 100_003), [1e-300, -1e-300, 0, 1e300, -1e300]])
    erf = 2 * normal_cdf(math.sqrt(2) * x) - 1
    assert np.abs(erf - each(math.erf)(x)).max() <= 1e-15
    tail = -np.linspace(0, 37, 100_003)
    wanted = each(math.erfc)(-tail / math.sqrt(2)) / 2
    # x² in the exponent has the rounding of a large number.
    assert (np.abs(normal_cdf(tail) / wanted - 1) <= 1e-15 * (1 + tail**2)).all()


def test_normal_cdf_is_as_exact_as_float32():
    x = np.linspace(-9, 9, 100_003).astype("float32")
    wanted = each(math.erfc)(-x.astype(float) / math.sqrt(2)) / 2
    assert np.abs(normal_cdf(x) - wanted).max() <= 1.5 * np.finfo("float32").eps
