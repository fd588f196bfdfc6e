"""What a call costs: bounded by what a file and an input of that size could honestly cost."""

from __future__ import annotations

import contextlib
import time
import tracemalloc
import weakref
from typing import Any

import numpy as np
import pytest
from numpy.lib.stride_tricks import sliding_window_view

from numpy_infer import AveragePool, Input, Layer, MaxPool, MaxUnpool, Projection, ReLU, load_model
from numpy_infer.format.description import describe
from numpy_infer.layers.pooling import max_pool
from numpy_infer.model_file import ModelFileError, write_model
from shared_tests.fixtures import normal
from shared_tests.model_files.samples import arrays, chain, write_unchecked

MEGABYTE = 2**20


def peak(call: Any) -> int:
    """The most bytes that are held at once during a call."""
    tracemalloc.start()
    try:
        call()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def window(rank: int = 1, **changes: Any) -> dict[str, Any]:
    return {"stride": [1] * rank, "padding": [[0, 0]] * rank, "dilation": [1] * rank} | changes


def pool(rank: int = 1, **changes: Any) -> dict[str, Any]:
    return {"size": [2] * rank, "stride": [2] * rank, "padding": [[0, 0]] * rank} | changes


def average(rank: int = 1, **changes: Any) -> dict[str, Any]:
    return pool(rank, count_padding=True, **changes)


TINY = arrays("float64", p1_weight=(1, 1, 2))
FLAT = arrays("float64", p1_weight=(1, 1, 2, 2))
HUGE = {
    "average, size and padding": (
        chain(("AveragePool", average(size=[8000], padding=[[7999, 7999]], stride=[1]))),
        {},
    ),
    "average, padding": (chain(("AveragePool", average(padding=[[0, 2**30]]))), {}),
    "average, two axes": (chain(("AveragePool", average(2, padding=[[20, 20]] * 2))), {}),
    "max, size and padding": (
        chain(("MaxPool", pool(size=[2000], stride=[1], padding=[[1999, 1999]]))),
        {},
    ),
    "pad": (chain(("Pad", {"padding": [[0, 2**30]], "mode": "edge", "value": 0.0})), {}),
    "scales that multiply": (
        chain(*[("Upsample", {"scale": [9, 9], "mode": "nearest", "corners": False})] * 3),
        {},
    ),
    "resize": (chain(("Resize", {"size": [2**21], "mode": "linear", "corners": False})), {}),
    "convolution, padding": (chain(("Convolution", window(padding=[[5000, 0]]))), TINY),
    "convolution, dilation": (
        chain(("Convolution", window(dilation=[5000], padding=[[5000, 5000]]))),
        TINY,
    ),
    "transposed, stride": (chain(("TransposedConvolution", window(stride=[2**20]))), TINY),
    "transposed, strides": (chain(("TransposedConvolution", window(2, stride=[40, 40]))), FLAT),
    "transposed, dilation": (chain(("TransposedConvolution", window(dilation=[2**20]))), TINY),
    "transposed, cut off": (
        chain(("TransposedConvolution", window(stride=[9000], padding=[[8000, 0]]))),
        TINY,
    ),
    "transposed, extended": (
        chain(("TransposedConvolution", window(padding=[[0, -(2**20)]]))),
        TINY,
    ),
    "pads that add up": (chain(*[("AveragePool", average(padding=[[9, 9]], stride=[1]))] * 80), {}),
    "strides that multiply": (
        chain(*[("TransposedConvolution", window(stride=[2]))] * 12),
        {f"{place}.weight": np.ones((1, 1, 2)) for place in range(1, 13)},
    ),
    "strides behind a reshape": (  # a stride along another axis does not take back what has grown
        chain(
            *[
                ("AveragePool", average(padding=[[9, 9]], stride=[1])),
                ("Reshape", {"shape": [1, -1]}),
                ("Permute", {"order": [1, 2]}),
            ]
            * 12,
        ),
        {},
    ),
    "a branch": (
        chain(
            ("ReLU", {}),
            ("MaxPool", pool()),
            ("AveragePool", average(padding=[[900, 900]], stride=[1])),
            ("AveragePool", average(padding=[[900, 900]], stride=[1], previous=[3])),
        ),
        {},
    ),
}


@pytest.mark.parametrize("name", HUGE)
def test_a_file_whose_numbers_outgrow_it_is_refused(name, tmp_path):
    path = tmp_path / "model.safetensors"
    config, weights = HUGE[name]
    message = r"layer \d+ \(\w+\): (padding, stride|scale|size): expected at most \d+ places"
    with pytest.raises(ValueError, match=message):
        write_model(path, "chain", config, weights)
    write_unchecked(path, "chain", config, weights)
    with pytest.raises(ModelFileError, match=message):
        load_model(path)


