"""All layers of numpy_infer as they are called: batches of any size, threads, NaN, bad input."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from numpy_infer import (
    ELU,
    GELU,
    GRU,
    LSTM,
    Affine,
    AveragePool,
    BatchNorm,
    ChannelsFirst,
    ChannelsLast,
    Clip,
    Convolution,
    Embedding,
    Flatten,
    GlobalAveragePool,
    GlobalMaxPool,
    GroupNorm,
    Input,
    Layer,
    LayerNorm,
    LeakyReLU,
    LogSoftmax,
    MaxPool,
    MaxUnpool,
    Pad,
    Permute,
    PReLU,
    Projection,
    Reshape,
    Resize,
    RMSNorm,
    Slice,
    Softmax,
    TopKGating,
    TransposedConvolution,
    Upsample,
)
from numpy_infer.layers.convolution import convolution
from numpy_infer.layers.pooling import max_unpool
from numpy_infer.layers.recurrent import gru
from shared_tests.fixtures import normal


class Fixed(Layer):
    """Gives an array, whatever it is given."""

    def __init__(self, previous: Layer, value: np.ndarray) -> None:
        super().__init__(previous)
        self.value = value

    def forward(self, x: np.ndarray) -> np.ndarray:
        return self.value


def whole(**changes: Any) -> dict[str, Any]:
    """Options of a convolution in two axes."""
    return {"stride": [1, 1], "padding": [[0, 0], [0, 0]], "dilation": [1, 1]} | changes


def pool(**changes: Any) -> dict[str, Any]:
    return {"size": [2, 3], "stride": [2, 3], "padding": [[0, 0], [0, 0]]} | changes


KERNEL = normal(3, 5, 2, 3, seed=1)
ARRAYS = [normal(*shape, seed=1) for shape in ((5, 9), (3, 9), (9,), (9,))]
MEMORY = [normal(*shape, seed=1) for shape in ((5, 12), (3, 12), (12,))]
STATES: Any = {"direction": "forward", "return_sequences": True}
PLANES, SERIES = normal(2, 5, 7, 11, seed=2), normal(2, 7, 5, seed=3)

BATCHES = {
    "convolution": (lambda p: Convolution(p, KERNEL, **whole()), PLANES),
    "kernel of one": (lambda p: Convolution(p, KERNEL[..., :1, :1], **whole()), PLANES),
    "groups": (lambda p: Convolution(p, KERNEL.reshape(15, 1, 2, 3), **whole(), groups=5), PLANES),
    "transposed": (lambda p: TransposedConvolution(p, KERNEL[:, 0:1], **whole()), PLANES[:, :3]),
    "max pool": (lambda p: MaxPool(p, **pool()), PLANES),
    "max unpool": (lambda p: MaxUnpool(MaxPool(p, **pool()), p, **pool()), PLANES),
    "average pool": (lambda p: AveragePool(p, **pool(), count_padding=False), PLANES),
    "global average": (lambda p: GlobalAveragePool(p, keepdims=True), PLANES),
    "global max": (lambda p: GlobalMaxPool(p, keepdims=False), PLANES),
    "gru": (lambda p: GRU(p, *ARRAYS, *ARRAYS, direction="both", return_sequences=True), SERIES),
    "gru, last": (lambda p: GRU(p, *ARRAYS, direction="backward", return_sequences=False), SERIES),
    "lstm": (lambda p: LSTM(p, *MEMORY, *MEMORY, direction="both", return_sequences=True), SERIES),
    "lstm, last": (
        lambda p: LSTM(p, *MEMORY, direction="backward", return_sequences=False),
        SERIES,
    ),
    "flatten": (Flatten, PLANES),
    "reshape": (lambda p: Reshape(p, shape=[7, -1, 11]), PLANES),
    "pad": (lambda p: Pad(p, padding=[[1, -2], [0, 3]], value=0.5), PLANES),
    "reflecting pad": (lambda p: Pad(p, padding=[[1, -2], [0, 3]], mode="reflect"), PLANES),
    "upsample": (lambda p: Upsample(p, scale=[3, 2]), PLANES),
    "resize": (lambda p: Resize(p, size=[3, 8], mode="linear", corners=True), PLANES),
    "permute": (lambda p: Permute(p, order=[2, 3, 1]), PLANES),
    "slice": (lambda p: Slice(p, start=0, stop=3, axis=1), PLANES),
    "channels first": (ChannelsFirst, PLANES),
    "channels last": (ChannelsLast, PLANES),
    "projection": (lambda p: Projection(p, normal(5, 3, seed=1), normal(3, seed=2)), SERIES),
    "batch norm": (lambda p: BatchNorm(p, *[np.arange(1.0, 6)] * 4), PLANES),
    "layer norm": (lambda p: LayerNorm(p, *[np.arange(1.0, 6)] * 2), SERIES),
    "group norm": (lambda p: GroupNorm(p, *[np.arange(1.0, 6)] * 2, groups=1), PLANES),
    "rms norm": (lambda p: RMSNorm(p, np.arange(1.0, 6)), SERIES),
    "top-k gating": (lambda p: TopKGating(p, k=2), SERIES),
    "affine": (lambda p: Affine(p, *[np.arange(1.0, 6)] * 2), PLANES),
    "prelu": (lambda p: PReLU(p, np.arange(1.0, 6)), PLANES),
    "gelu": (lambda p: GELU(p, approximate=False), SERIES),
    "softmax": (Softmax, SERIES),
    "log softmax": (lambda p: LogSoftmax(p, axis=1), SERIES),
}


@pytest.mark.parametrize("name", BATCHES)
def test_batches_of_any_size(name):
    build, x = BATCHES[name]
    net = build(Input())
    both = net(x)
    one = net(x[:1])
    np.testing.assert_allclose(one, both[:1], rtol=0, atol=1e-14)
    empty = net(x[:0])
    assert empty.shape == (0, *both.shape[1:])
    assert empty.dtype == both.dtype


@pytest.mark.parametrize("name", BATCHES)
def test_nets_keep_nothing_between_calls(name):
    build, x = BATCHES[name]
    net = build(Input())
    inputs = [x + i for i in range(16)]
    alone = [net(one) for one in inputs]
    with ThreadPoolExecutor(8) as threads:
        together = list(threads.map(net, inputs))
    np.testing.assert_array_equal(alone, together)


@pytest.mark.parametrize("name", BATCHES)
def test_nan_in_nan_out(name):
    build, x = BATCHES[name]
    x = x.copy()
    x[0, 0, 0] = np.nan
    y = build(Input())(x)
    if name != "max unpool":  # a pool's values are then NaN, and stand where the first NaN is
        assert np.isnan(y[0]).any()
    assert not np.isnan(y[1]).any()


NO_LAYER: Any = PLANES
WRONG_SIZES: list[Any] = [[1], [1, 1, 1], [0, 1], [1, -1], [1, 2**31], [10**30, 1]]
WRONG_TYPES: list[Any] = ["11", 1, None, 1.0, {"a": 1}, [1.0, 1], [True, 1], ["1", 1], [[1], [1]]]
WRONG_PADDING: list[Any] = [[[0, 0]], [[0, 0], [0]], [[0, 0], [-1, 0]], [[0, 0], [0, -1]]]
WRONG_PAIRS: list[Any] = ["00", 0, None, [0, 0], [[0, 0], "00"], [[0, 0], [0, 0.5]], [[0, 0], None]]
SIX = normal(6, seed=1)


def bad(argument: str, error: type[Exception], layer: Any, *arrays: Any, **options: Any):
    return argument, error, lambda: layer(Input(), *arrays, **options)


BOTH = STATES | {"direction": "both"}
BAD = [
    *(bad("stride", ValueError, Convolution, KERNEL, **whole(stride=v)) for v in WRONG_SIZES),
    *(bad("stride", TypeError, Convolution, KERNEL, **whole(stride=v)) for v in WRONG_TYPES),
    *(bad("dilation", ValueError, Convolution, KERNEL, **whole(dilation=v)) for v in WRONG_SIZES),
    *(
        bad("dilation", TypeError, TransposedConvolution, KERNEL, **whole(dilation=v))
        for v in WRONG_TYPES
    ),
    *(bad("padding", ValueError, Convolution, KERNEL, **whole(padding=v)) for v in WRONG_PADDING),
    *(bad("padding", TypeError, Convolution, KERNEL, **whole(padding=v)) for v in WRONG_PAIRS),
    *(
        bad("padding", ValueError, TransposedConvolution, KERNEL, **whole(padding=v))
        for v in WRONG_PADDING[:3]
    ),
    *(bad("size", ValueError, MaxPool, **pool(size=v)) for v in [*WRONG_SIZES[1:], []]),
    *(bad("size", TypeError, MaxPool, **pool(size=v)) for v in WRONG_TYPES),
    *(
        bad("stride", ValueError, AveragePool, **pool(stride=v), count_padding=True)
        for v in WRONG_SIZES
    ),
    *(
        bad("padding", ValueError, MaxPool, **pool(padding=v))
        for v in [*WRONG_PADDING, [[2, 0], [0, 0]], [[0, 0], [0, 3]]]
    ),
    *(bad("padding", TypeError, MaxUnpool, Input(), **pool(padding=v)) for v in WRONG_PAIRS),
    bad("padding", ValueError, AveragePool, **pool(padding=[[2, 0], [0, 0]]), count_padding=False),
    bad("stride", ValueError, MaxUnpool, Input(), **pool(stride=[2, 2])),
    bad("count_padding", TypeError, AveragePool, **pool(), count_padding=1),
    bad("keepdims", TypeError, GlobalMaxPool, keepdims="no"),
    bad("keepdims", TypeError, GlobalAveragePool, keepdims=None),
    ("previous", TypeError, lambda: Convolution(NO_LAYER, KERNEL, **whole())),
    bad("previous", TypeError, MaxUnpool, NO_LAYER, **pool()),
    bad("maximum", ValueError, Clip, minimum=1, maximum=1),
    bad("minimum", TypeError, Clip, minimum="0", maximum=1),
    bad("slope", ValueError, PReLU, SIX[:0]),
    *(bad("shape", ValueError, Reshape, shape=v) for v in ([], [0], [-1, -1], [-2], [1] * 8)),
    *(bad("shape", TypeError, Reshape, shape=v) for v in ("11", 1, None, [1.0], [True])),
    *(bad("order", ValueError, Permute, order=v) for v in ([], [0, 1], [1, 1], [2], [1, 3])),
    *(bad("order", TypeError, Permute, order=v) for v in ("12", 1, None, [1.0, 2])),
    *(bad("padding", ValueError, Pad, padding=v) for v in ([], [[1]], [[1, 1, 1]], [[0, 0]] * 4)),
    *(bad("padding", TypeError, Pad, padding=v) for v in ("11", 1, None, [1], [[1.0, 0]])),
    bad("mode", ValueError, Pad, padding=[[1, 1]], mode="circular"),
    bad("value", ValueError, Pad, padding=[[1, 1]], mode="edge", value=1.0),
    bad("value", ValueError, Pad, padding=[[1, 1]], value=np.inf),
    *(bad("scale", ValueError, Upsample, scale=v) for v in ([], [0], [1] * 4)),
    *(bad("size", TypeError, Resize, size=v) for v in (3, None, [1.5])),
    bad("mode", ValueError, Resize, size=[3], mode="cubic"),
    bad("corners", ValueError, Upsample, scale=[3], corners=True),
    bad("corners", TypeError, Resize, size=[3], mode="linear", corners=1),
    bad("start", ValueError, Slice, start=-1, stop=2),
    bad("stop", ValueError, Slice, start=2, stop=2),
    bad("axis", ValueError, Slice, start=0, stop=2, axis=2),
    bad("scale", ValueError, Affine, SIX[:0]),
    bad("shift", ValueError, Affine, SIX, SIX[:5]),
    bad("groups", ValueError, GroupNorm, SIX, SIX, groups=4),
    bad("epsilon", ValueError, RMSNorm, SIX, epsilon=-1),
    bad("slope", ValueError, PReLU, SIX[:, None]),
    bad("groups", ValueError, Convolution, KERNEL, **whole(), groups=2),
    bad("groups", ValueError, Convolution, KERNEL, **whole(), groups=0),
    bad("weight", ValueError, Convolution, KERNEL[0, 0], **whole()),
    bad("weight", ValueError, Convolution, KERNEL[..., None], **whole()),
    bad("weight", ValueError, Convolution, KERNEL[:, :, :0], **whole()),
    bad("weight", TypeError, TransposedConvolution, KERNEL.astype(int), **whole()),
    bad("weight", TypeError, TransposedConvolution, KERNEL.tolist(), **whole()),
    bad("bias", ValueError, Convolution, KERNEL, SIX[:5], **whole()),
    bad("bias", ValueError, TransposedConvolution, KERNEL, SIX[:3], **whole()),
    bad("bias", TypeError, Convolution, KERNEL, SIX[:3].astype("float32"), **whole()),
    bad("bias", TypeError, Convolution, KERNEL, [1.0, 2.0, 3.0], **whole()),
    bad("bias", TypeError, Projection, KERNEL[0, 0], [1.0, 2.0, 3.0]),
    bad("direction", ValueError, GRU, *ARRAYS, **STATES | {"direction": "up"}),
    bad("direction", ValueError, GRU, *ARRAYS, **STATES | {"direction": ["both"]}),
    bad("return_sequences", TypeError, GRU, *ARRAYS, **STATES | {"return_sequences": 1}),
    bad("input_weight", ValueError, GRU, ARRAYS[0][:, :8], *ARRAYS[1:], **STATES),
    bad("hidden_weight", ValueError, GRU, ARRAYS[0], ARRAYS[1].T, *ARRAYS[2:], **STATES),
    bad("hidden_weight", ValueError, GRU, ARRAYS[0], ARRAYS[1][0], **STATES),
    bad("hidden_weight", TypeError, GRU, ARRAYS[0], ARRAYS[1].astype("float32"), **STATES),
    bad("input_bias", ValueError, GRU, *ARRAYS[:2], SIX, ARRAYS[3], **STATES),
    bad("hidden_bias", TypeError, GRU, *ARRAYS[:3], **STATES),
    bad("hidden_bias", ValueError, GRU, *ARRAYS[:2], None, ARRAYS[3], **STATES),
    bad("backward_input_weight", ValueError, GRU, *ARRAYS, ARRAYS[0], **STATES),
    bad("hidden_weight", ValueError, LSTM, *ARRAYS[:2], **STATES),
    bad("bias", ValueError, LSTM, *MEMORY[:2], SIX, **STATES),
    bad("backward_bias", TypeError, LSTM, *MEMORY, *MEMORY[:2], **BOTH),
    bad("backward_input_weight", TypeError, GRU, *ARRAYS, **BOTH),
    bad("backward_hidden_bias", TypeError, GRU, *ARRAYS, *ARRAYS[:3], **BOTH),
    bad("table", ValueError, Embedding, SIX),
    bad("table", TypeError, Embedding, np.ones((3, 5), int)),
    bad("slope", TypeError, LeakyReLU, slope="0.1"),
    bad("slope", ValueError, LeakyReLU, slope=math.nan),
    bad("alpha", TypeError, ELU, alpha=True),
    bad("alpha", ValueError, ELU, alpha=10**400),
    bad("approximate", TypeError, GELU, approximate="tanh"),
    bad("axis", TypeError, Softmax, axis=1.0),
    bad("axis", TypeError, Softmax, axis=True),
    bad("axis", ValueError, LogSoftmax, axis=0),
    bad("k", TypeError, TopKGating, k=1.0),
    bad("epsilon", TypeError, LayerNorm, SIX, SIX, epsilon="1e-5"),
    bad("shift", TypeError, LayerNorm, SIX, SIX.astype("float32")),
    bad("variance", ValueError, BatchNorm, SIX, SIX, SIX, -np.abs(SIX)),
]


@pytest.mark.parametrize(("argument", "error", "build"), BAD)
def test_constructors_refuse(argument, error, build):
    with pytest.raises(error, match=f"^{argument}: expected .*, got "):
        build()


CONVOLUTION = Convolution(Input(), KERNEL, **whole())
UNPOOL = MaxUnpool(Fixed(Input(), PLANES), Input(), **pool())
RECURRENT = GRU(Input(), *ARRAYS, **STATES)
BAD_INPUTS = {
    "channels": (CONVOLUTION, PLANES[:, :3], ValueError, "x"),
    "axes": (CONVOLUTION, PLANES[..., 0], ValueError, "x"),
    "no place": (CONVOLUTION, PLANES[..., :0], ValueError, "x"),
    "smaller than the kernel": (CONVOLUTION, PLANES[..., :2], ValueError, "x"),
    "dtype": (CONVOLUTION, PLANES.astype("float32"), TypeError, "x"),
    "integers": (CONVOLUTION, PLANES.astype(int), TypeError, "x"),
    "list": (CONVOLUTION, PLANES.tolist(), TypeError, "x"),
    "transposed, channels": (
        TransposedConvolution(Input(), KERNEL, **whole()),
        PLANES,
        ValueError,
        "x",
    ),
    "transposed, nothing left": (
        TransposedConvolution(Input(), KERNEL, **whole(padding=[[4, 4], [0, 0]])),
        PLANES[:, :3],
        ValueError,
        "x",
    ),
    "pool, smaller than the window": (
        MaxPool(Input(), **pool()),
        PLANES[:, :, :1],
        ValueError,
        "x",
    ),
    "pool, axes": (MaxPool(Input(), **pool()), SERIES, ValueError, "x"),
    "pool, integers": (MaxPool(Input(), **pool()), PLANES.astype(int), TypeError, "x"),
    "average pool, smaller": (
        AveragePool(Input(), **pool(), count_padding=True),
        PLANES[..., :2],
        ValueError,
        "x",
    ),
    "unpool, shape": (UNPOOL, PLANES, ValueError, "values"),
    "unpool, dtype": (UNPOOL, PLANES.astype("float32"), TypeError, "values"),
    "global, rows": (GlobalAveragePool(Input(), keepdims=True), SIX[None], ValueError, "x"),
    "global, no place": (GlobalMaxPool(Input(), keepdims=True), PLANES[..., :0], ValueError, "x"),
    "gru, no time": (RECURRENT, SERIES[:, :0], ValueError, "x"),
    "gru, features": (RECURRENT, SERIES[..., :3], ValueError, "x"),
    "gru, axes": (RECURRENT, SERIES[0], ValueError, "x"),
    "gru, dtype": (RECURRENT, SERIES.astype("float32"), TypeError, "x"),
    "embedding, negative": (
        Embedding(Input(), KERNEL[0, 0]),
        np.array([[0, -1]]),
        ValueError,
        "ids",
    ),
    "embedding, too large": (
        Embedding(Input(), KERNEL[0, 0]),
        np.array([[0, 2]]),
        ValueError,
        "ids",
    ),
    "embedding, floating": (Embedding(Input(), KERNEL[0, 0]), np.array([[0.0]]), TypeError, "ids"),
    "flatten, a vector": (Flatten(Input()), SIX, ValueError, "x"),
    "channels first, integers": (ChannelsFirst(Input()), PLANES.astype(int), TypeError, "x"),
    "softmax, no channels": (Softmax(Input(), axis=1), SIX, ValueError, "x"),
    "softmax, nothing": (Softmax(Input()), PLANES[..., :0], ValueError, "x"),
}


@pytest.mark.parametrize("name", BAD_INPUTS)
def test_layers_refuse(name):
    layer, x, error, argument = BAD_INPUTS[name]
    with pytest.raises(error, match=f"^{argument}: expected .*, got "):
        layer(x)


def test_a_number_without_limits_is_asked_to_be_finite():
    with pytest.raises(ValueError, match=r"^slope: expected a finite number, got inf$"):
        LeakyReLU(Input(), slope=math.inf)


def test_functions_take_what_layers_check():
    with pytest.raises(ValueError, match=r"^mask: expected shape"):
        gru(SERIES, *ARRAYS, mask=np.ones((2, 5)))
    with pytest.raises(ValueError, match=r"^values: expected shape"):
        max_unpool(PLANES, np.zeros((2, 5, 1, 1), np.int64), PLANES.shape)
    with pytest.raises(ValueError, match=r"^x: expected 5 channels"):
        convolution(PLANES[:, :2], KERNEL, stride=(1, 1), padding=((0, 0),) * 2, dilation=(1, 1))
