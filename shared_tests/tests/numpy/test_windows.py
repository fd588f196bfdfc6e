"""Convolution and pooling in numpy_infer against direct loops, and the memory they take."""

from __future__ import annotations

import itertools
import math
import tracemalloc

import numpy as np
import pytest

from fourfold.agreement import VALUE_TOLERANCE, assert_close, assert_dtype
from numpy_infer import (
    AveragePool,
    ChannelsFirst,
    Convolution,
    GlobalAveragePool,
    GlobalMaxPool,
    Input,
    Layer,
    MaxPool,
    MaxUnpool,
    TransposedConvolution,
)
from numpy_infer.layers import convolution as convolution_file
from numpy_infer.layers.pooling import max_pool, max_unpool
from shared_tests.fixtures import normal

DTYPES = ("float64", "float32")


def agree(got: np.ndarray, wanted: np.ndarray, dtype: str, what: str) -> None:
    assert_dtype(got, dtype, what)
    assert_close(got, wanted, VALUE_TOLERANCE["layer", dtype], what)


def padded(x, padding, value=0.0):
    return np.pad(x, [(0, 0), (0, 0), *padding], constant_values=value)


def windows(x, size, stride, dilation):
    """(place among the windows, the window) of padded x, one by one."""
    spans = [d * (k - 1) + 1 for k, d in zip(size, dilation, strict=True)]
    counts = [(n - m) // s + 1 for n, m, s in zip(x.shape[2:], spans, stride, strict=True)]
    for place in itertools.product(*map(range, counts)):
        start = [p * s for p, s in zip(place, stride, strict=True)]
        cut = [slice(a, a + m, d) for a, m, d in zip(start, spans, dilation, strict=True)]
        yield place, x[(slice(None), slice(None), *cut)]


def gathered(pairs, batch, channels):
    """The windows' results, each (batch, channels), at their places."""
    results = dict(pairs)
    counts = [1 + max(axis) for axis in zip(*results, strict=True)]
    y = np.empty((batch, channels, *counts))
    for place, result in results.items():
        y[(slice(None), slice(None), *place)] = result
    return y


def convolved(x, weight, bias, stride, padding, dilation):
    found = (
        (place, np.einsum("bcs,ocs->bo", w.reshape(*w.shape[:2], -1), flat(weight)) + bias)
        for place, w in windows(padded(x, padding), weight.shape[2:], stride, dilation)
    )
    return gathered(found, len(x), len(weight))


def flat(weight):
    return weight.reshape(*weight.shape[:2], -1)


def transposed(x, weight, bias, stride, padding, dilation):
    """Every entry stamps the kernel, times itself, onto the output."""
    kernel = weight.shape[2:]
    sizes = [
        (n - 1) * s + d * (k - 1) + 1 + max(0, -after)
        for n, s, d, k, (_, after) in zip(
            x.shape[2:], stride, dilation, kernel, padding, strict=True
        )
    ]
    y = np.zeros((len(x), weight.shape[1], *sizes))
    for place in itertools.product(*map(range, x.shape[2:])):
        for k in itertools.product(*map(range, kernel)):
            at = tuple(p * s + d * j for p, s, d, j in zip(place, stride, dilation, k, strict=True))
            every = (slice(None), slice(None))
            y[every + at] += x[every + place] @ weight[every + k]
    kept = [
        slice(before, n - max(0, after)) for n, (before, after) in zip(sizes, padding, strict=True)
    ]
    return y[(slice(None), slice(None), *kept)] + bias.reshape(-1, *[1] * len(kernel))


# kernel, stride, padding, dilation, space
WINDOWS = {
    "1-d": ((3,), (1,), ((0, 0),), (1,), (11,)),
    "1-d, all at once": ((3,), (2,), ((1, 4),), (3,), (13,)),
    "1-d, kernel as large as the input": ((7,), (1,), ((0, 0),), (1,), (7,)),
    "1-d, kernel of one": ((1,), (1,), ((0, 0),), (1,), (5,)),
    "1-d, kernel of one, padded": ((1,), (1,), ((2, 0),), (1,), (5,)),
    "1-d, kernel of one, strided": ((1,), (2,), ((0, 0),), (1,), (5,)),
    "1-d, one place": ((1,), (1,), ((0, 0),), (1,), (1,)),
    "2-d": ((3, 2), (1, 1), ((0, 0), (0, 0)), (1, 1), (7, 5)),
    "2-d, stride": ((2, 3), (3, 2), ((0, 0), (0, 0)), (1, 1), (11, 13)),
    "2-d, padding": ((3, 5), (1, 1), ((2, 1), (0, 3)), (1, 1), (5, 7)),
    "2-d, dilation": ((2, 3), (1, 1), ((0, 0), (0, 0)), (3, 2), (7, 11)),
    "2-d, all at once": ((3, 2), (2, 3), ((1, 2), (3, 0)), (2, 5), (11, 13)),
    "2-d, kernel as large as the padded input": ((7, 5), (1, 1), ((1, 1), (0, 2)), (1, 1), (5, 3)),
    "2-d, kernel of one": ((1, 1), (1, 1), ((0, 0), (0, 0)), (1, 1), (5, 3)),
}


@pytest.mark.parametrize("block", [1, 400, 2**22])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", WINDOWS)
def test_convolution(monkeypatch, name, dtype, block):
    kernel, stride, padding, dilation, space = WINDOWS[name]
    monkeypatch.setattr(convolution_file, "BLOCK", block)
    weight, bias = normal(3, 5, *kernel, seed=1), normal(3, seed=2)
    x = normal(2, 5, *space, seed=3)
    layer = Convolution(
        Input(),
        weight.astype(dtype),
        bias.astype(dtype),
        stride=list(stride),
        padding=[list(pair) for pair in padding],
        dilation=list(dilation),
    )
    agree(
        layer(x.astype(dtype)), convolved(x, weight, bias, stride, padding, dilation), dtype, name
    )


@pytest.mark.parametrize("block", [1, 400, 2**22])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("groups", "each"), [(2, 3), (3, 1), (7, 1)])
@pytest.mark.parametrize("name", WINDOWS)
def test_convolution_in_groups(monkeypatch, name, groups, each, dtype, block):
    """Each group is a convolution of its own; each: channels that a group takes."""
    kernel, stride, padding, dilation, space = WINDOWS[name]
    monkeypatch.setattr(convolution_file, "BLOCK", block)
    weight, bias = normal(2 * groups, each, *kernel, seed=1), normal(2 * groups, seed=2)
    x = normal(3, groups * each, *space, seed=3)
    options = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    layer = Convolution(Input(), weight.astype(dtype), bias.astype(dtype), **options)
    parts = zip(*(np.split(one, groups) for one in (x.swapaxes(0, 1), weight, bias)), strict=True)
    wanted = [
        convolved(part.swapaxes(0, 1), *own, stride, padding, dilation) for part, *own in parts
    ]
    agree(layer(x.astype(dtype)), np.concatenate(wanted, 1), dtype, name)