SPEECH = [window(dilation=[2**place], padding=[[2**place, 0]]) for place in range(10)] * 3
HONEST = {
    "dilated, causal": (
        chain(*[("Convolution", one) for one in SPEECH]),
        {f"{place}.weight": np.ones((1, 1, 2)) for place in range(1, 31)},
        (1, 1, 3),
    ),
    "images from noise": (
        chain(
            ("TransposedConvolution", window(2)),
            *[("TransposedConvolution", window(2, stride=[2, 2], padding=[[1, 1]] * 2))] * 4,
        ),
        {f"{place}.weight": np.ones((4, 4, 4, 4)) for place in range(1, 6)},
        (1, 4, 1, 1),
    ),
    "the same size, many times": (
        chain(*[("Convolution", window(2, padding=[[1, 1]] * 2))] * 100),
        {f"{place}.weight": np.ones((1, 1, 3, 3)) for place in range(1, 101)},
        (1, 1, 1, 1),
    ),
    "padded averages": (
        chain(*[("AveragePool", average(2, size=[3, 3], padding=[[1, 1]] * 2))] * 100),
        {},
        (1, 1, 28, 28),
    ),
    "down and up again": (
        chain(
            *[("AveragePool", average(2, size=[2, 2]))] * 6,
            *[("TransposedConvolution", window(2, stride=[2, 2]))] * 6,
        ),
        {f"{place}.weight": np.ones((1, 1, 2, 2)) for place in range(7, 13)},
        (1, 1, 64, 64),
    ),
}


@pytest.mark.parametrize("name", HONEST)
def test_an_honest_file_is_none_of_these(name, tmp_path):
    config, weights, shape = HONEST[name]
    write_model(tmp_path / "model", "chain", config, weights)
    assert load_model(tmp_path / "model")[-1](np.ones(shape)).size > 0


NUMBERS = [1, 1, 1, 2, 2, 3, 5, 8, 30, 100, 1000, 2**13, 2**20, 2**31 - 1]


def any_layer(rng: np.random.Generator, rank: int) -> tuple[str, dict[str, Any]]:
    """A layer over space, its numbers anything."""
    numbers = [int(one) for one in rng.choice(NUMBERS, 8)]
    name = rng.choice(["Convolution", "TransposedConvolution", "MaxPool", "AveragePool"])
    pairs = [[numbers[2] - 1, numbers[3] - 1], [numbers[4] - 1, numbers[5] - 1]][:rank]
    if name.endswith("Convolution"):
        return name, {
            "stride": numbers[:rank],
            "padding": pairs,
            "dilation": numbers[6 : 6 + rank],
        }
    config = {"size": numbers[:rank], "stride": numbers[6 : 6 + rank], "padding": pairs}
    return name, config | ({"count_padding": True} if name == "AveragePool" else {})


def test_whatever_loads_runs_in_time_and_memory(tmp_path):
    """Files of a few hundred bytes, whose numbers may be anything, on an input of 32 KiB."""
    rng, path, ran = np.random.default_rng(1), tmp_path / "model.safetensors", 0
    for _ in range(600):
        rank = int(rng.integers(1, 3))
        layers = [any_layer(rng, rank) for _ in range(rng.integers(1, 4))]
        kernel = (2,) * rank
        weights = {
            f"{place}.weight": np.ones((2, 2, *kernel), np.float32)
            for place, (name, _) in enumerate(layers, start=1)
            if name.endswith("Convolution")
        }
        write_unchecked(path, "chain", chain(*layers), weights)
        try:
            net = load_model(path)
        except ModelFileError:
            continue
        x = np.ones((4, 2, 1024) if rank == 1 else (4, 2, 32, 32), np.float32)
        begin = time.process_time()
        with contextlib.suppress(ValueError):  # as for an input that is smaller than a window
            assert peak(lambda net=net, x=x: net[-1](x)) < 200 * MEGABYTE
            ran += 1
        assert time.process_time() - begin < 2, layers
    assert ran > 50


