"""Theano's layers, beyond what a file holds of them: training, ties, masks."""

import theano_impl  # noqa: F401  (prepares what the first import of theano needs)

# isort: split
import numpy as np
import pytest
import theano
import theano.tensor as T

from fourfold.agreement import assert_close
from shared_tests.fixtures import normal
from theano_impl import interchange
from theano_impl.layers.activations import Dropout, ReLU, StochasticDepth
from theano_impl.layers.convolution import Convolution
from theano_impl.layers.normalization import BatchNorm
from theano_impl.layers.pooling import AveragePool, GlobalMaxPool, MaxPool, MaxUnpool
from theano_impl.layers.recurrent import GRU, gru
from theano_impl.layers.shape import ChannelsFirst, ChannelsLast, Flatten
from theano_impl.support.layer import Layer

PLANES = normal(2, 3, 13, 11, seed=1)
SEQUENCES = normal(2, 5, 7, seed=2)


@pytest.mark.parametrize(
    "make", [lambda x: MaxPool(x, [3, 2], padding=[[1, 0], [0, 0]]), lambda x: GlobalMaxPool(x)]
)
def test_of_equal_entries_the_first_gets_the_gradient(make):
    x = T.dtensor4()
    pool = make(x)
    y, gradient = theano.function([x], [pool.output, T.grad(T.sum(pool.output), x)])(
        np.zeros((1, 1, 5, 4))
    )
    wanted = np.zeros((5, 4))
    if isinstance(pool, MaxPool):
        wanted[0, [0, 2]] = wanted[2, [0, 2]] = 1
    else:
        wanted[0, 0] = 1
    np.testing.assert_array_equal(gradient[0, 0], wanted)
    assert not y.any()


def test_relu_has_no_gradient_at_zero():
    x = T.dvector()
    gradient = theano.function([x], T.grad(T.sum(ReLU(x).output), x))
    np.testing.assert_array_equal(gradient([-1.0, 0, 1]), [0, 0, 1])


def test_largest_of_nan_and_of_minus_infinity():
    x = T.dtensor3()
    pool = MaxPool(x, [3], stride=[2], padding=[[1, 1]])
    value = np.array([[[-np.inf, -np.inf, 2, np.nan, 1]]])
    y, positions = theano.function([x], [pool.output, pool.positions])(value)
    np.testing.assert_array_equal(y, [[[-np.inf, np.nan, np.nan]]])
    np.testing.assert_array_equal(positions, [[[0, 3, 3]]])


def test_no_window_is_of_padding_alone():
    x = T.dtensor3()
    for make in (
        MaxPool,
        lambda *args, **options: AveragePool(*args, count_padding=False, **options),
    ):
        with pytest.raises(ValueError, match="padding: expected less than the size"):
            make(x, [2], padding=[[0, 2]])
    pool = AveragePool(x, [2], padding=[[2, 0]])
    y = theano.function([x], pool.output)(np.array([[[3.0, 1]]]))
    np.testing.assert_array_equal(y, [[[0, 2]]])


def test_a_batch_may_be_empty():
    x = T.dtensor3()
    pool = MaxPool(x, [2])
    same = MaxUnpool(Convolution(pool.output, 3, 3, [1]).output, pool).output
    mean = AveragePool(same, [3], padding=[[1, 0]], count_padding=False).output
    outputs = [GlobalMaxPool(mean).output, Flatten(mean).output, GRU(mean, 2, 5).output]
    shapes = [one.shape for one in theano.function([x], outputs)(np.zeros((0, 3, 7)))]
    assert shapes == [(0, 3), (0, 6), (0, 3, 5)]


def test_batch_norm_trains_on_the_batch_and_keeps_running_statistics():
    x, value = T.dtensor4(), PLANES
    norm = BatchNorm(x, 3, epsilon=0.01, momentum=0.3, training=True)
    names = ("mean", "variance")
    before = [getattr(norm, name).get_value() for name in names]
    y = theano.function([x], norm.output, updates=norm.updates)(value)
    by_channel = value.transpose(1, 0, 2, 3).reshape(3, -1)
    means, variances = by_channel.mean(1), by_channel.var(1)
    wanted = (value - means[:, None, None]) / np.sqrt(variances + 0.01)[:, None, None]
    assert_close(y, wanted, 1e-12, "output")
    statistics = (means, by_channel.var(1, ddof=1))
    for name, old, new in zip(names, before, statistics, strict=True):
        assert_close(getattr(norm, name).get_value(), 0.7 * old + 0.3 * new, 1e-12, name)
    one = theano.function([x], norm.output)
    with pytest.raises(AssertionError, match="x: expected more than one entry per channel"):
        one(value[:1, :, :1, :1])