@pytest.mark.parametrize("rows", [1, 2, 3, 17])
def test_convolution_with_more_windows_than_weights(rows):
    weight, x = normal(2, 1, 2, 3, seed=1), normal(rows, 1, 19, 23, seed=2)
    options = {"stride": [1, 2], "padding": [(0, 0), (1, 0)], "dilation": [1, 1]}
    got = Convolution(Input(), weight, **options)(x)
    agree(got, convolved(x, weight, 0, *options.values()), "float64", "no bias")


def test_convolution_of_a_view():
    """As after ChannelsFirst: neither contiguous nor in order."""
    x, weight, bias = normal(2, 7, 11, 5, seed=1), normal(3, 5, 3, 2, seed=2), normal(3, seed=3)
    options = {"stride": [2, 1], "padding": [(0, 0), (0, 0)], "dilation": [1, 2]}
    got = Convolution(ChannelsFirst(Input()), weight, bias, **options)(x)
    agree(got, convolved(np.moveaxis(x, 3, 1), weight, bias, *options.values()), "float64", "view")


TRANSPOSED = {
    "extended": ((2,), (3,), ((0, -1),), (1,), (5,)),
    "extended beyond the stride": ((2, 3), (2, 1), ((1, -2), (0, -3)), (1, 2), (3, 5)),
    "cut": ((3, 2), (2, 3), ((1, 2), (1, 0)), (2, 1), (5, 7)),
}


