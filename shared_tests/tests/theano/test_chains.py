"""Chains of Theano's layers, and models in files: what is saved, loaded and trained on."""

import theano_impl  # noqa: F401  (prepares what the first import of theano needs)

# isort: split
from functools import cache

import numpy as np
import pytest
import theano
import theano.tensor as T

import numpy_infer.model_file
from fourfold.agreement import assert_close
from numpy_infer.format.vocabulary import LAYERS
from shared_tests.fixtures import normal
from theano_impl import interchange
from theano_impl.interchange.records import RECORDS
from theano_impl.layers import activations as act
from theano_impl.layers.attention import PositionEmbedding, TimeStep
from theano_impl.layers.convolution import Convolution, TransposedConvolution
from theano_impl.layers.embedding import Embedding
from theano_impl.layers.normalization import (
    Affine,
    BatchNorm,
    GroupNorm,
    L2Normalize,
    LayerNorm,
    RMSNorm,
)
from theano_impl.layers.pooling import (
    AveragePool,
    GlobalAveragePool,
    GlobalMaxPool,
    MaxPool,
    MaxUnpool,
)
from theano_impl.layers.projection import Projection
from theano_impl.layers.recurrent import GRU, LSTM
from theano_impl.layers.shape import ChannelsFirst, ChannelsLast, Flatten, Permute, Reshape, Slice
from theano_impl.layers.space import Pad, Resize, Upsample
from theano_impl.sparse_projection import SparseProjection

IDS = np.array([[3, 1, 10, 0], [7, 0, 0, 0], [2, 2, 9, 4]])
PLANES = normal(2, 3, 13, 11, seed=1)
SEQUENCES = normal(2, 5, 7, seed=2)


def layer(kind, *sizes, **options):
    return lambda x, net: kind(x, *sizes, **options)


def unpool(place):
    return lambda x, net: MaxUnpool(x, net[place])