def test_dropout_drops_when_training_alone():
    x, value = T.dmatrix(), np.ones((200, 50))
    assert Dropout(x, 0.3).output is x
    function = theano.function([x], Dropout(x, 0.3, training=True, seed=1).output)
    first, second = function(value), function(value)
    np.testing.assert_allclose(np.unique(first), [0, 1 / 0.7])
    assert abs(np.mean(first == 0) - 0.3) < 0.02
    assert not np.array_equal(first, second)


def test_stochastic_depth_drops_whole_rows_when_training_alone():
    x, value = T.dtensor3(), np.ones((2000, 3, 2))
    assert StochasticDepth(x, 0.3).output is x
    function = theano.function([x], StochasticDepth(x, 0.3, training=True, seed=1).output)
    first, second = function(value), function(value)
    rows = first[:, 0, 0]
    np.testing.assert_allclose(np.unique(first), [0, 1 / 0.7])
    np.testing.assert_array_equal(first, np.broadcast_to(rows[:, None, None], first.shape))
    assert abs(np.mean(rows == 0) - 0.3) < 0.05
    assert not np.array_equal(first, second)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_dropout_of_another_dtype_than_floatx_compiles_quietly(dtype, caplog):
    other = "float64" if dtype == "float32" else "float32"
    with theano.config.change_flags(floatX=dtype):
        x = T.matrix()
        y = Dropout(x, 0.3, training=True, seed=1).output
    with theano.config.change_flags(floatX=other):
        found = theano.function([x], y)(np.ones((20, 10), dtype))
    assert found.dtype == dtype
    assert 0 < np.mean(found == 0) < 1
    assert not caplog.records


@pytest.mark.parametrize("backward", [False, True])
def test_masked_gru_stands_still(backward):
    x, mask = T.dtensor3(), T.dmatrix()
    arrays = [normal(*shape, seed=30 + len(shape)) for shape in [(7, 9), (3, 9), (9,), (9,)]]
    symbols = [T.as_tensor_variable(one) for one in arrays]
    function = theano.function([x, mask], gru(x, *symbols, backward=backward, mask=mask))
    lengths = (3, 5)
    states = function(SEQUENCES, np.arange(5) < np.array(lengths)[:, None])
    for row, length in enumerate(lengths):
        alone = function(SEQUENCES[row : row + 1, :length], np.ones((1, length)))[0]
        assert_close(states[row, :length], alone, 1e-15, f"row {row}")
        rest = np.zeros(3) if backward else alone[-1]
        assert_close(states[row, length:], np.tile(rest, (5 - length, 1)), 1e-15, "padding")


def test_layers_of_a_component_have_its_name():
    class Encoder(Layer):
        def __init__(self, x):
            super().__init__(x, config={})
            norm = self.add_layer("encoder.0", BatchNorm(x, 7, training=True))
            self.output = self.add_layer(
                "gru", GRU(norm.output[:, None, :], 7, 3, bias=False)
            ).output

    model = Encoder(T.dmatrix())
    wanted = ["encoder.0.scale", "encoder.0.shift", "gru.input_weight", "gru.hidden_weight"]
    assert [param.name for param in model.params] == wanted
    assert [*interchange.to_arrays(model)] == [*wanted, "encoder.0.mean", "encoder.0.variance"]
    assert [shared.name for shared, _ in model.updates] == ["encoder.0.mean", "encoder.0.variance"]


@pytest.mark.parametrize("kind", [ChannelsFirst, ChannelsLast])
def test_channels_are_an_axis_of_their_own(kind):
    with pytest.raises(ValueError, match=r"^x\.ndim: expected .* 2.*, got 1"):
        kind(T.dvector("x"))