@pytest.mark.parametrize("block", [1, 2**22])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", WINDOWS | TRANSPOSED)
def test_transposed_convolution(monkeypatch, name, dtype, block):
    kernel, stride, padding, dilation, space = (WINDOWS | TRANSPOSED)[name]
    monkeypatch.setattr(convolution_file, "BLOCK", block)
    if name == "1-d, kernel of one, padded":
        padding = ((1, 0),)
    weight, bias = normal(5, 3, *kernel, seed=1), normal(3, seed=2)
    x = normal(2, 5, *space, seed=3)
    layer = TransposedConvolution(
        Input(),
        weight.astype(dtype),
        bias.astype(dtype),
        stride=stride,
        padding=padding,
        dilation=dilation,
    )
    wanted = transposed(x, weight, bias, stride, padding, dilation)
    agree(layer(x.astype(dtype)), wanted, dtype, name)


def test_transposed_convolution_is_the_adjoint():
    """⟨conv(x), y⟩ = ⟨x, transposed(y)⟩, with the same weight and padding."""
    options = {"stride": [2, 3], "padding": [(1, 2), (0, 1)], "dilation": [2, 1]}
    weight, x = normal(3, 5, 2, 3, seed=1), normal(2, 5, 11, 13, seed=2)
    forth = Convolution(Input(), weight, **options)(x)
    y = normal(*forth.shape, seed=3)
    # What the stride leaves over at the end comes back by extending.
    over = [
        (n + sum(pair) - d * (k - 1) - 1) % s
        for n, pair, d, k, s in zip(
            (11, 13), options["padding"], (2, 1), (2, 3), (2, 3), strict=True
        )
    ]
    options["padding"] = [
        (before, after - rest)
        for (before, after), rest in zip(options["padding"], over, strict=True)
    ]
    back = TransposedConvolution(Input(), weight, **options)(y)
    np.testing.assert_allclose((forth * y).sum(), (x * back).sum(), rtol=1e-12)


# size, stride, padding, space
POOLS = {
    "1-d": ((3,), (2,), ((0, 0),), (11,)),
    "1-d, whole": ((7,), (1,), ((0, 0),), (7,)),
    "1-d, of one": ((1,), (1,), ((0, 0),), (5,)),
    "1-d, of one, apart": ((1,), (3,), ((0, 0),), (5,)),
    "1-d, padded": ((3,), (1,), ((2, 1),), (2,)),
    "2-d": ((2, 3), (2, 3), ((0, 0), (0, 0)), (7, 11)),
    "2-d, overlapping": ((3, 2), (1, 1), ((0, 0), (0, 0)), (5, 7)),
    "2-d, padded": ((3, 5), (3, 5), ((1, 2), (4, 0)), (11, 13)),
    "2-d, apart": ((2, 1), (3, 5), ((1, 0), (0, 0)), (7, 13)),
    "2-d, whole": ((5, 3), (1, 1), ((0, 0), (0, 0)), (5, 3)),
}


def pooled(x, size, stride, padding):
    """Values and flat positions in x, by looking at each window."""
    plane = np.arange(math.prod(x.shape[2:])).reshape(1, 1, *x.shape[2:])
    one = [1] * len(size)
    values, positions = [], []
    both = padded(x, padding, -np.inf), padded(plane, padding, -1)
    for (place, entries), (_, where) in zip(
        windows(both[0], size, stride, one), windows(both[1], size, stride, one), strict=True
    ):
        where = where.ravel()
        entries = entries.reshape(*x.shape[:2], -1)[..., where >= 0]
        values.append((place, entries.max(-1)))
        positions.append((place, where[where >= 0][entries.argmax(-1)]))
    shape = x.shape[:2]
    return gathered(values, *shape), gathered(positions, *shape).astype(np.int64)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", POOLS)