# {name: (input, layers)}
CHAINS = {
    "projection": (normal(3, 7, seed=3), [layer(Projection, 7, 5), layer(Projection, 5, 3)]),
    "projection of sequences": (SEQUENCES, [layer(Projection, 7, 3, bias=False)]),
    "convolution 1-d": (
        normal(2, 3, 23, seed=4),
        [
            layer(Convolution, 3, 5, [4], stride=[3], padding=[[2, 1]], dilation=[2]),
            layer(Convolution, 5, 2, [3], bias=False),
        ],
    ),
    "convolution 2-d": (
        PLANES,
        [
            layer(Convolution, 3, 5, [3, 2], padding=[[1, 2], [0, 3]], dilation=[2, 5]),
            layer(Convolution, 5, 2, [2, 3], stride=[3, 2], bias=False),
        ],
    ),
    "convolution in groups": (
        normal(2, 4, 13, 11, seed=13),
        [
            layer(Convolution, 4, 6, [3, 2], stride=[2, 1], groups=2),
            layer(Convolution, 6, 6, [2, 3], padding=[[1, 0], [0, 1]], groups=6, bias=False),
        ],
    ),
    "depthwise convolution 1-d": (
        normal(2, 3, 11, seed=14),
        [layer(Convolution, 3, 6, [3], dilation=[2], groups=3)],
    ),
    "one channel, one column": (
        normal(1, 1, 5, 1, seed=5),
        [layer(Convolution, 1, 1, [2, 1]), layer(TransposedConvolution, 1, 1, [3, 1])],
    ),
    "transposed 1-d": (
        normal(2, 3, 5, seed=6),
        [
            layer(TransposedConvolution, 3, 5, [4], stride=[3], padding=[[1, -2]], dilation=[2]),
            layer(TransposedConvolution, 5, 2, [2], padding=[[0, 1]], bias=False),
        ],
    ),
    "transposed 2-d": (
        normal(2, 3, 3, 4, seed=7),
        [
            layer(TransposedConvolution, 3, 5, [3, 2], stride=[2, 3], padding=[[1, -1], [0, 2]]),
            layer(TransposedConvolution, 5, 2, [2, 3], dilation=[3, 2], bias=False),
        ],
    ),
    "max pool 1-d": (normal(2, 3, 17, seed=8), [layer(MaxPool, [5], stride=[3], padding=[[2, 1]])]),
    "max pool 2-d": (
        PLANES,
        [layer(MaxPool, [3, 2], stride=[2, 3], padding=[[1, 0], [0, 1]]), layer(MaxPool, [2, 1])],
    ),
    "max unpool": (
        PLANES,
        [
            layer(Convolution, 3, 2, [2, 3]),
            layer(MaxPool, [2, 3], stride=[2, 4], padding=[[1, 0], [0, 2]]),
            layer(act.Tanh),
            layer(MaxPool, [2, 1], stride=[3, 1]),
            unpool(3),
            layer(Convolution, 2, 2, [1, 1]),
            unpool(1),
        ],
    ),
    "average pool": (
        PLANES,
        [
            layer(AveragePool, [3, 2], stride=[2, 3], padding=[[1, 2], [0, 1]]),
            layer(
                AveragePool, [2, 3], stride=[1, 2], padding=[[0, 1], [2, 1]], count_padding=False
            ),
        ],
    ),
    "global average pool": (PLANES, [layer(GlobalAveragePool), layer(Projection, 3, 5)]),
    "global pools that keep axes": (
        PLANES,
        [
            layer(MaxPool, [3, 2]),
            layer(GlobalMaxPool, keepdims=True),
            layer(Convolution, 3, 5, [1, 1]),
            layer(GlobalAveragePool, keepdims=True),
            layer(Flatten),
        ],
    ),
    "global max pool": (normal(2, 3, 5, seed=9), [layer(GlobalMaxPool)]),
    "batch norm": (normal(3, 7, seed=10), [layer(BatchNorm, 7, epsilon=0.01, momentum=0.3)]),
    "batch norm of planes": (PLANES, [layer(BatchNorm, 3)]),
    "layer norm": (SEQUENCES, [layer(LayerNorm, 7, epsilon=0.01)]),
    "group norm": (
        PLANES,
        [layer(Convolution, 3, 6, [2, 2]), layer(GroupNorm, 6, 3, epsilon=0.01)],
    ),
    "instance norm": (normal(2, 3, 5, seed=15), [layer(GroupNorm, 3, 3)]),
    "group norm of rows": (normal(3, 6, seed=16), [layer(GroupNorm, 6, 2)]),
    "rms norm": (SEQUENCES, [layer(RMSNorm, 7, epsilon=0.01)]),
    "unit norm": (SEQUENCES, [layer(L2Normalize, epsilon=2.5)]),
    "gru": (SEQUENCES, [layer(GRU, 7, 3), layer(GRU, 3, 5, bias=False, return_sequences=False)]),
    "gru backward": (SEQUENCES, [layer(GRU, 7, 1, direction="backward")]),
    "gru of one step": (normal(1, 1, 1, seed=12), [layer(GRU, 1, 3)]),
    "gru both ways": (SEQUENCES, [layer(GRU, 7, 3, direction="both", bias=False)]),
    "gru both ways, last": (
        SEQUENCES,
        [layer(GRU, 7, 3, direction="both", return_sequences=False)],
    ),
    "lstm": (SEQUENCES, [layer(LSTM, 7, 3), layer(LSTM, 3, 5, bias=False, return_sequences=False)]),
    "positions": (SEQUENCES, [layer(PositionEmbedding, 11, 7), layer(TimeStep, -2)]),
    "lstm backward": (SEQUENCES, [layer(LSTM, 7, 1, direction="backward")]),
    "lstm both ways": (SEQUENCES, [layer(LSTM, 7, 3, direction="both", return_sequences=False)]),
    "embedding": (
        IDS,
        [
            layer(Embedding, 11, 5),
            layer(GRU, 5, 3, direction="backward", return_sequences=False),
            layer(act.Dropout, 0.3),
            layer(Projection, 3, 2),
        ],
    ),
    "embedding without padding": (
        IDS,
        [
            layer(Embedding, 11, 5, padding=False),
            layer(ChannelsFirst),
            layer(Convolution, 5, 3, [2]),
            layer(ChannelsLast),
            layer(LayerNorm, 3),
            layer(Flatten),
        ],
    ),
    "components": (
        normal(3, 7, seed=11),
        [layer(Projection, 7, 5), layer(SparseProjection, 5, 3), layer(act.TopKGating, 2)],
    ),
    **{
        name: (2 * SEQUENCES, [one])
        for name, one in {
            "relu": layer(act.ReLU),
            "relu6": layer(act.ReLU6),
            "sigmoid": layer(act.Sigmoid),
            "tanh": layer(act.Tanh),
            "silu": layer(act.SiLU),
            "softplus": layer(act.Softplus),
            "selu": layer(act.SELU),
            "hard sigmoid": layer(act.HardSigmoid),
            "hard swish": layer(act.HardSwish),
            "mish": layer(act.Mish),
            "log sigmoid": layer(act.LogSigmoid),
            "softsign": layer(act.Softsign),
            "clip": layer(act.Clip, minimum=-0.5, maximum=1.25),
            "scale and shift": layer(act.ScaleShift, scale=0.3, shift=-1.5),
            "reshape": layer(Reshape, shape=[7, 1, -1]),
            "permute": layer(Permute, order=[2, 1]),
            "slice": layer(Slice, start=2, stop=5),
            "slice of channels": layer(Slice, start=1, stop=4, axis=1),
            "pad": layer(Pad, padding=[[2, -1]], value=0.5),
            "reflecting pad": layer(Pad, padding=[[3, 2]], mode="reflect"),
            "edge pad": layer(Pad, padding=[[-2, 3]], mode="edge"),
            "upsample": layer(Upsample, scale=[2]),
            "linear upsample": layer(Upsample, scale=[3], mode="linear"),
            "resize": layer(Resize, size=[5]),
            "resize to corners": layer(Resize, size=[9], mode="linear", corners=True),
            "affine": layer(Affine, 5),
            "affine without a shift": layer(Affine, 5, bias=False, fixed=True),
            "stochastic depth": layer(act.StochasticDepth, 0.3),
            "prelu": layer(act.PReLU, 5),
            "prelu of one slope": layer(act.PReLU),
            "leaky relu": layer(act.LeakyReLU, slope=0.3),
            "elu": layer(act.ELU, alpha=0.7),
            "gelu": layer(act.GELU),
            "gelu by tanh": layer(act.GELU, approximate=True),
            "softmax": layer(act.Softmax),
            "softmax over channels": layer(act.Softmax, axis=1),
            "log softmax": layer(act.LogSoftmax),
            "log softmax over channels": layer(act.LogSoftmax, axis=1),
        }.items()
    },
}