@pytest.mark.parametrize("stride", [1, 2, 7, 40])
@pytest.mark.parametrize("size", [1, 2, 3, 16, 17, 31, 32, 33, 100])
def test_large_windows_are_what_small_steps_give(size, stride):
    x = normal(2, 3, 5, 211, seed=1)
    x[0, 0, 1, 50] = np.nan
    x[1, 1, 2, 70:90] = np.inf
    x[1, 2] = np.round(x[1, 2])  # ties
    windows = sliding_window_view(x, size, axis=3)[..., ::stride, :]
    options: dict[str, Any] = {"size": [1, size], "stride": [1, stride], "padding": [[0, 0]] * 2}
    found = AveragePool(Input(), **options, count_padding=True)(x)
    np.testing.assert_allclose(found, windows.mean(axis=-1), rtol=1e-13, atol=1e-14)
    np.testing.assert_array_equal(MaxPool(Input(), **options)(x), windows.max(axis=-1))
    values, positions = max_pool(x, **options)
    np.testing.assert_array_equal(values, windows.max(axis=-1))
    start = np.arange(windows.shape[3]) * stride + 211 * np.arange(5)[:, None]
    np.testing.assert_array_equal(positions, windows.argmax(axis=-1) + start)
    if stride >= size:
        back = MaxUnpool(MaxPool(inner := Input(), **options), inner, **options)(x)
        assert np.array_equal(np.count_nonzero(back), np.count_nonzero(values))


def test_a_large_window_costs_no_more_than_the_digits_of_its_size():
    x = np.ones((8, 2, 2**16), np.float32)
    for build in (lambda *p, **o: AveragePool(*p, **o, count_padding=True), MaxPool):
        begin = time.process_time()
        y = build(Input(), size=[2**15], stride=[1], padding=[[0, 0]])(x)
        assert time.process_time() - begin < 5  # one slice after the other: minutes
        assert (y == 1).all()
    begin = time.process_time()
    max_pool(np.ones((1, 1, 2**20)), [2**18], [2**18], [[0, 0]])
    assert time.process_time() - begin < 5


def test_twenty_thousand_layers_hold_two_outputs():
    layer: Layer = Input()
    for _ in range(20_000):
        layer = ReLU(layer)
    x = np.ones((64, 256), np.float32)
    layer(x)
    assert peak(lambda: layer(x)) < 3 * x.nbytes


def test_a_deep_net_holds_two_outputs_and_inner_layers_answer():
    weight = np.eye(64, dtype=np.float32)
    net: list[Layer] = [Input()]
    for _ in range(100):
        net.append(Projection(net[-1], weight))
        net.append(ReLU(net[-1]))
    x = normal(4096, 64, seed=2).astype(np.float32)
    wanted = np.maximum(x, 0)
    np.testing.assert_array_equal(net[-1](x), wanted)
    np.testing.assert_array_equal(net[-3](x), wanted)
    np.testing.assert_array_equal(net[1](x), x)
    assert peak(lambda: net[-1](x)) < 3 * x.nbytes


def test_a_description_holds_two_outputs(tmp_path):
    write_model(tmp_path / "model", "chain", chain(*[("ReLU", {})] * 2000), {})
    few = peak(lambda: describe(tmp_path / "model", [1]))
    assert peak(lambda: describe(tmp_path / "model", [2**18])) < few + 4 * 2**20


class Sum(Layer):
    """The sum of what is before it, plus 1; it watches which outputs are still held."""

    def __init__(self, held: dict[int, Any], number: int, *previous: Layer) -> None:
        super().__init__(*previous)
        self.held, self.number = held, number
        self.most: set[int] = set()

    def forward(self, *values: np.ndarray) -> np.ndarray:
        self.most = {number for number, one in self.held.items() if one() is not None}
        y = np.sum(values, axis=0) + 1
        self.held[self.number] = weakref.ref(y)
        return y


@pytest.mark.parametrize("seed", range(40))
def test_any_graph_holds_what_is_still_read_and_nothing_else(seed):
    rng = np.random.default_rng(seed)
    held: dict[int, Any] = {}
    layers: list[Layer] = [Input(), Input()]
    for number in range(2, 25):
        previous = rng.choice(number, rng.integers(1, 4))
        layers.append(Sum(held, number, *[layers[one] for one in previous]))
    x = np.ones(3)
    values = [x, x]
    for layer in layers[2:]:
        values.append(sum(values[layers.index(one)] for one in layer.previous) + 1)
    for number in (24, int(rng.integers(2, 24))):
        held.clear()
        np.testing.assert_allclose(layers[number](x), values[number], rtol=1e-12)
        order = [one for one in layers[number]._ordered() if isinstance(one, Sum)]
        for place, layer in enumerate([*order, layers[number]]):
            later = [*order[place:], layers[number]]
            read = {one.number for each in later for one in each.previous if isinstance(one, Sum)}
            assert layer.most <= read