def test_max_pool_and_unpool(name, dtype):
    size, stride, padding, space = POOLS[name]
    options = {"size": size, "stride": stride, "padding": padding}
    x = normal(2, 3, *space, seed=1).astype(dtype)
    values, positions = pooled(x, size, stride, padding)
    agree(MaxPool(Input(), **options)(x), values, dtype, name)
    got = max_pool(x, **options)
    agree(got.values, values, dtype, name)
    agree(got.positions, positions, dtype, name)
    if any(jump < n for jump, n in zip(stride, size, strict=True)):
        return
    given = normal(*values.shape, seed=2).astype(dtype)
    wanted = np.zeros(x.shape)
    for b, c in np.ndindex(*x.shape[:2]):
        for at, value in zip(positions[b, c].flat, given[b, c].flat, strict=True):
            wanted[b, c].flat[at] = value
    start = Input()
    bent = Fixed(MaxPool(start, **options), given)
    agree(MaxUnpool(bent, start, **options)(x), wanted, dtype, name)
    agree(max_unpool(given, positions, x.shape), wanted, dtype, name)


class Fixed(Layer):
    """Gives an array, whatever it is given."""

    def __init__(self, previous: Layer, value: np.ndarray) -> None:
        super().__init__(previous)
        self.value = value

    def forward(self, x: np.ndarray) -> np.ndarray:
        return self.value


@pytest.mark.parametrize("name", POOLS)
def test_of_equal_entries_the_first_is_the_largest(name):
    size, stride, padding, space = POOLS[name]
    x = np.random.default_rng(1).integers(0, 2, (5, 3, *space)).astype(float)
    for tied in (x, np.where(x == 0, -np.inf, x), np.full_like(x, -np.inf)):
        values, positions = pooled(tied, size, stride, padding)
        got = max_pool(tied, size, stride, padding)
        np.testing.assert_array_equal(got.values, values)
        np.testing.assert_array_equal(got.positions, positions)


def test_max_pool_keeps_nan_and_where_the_first_is():
    x = np.arange(24.0).reshape(1, 1, 4, 6)
    x[0, 0, 0, 1] = x[0, 0, 1, 0] = x[0, 0, 3, 5] = np.nan
    options = {"size": [2, 3], "stride": [2, 3], "padding": [[0, 0], [0, 0]]}
    values, positions = max_pool(x, **options)
    np.testing.assert_array_equal(values[0, 0], [[np.nan, 11], [20, np.nan]])
    np.testing.assert_array_equal(positions[0, 0], [[1, 11], [20, 23]])
    np.testing.assert_array_equal(MaxPool(Input(), **options)(x), values)


@pytest.mark.parametrize("count_padding", [True, False])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", POOLS)
def test_average_pool(name, dtype, count_padding):
    size, stride, padding, space = POOLS[name]
    x = normal(2, 3, *space, seed=1)
    entries = padded(x, padding, 0.0 if count_padding else np.nan)
    mean = np.mean if count_padding else np.nanmean
    found = (
        (place, mean(w.reshape(2, 3, -1), axis=-1))
        for place, w in windows(entries, size, stride, [1] * len(size))
    )
    layer = AveragePool(
        Input(), size=size, stride=stride, padding=padding, count_padding=count_padding
    )
    agree(layer(x.astype(dtype)), gathered(found, 2, 3), dtype, name)


@pytest.mark.parametrize("keepdims", [True, False])
@pytest.mark.parametrize("space", [(7,), (5, 3), (1,)])
@pytest.mark.parametrize("dtype", DTYPES)
def test_global_pools(dtype, space, keepdims):
    x = normal(2, 3, *space, seed=1).astype(dtype)
    shape = (2, 3, *[1] * len(space)) if keepdims else (2, 3)
    flat_x = x.reshape(2, 3, -1).astype(float)
    got = GlobalAveragePool(Input(), keepdims=keepdims)(x)
    agree(got, (flat_x.sum(2) / flat_x.shape[2]).reshape(shape), dtype, "average")
    got = GlobalMaxPool(Input(), keepdims=keepdims)(x)
    agree(got, np.sort(flat_x)[..., -1].reshape(shape), dtype, "max")


def test_a_convolution_takes_no_more_memory_than_a_few_blocks():
    x, weight = normal(8, 16, 96, 96, seed=1), normal(2, 16, 5, 5, seed=2)
    net = Convolution(Input(), weight, stride=[1, 1], padding=[[0, 0]] * 2, dilation=[1, 1])
    tracemalloc.start()
    y = net(x)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    unfolded = 25 * 16 * math.prod(y.shape[2:]) * 8 * len(x)
    assert peak - y.nbytes <= 3 * convolution_file.BLOCK < unfolded / 10