def symbol(value, dtype, broadcastable=False):
    """A variable for a value; broadcastable: one that knows which axes are of length one."""
    kind = dtype if value.dtype.kind == "f" else value.dtype
    return T.TensorType(kind, [broadcastable and n == 1 for n in value.shape])()


def built(name, dtype):
    """A chain in which every weight differs, and a value for its input."""
    value, layers = CHAINS[name]
    x = symbol(value, dtype, broadcastable=True)
    net = []
    with theano.config.change_flags(floatX=dtype):
        for one in layers:
            net.append(one(net[-1].output if net else x, net))
    for seed, weight in enumerate(weights(net)):
        array = normal(*weight.get_value().shape, seed=seed).astype(dtype)
        array = array**2 if weight.name == "variance" else array
        if weight.name == "table":
            array[0] = 0
        weight.set_value(array)
    return net, value.astype(x.dtype)


def weights(net):
    return [weight for one in net for weight in (*one.params, *one.buffers)]


def trained(net):
    return [param for one in net for param in one.params]


def compiled(net, optimizer):
    """The output, and the gradients of a sum that weighs its entries differently."""
    y, x = net[-1].output, net[0].inputs[0]
    factor = T.cos(T.arange(1, y.size + 1)).astype(y.dtype).reshape(y.shape, ndim=y.ndim)
    sources = trained(net) + ([x] if x.dtype in T.float_dtypes else [])
    gradients = T.grad(T.sum(y * factor), sources) if sources else []
    return theano.function([x], [y, *gradients], mode=theano.Mode(optimizer=optimizer))


@cache
def prepared(name, dtype):
    """`built`, and its function; in float64 with all rewrites, which take seconds for a scan."""
    net, x = built(name, dtype)
    rewritten = dtype == "float64" and (
        name.endswith(" backward") or not name.startswith(("gru", "lstm"))
    )
    return net, x, compiled(net, "fast_run" if rewritten else "merge")


def kinked(kind, *kinks, **options):
    x = T.dmatrix()
    with theano.config.change_flags(floatX="float64"):
        y = kind(x, **options).output
    found = theano.function([x], T.grad(T.sum(y), x), mode=theano.Mode(optimizer="fast_compile"))
    return found(np.array(kinks)[:, None]).ravel().tolist()


def test_gradients_at_kinks():
    assert kinked(act.HardSigmoid, -3.0, 3.0) == [0, 0]
    assert kinked(act.HardSwish, -3.0, 3.0) == [0, 1]
    assert kinked(act.Clip, -1.0, 2.0, minimum=-1, maximum=2) == [0, 0]
    assert kinked(act.PReLU, 0.0) == [0.25]


def test_every_layer_is_in_a_chain():
    used = {type(one).__name__ for name in CHAINS for one in built(name, "float64")[0]}
    combine = {name for name, row in LAYERS.items() if row.combines}  # they make a graph
    assert used == {*RECORDS, "SparseProjection"} - combine


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", CHAINS)
def test_chain_travels(name, dtype, tmp_path):
    net, x, function = prepared(name, dtype)
    path, again = tmp_path / "model", tmp_path / "again"
    interchange.save_model(net, path)
    loaded = interchange.load_model(path)
    assert loaded[0].inputs[0].ndim <= x.ndim
    loaded = interchange.load_model(path, inputs=[symbol(x, dtype)])
    assert [one.config for one in loaded] == [one.config for one in net]
    before, after = interchange.to_arrays(net), interchange.to_arrays(loaded)
    assert list(before) == list(after)
    for key, array in before.items():
        assert after[key].dtype == dtype
        np.testing.assert_array_equal(after[key], array, err_msg=key)
    interchange.save_model(loaded, again)
    assert again.read_bytes() == path.read_bytes()

    bound = 1e-12 if dtype == "float64" else 1e-5
    found = function(x)
    for one, other in zip(found, compiled(loaded, "merge")(x), strict=True):
        assert one.dtype == other.dtype == dtype
        assert_close(other, one, bound, name)
    inferred = numpy_infer.model_file.load_model(path)[-1](x)
    assert_close(found[0], inferred, bound, name)


@pytest.mark.parametrize("name", CHAINS)
def test_gradient_is_that_of_differences(name):
    """Along one direction in which everything moves, the padding's row apart."""
    net, x, function = prepared(name, "float64")
    value, *found = function(x)
    factor = np.cos(np.arange(1.0, value.size + 1)).reshape(value.shape)
    params = trained(net)
    start = [param.get_value() for param in params] + [x] * (x.dtype == "float64")
    directions = [normal(*one.shape, seed=50 + seed) for seed, one in enumerate(start)]
    if name == "embedding":
        assert not found[0][0].any()
        directions[0][0] = 0
    step, sides = 1e-6, []
    for sign in (1, -1):
        points = [one + sign * step * d for one, d in zip(start, directions, strict=True)]
        for param, point in zip(params, points, strict=False):
            param.set_value(point)
        sides.append(np.sum(factor * function(points[-1] if x.dtype == "float64" else x)[0]))
    for param, point in zip(params, start, strict=False):
        param.set_value(point)
    wanted = (sides[0] - sides[1]) / (2 * step)
    got = sum(np.sum(one * d) for one, d in zip(found, directions, strict=True))
    assert abs(got - wanted) <= 1e-6 * max(1, abs(wanted))
