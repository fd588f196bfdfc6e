"""Chains of Keras's layers, into model files and out again."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers as k
from keras.src.applications.convnext import LayerScale

import numpy_infer
from fourfold.agreement import VALUE_TOLERANCE, assert_close
from fourfold.definition import DTYPES, upstream
from fourfold.project import cells, model_name
from numpy_infer.format.vocabulary import LAYERS
from shared_tests.fixtures import normal
from shared_tests.support.floatx import floatx
from tf2_impl import interchange
from tf2_impl import layers as own
from tf2_impl.interchange.records import RECORDS
from tf2_impl.layers.convolution import Convolution, TransposedConvolution
from tf2_impl.layers.pooling import (
    AveragePool,
    GlobalAveragePool,
    GlobalMaxPool,
    MaxPool,
    MaxUnpool,
)
from tf2_impl.padded_embedding import PaddedEmbedding
from tf2_impl.sparse_projection import SparseProjection
from tf2_impl.top_k_gating import MixtureOfExperts

ROWS = normal(5, 7, seed=1) * 3
SERIES = normal(3, 17, 2, seed=2)
IMAGES = normal(3, 11, 13, 2, seed=3)
IDS = np.array([[3, 1, 10, 0], [7, 0, 0, 0], [2, 2, 9, 4]])

# Each layer is made anew for each dtype.
ACTIVATIONS = [
    *(
        lambda name=name: k.Dense(5, activation=name)
        for name in ("relu", "sigmoid", "tanh", "silu", "softplus", "selu", "leaky_relu", "elu")
    ),
    *(lambda name=name: k.Dense(5, activation=name) for name in ("softmax", "log_softmax")),
    lambda: k.Dense(5, activation=own.gelu),
    lambda: k.Dense(5, activation=own.gelu_tanh, use_bias=False),
    lambda: k.Dense(5, activation=k.LeakyReLU(0.3)),
    *(lambda name=name: k.Activation(name) for name in ("relu", "relu6", "linear")),
    *(
        lambda name=name: k.Dense(5, activation=name)
        for name in ("hard_sigmoid", "hard_silu", "mish", "log_sigmoid", "softsign", "hard_tanh")
    ),
    lambda: k.ReLU(),
    lambda: k.ReLU(6.0),
    lambda: k.ReLU(0.5),
    lambda: own.Clip(-0.25, 0.75),
    lambda: k.PReLU(),
    lambda: k.PReLU(shared_axes=[1]),
    lambda: own.PReLU(7),
    lambda: k.LeakyReLU(0.7),
    lambda: own.LeakyReLU(0.7),
    lambda: k.ELU(0.3),
    lambda: k.Softmax(),
    lambda: k.Softmax(axis=1),
    lambda: own.LogSoftmax(1),
    lambda: k.UnitNormalization(),
    lambda: own.L2Normalize(epsilon=7.0),
    lambda: own.TopKGating(3),
    lambda: k.LayerNormalization(epsilon=0.1),
    lambda: k.LayerNormalization(scale=False),
    lambda: k.LayerNormalization(center=False, scale=False),
    lambda: k.BatchNormalization(epsilon=0.1, momentum=0.7),
    lambda: k.BatchNormalization(axis=1, center=False, scale=False),
    lambda: k.RMSNormalization(epsilon=0.1),
    lambda: [k.Dense(6), k.GroupNormalization(3, epsilon=0.1)],
    lambda: k.Dropout(0.3),
    lambda: k.Dropout(0.3, noise_shape=(None, 1)),
    lambda: own.StochasticDepth(0.3),
    lambda: own.Affine(),
    lambda: own.Affine(use_bias=False, fixed=True),
    lambda: k.Normalization(mean=[0.3] * 7, variance=[0.5, 2, 1, 3, 0.1, 0, 1]),
    lambda: LayerScale(0.3, 7),
]
IMAGE_LAYERS = [
    lambda: [
        *(k.Conv2D(3, 2), own.Slice(1, 3), k.Reshape((10, -1)), k.Permute((2, 1))),
        *(k.Dense(3), k.Flatten()),
    ],
    lambda: [k.GlobalAveragePooling2D(), k.Reshape((1, 1, 2)), k.Conv2D(3, 1), k.Flatten()],
    lambda: [own.Affine(), k.Normalization(mean=0.3, variance=2.0), k.Conv2D(3, 2)],
    lambda: [k.Dropout(0.3, noise_shape=(None, 1, 1, 1)), k.Conv2D(3, 2), LayerScale(0.3, 3)],
    lambda: [k.Flatten(), LayerScale(0.3, 286), k.Normalization(mean=0.3, variance=2), k.Dense(3)],
    lambda: k.Conv2D(3, (2, 5), strides=(3, 2)),
    lambda: k.Conv2D(3, (2, 5), strides=(3, 2), padding="same", activation="tanh"),
    lambda: k.Conv2D(3, (2, 5), dilation_rate=(3, 1), padding="same", use_bias=False),
    lambda: [k.ZeroPadding2D(((1, 2), (0, 3))), k.Conv2D(3, (2, 3), strides=(3, 2))],
    lambda: [k.ZeroPadding2D(1), k.ReLU(), k.ZeroPadding2D(((0, 2), (1, 0)))],
    lambda: [k.ZeroPadding2D(1), k.AveragePooling2D(3, padding="same"), k.Cropping2D(1)],
    lambda: [k.ZeroPadding2D(1), k.MaxPooling2D(2), k.Conv2D(3, 2)],
    lambda: [k.Cropping2D(((1, 0), (2, 3))), k.Conv2D(3, 2), own.Pad([[1, 2], [0, 3]], value=0.5)],
    lambda: [k.UpSampling2D((2, 3)), k.Conv2D(3, 2), own.Upsample([2, 1], "linear")],
    lambda: [own.Resize([7, 15]), own.Resize([12, 5], "linear"), k.Conv2D(3, 2)],
    lambda: own.Resize([3, 16], "linear", corners=True),
    lambda: [own.Pad([[-1, 3], [2, 0]], "reflect"), own.Pad([[2, 0], [-3, 1]], "edge")],
    lambda: [k.ZeroPadding2D(1), k.Flatten(), k.Dense(3)],
    lambda: [k.ZeroPadding2D((1, 0)), k.ZeroPadding2D(1), k.Conv2D(3, 2, padding="same")],
    lambda: Convolution(3, (2, 3), strides=(3, 1), dilation_rate=(2, 5)),
    lambda: k.Conv2D(4, (2, 3), groups=2, use_bias=False),
    lambda: [k.Conv2D(6, 1), k.Conv2D(9, (2, 3), strides=(2, 1), groups=3, padding="same")],
    lambda: Convolution(4, (2, 3), strides=(3, 1), dilation_rate=(2, 5), groups=2),
    lambda: [
        k.Conv2D(6, 1),
        Convolution(9, (2, 3), strides=(1, 1), dilation_rate=(1, 2), groups=3),
    ],
    lambda: k.DepthwiseConv2D((2, 3), depth_multiplier=3, activation="tanh"),
    lambda: k.DepthwiseConv2D((2, 3), strides=2, padding="same", use_bias=False),
    lambda: k.DepthwiseConv2D(3, strides=2, dilation_rate=2),
    lambda: k.DepthwiseConv2D((3, 2), strides=2, dilation_rate=(1, 3), padding="same"),
    lambda: [k.ZeroPadding2D(((0, 1), (0, 1))), k.DepthwiseConv2D(3, strides=2), k.ReLU(6)],
    lambda: k.SeparableConv2D(5, (2, 3), padding="same", depth_multiplier=3, activation="relu"),
    lambda: [k.ReLU(), k.SeparableConv2D(5, 3, strides=2, use_bias=False)],
    lambda: k.Conv2DTranspose(3, (3, 2), strides=(2, 5)),
    lambda: k.Conv2DTranspose(3, (5, 2), strides=(2, 3), padding="same", activation="relu"),
    lambda: k.Conv2DTranspose(3, (5, 3), strides=(2, 3), padding="same", output_padding=(0, 1)),
    lambda: k.Conv2DTranspose(3, (5, 3), strides=(2, 3), output_padding=(1, 2), use_bias=False),
    lambda: TransposedConvolution(
        3, (3, 5), ((2, 1), (1, -4)), strides=(2, 3), dilation_rate=(3, 2)
    ),
    lambda: k.MaxPooling2D((2, 3), strides=(3, 1)),
    lambda: k.MaxPooling2D((2, 5), strides=(3, 2), padding="same"),
    lambda: MaxPool((3, 5), (2, 1), ((2, 1), (0, 3))),
    lambda: k.AveragePooling2D((2, 3)),
    lambda: k.AveragePooling2D((2, 5), strides=(3, 2), padding="same"),
    lambda: AveragePool((3, 5), (2, 1), ((2, 1), (0, 3))),
    lambda: [k.ZeroPadding2D(((2, 1), (0, 3))), k.AveragePooling2D((3, 5), strides=(2, 1))],
    lambda: [k.Conv2D(3, 2), k.GlobalAveragePooling2D(), k.Dense(3)],
    lambda: [k.Conv2D(3, 2), k.GlobalMaxPooling2D(keepdims=True)],
    lambda: GlobalAveragePool(keepdims=True),
    lambda: [GlobalMaxPool(), k.Dense(3)],
    lambda: [k.BatchNormalization(momentum=0.7), k.Conv2D(3, 2)],
    lambda: [own.BatchNorm(momentum=0.7), k.ReLU()],
    lambda: [k.Conv2D(6, 2), k.GroupNormalization(3, epsilon=0.1)],
    lambda: k.GroupNormalization(-1, epsilon=0.1),
    lambda: [k.Conv2D(6, 2), k.GroupNormalization(2, scale=False), own.GroupNorm(3)],
    lambda: k.PReLU(shared_axes=[1, 2]),
    lambda: [k.Conv2D(3, 2), k.PReLU(shared_axes=[1, 2, 3]), own.Flatten(), own.PReLU()],
    lambda: [k.Conv2D(3, 2), k.Flatten(), k.PReLU(shared_axes=[1]), k.PReLU(), k.Dense(3)],
    lambda: [k.Conv2D(3, 2), k.Softmax(), k.Activation("log_softmax"), k.Identity()],
    lambda: [k.Conv2D(3, 2, activation="relu"), own.Flatten(), k.Dense(3)],
    lambda: [k.MaxPooling2D(2), k.Flatten(), k.Dense(3), k.Dense(2)],
    lambda: [
        *(k.Conv2D(3, 2), k.Flatten(), k.ReLU(), k.Dropout(0.0), k.BatchNormalization()),
        *(k.LayerNormalization(), own.L2Normalize(), k.Softmax(), k.Dense(3, use_bias=False)),
    ],
    lambda: [k.BatchNormalization(), k.Flatten(), k.Dense(3)],
    lambda: [
        k.Conv2D(3, 2),
        k.Dense(5),
        k.BatchNormalization(),
        k.LayerNormalization(),
        k.Conv2D(2, 2),
    ],
    lambda: [
        own.ChannelsLast(),
        k.Dense(3),
        k.ReLU(),
        own.ChannelsFirst(),
        own.Flatten(),
        k.Dense(2),
    ],
    lambda: keras.Sequential([keras.Sequential([k.Conv2D(3, 2), k.ReLU()]), k.MaxPooling2D(2)]),
]
SERIES_LAYERS = [
    lambda: k.Conv1D(3, 5, dilation_rate=3, padding="same"),
    lambda: k.Conv1D(3, 5, strides=2, padding="causal"),
    lambda: k.Conv1D(3, 4, strides=3, padding="same"),
    lambda: [k.ZeroPadding1D((2, 3)), k.Conv1D(3, 5, strides=3)],
    lambda: [k.ZeroPadding1D((2, 3)), k.GRU(3, return_sequences=True), k.Cropping1D((1, 2))],
    lambda: [k.UpSampling1D(2), own.Upsample([3], "linear", corners=True), k.Conv1D(3, 2)],
    lambda: [own.Pad([[2, 3]], "edge"), own.Pad([[2, 3]], "reflect"), k.Conv1D(3, 2)],
    lambda: Convolution(3, [5], strides=[3], dilation_rate=[2], use_bias=False),
    lambda: k.Conv1D(4, 3, groups=2, dilation_rate=2, padding="causal"),
    lambda: Convolution(4, [3], strides=[2], dilation_rate=[3], groups=2),
    lambda: k.DepthwiseConv1D(3, depth_multiplier=3, padding="same"),
    lambda: k.SeparableConv1D(5, 3, strides=2, padding="same"),
    lambda: k.Conv1DTranspose(3, 5, strides=3, padding="same"),
    lambda: k.Conv1DTranspose(3, 2, strides=3, padding="same"),
    lambda: TransposedConvolution(3, [5], [(1, -4)], strides=[3], dilation_rate=[1]),
    lambda: k.MaxPooling1D(3, padding="same"),
    lambda: MaxPool([3], [2], [(2, 0)]),
    lambda: k.AveragePooling1D(5, strides=2, padding="same"),
    lambda: [k.MaxPooling1D(2), k.GlobalMaxPooling1D()],
    lambda: [k.Conv1D(3, 2), k.GlobalAveragePooling1D(keepdims=True), k.BatchNormalization()],
    lambda: [k.Conv1D(3, 2), k.GRU(5, return_sequences=True), k.Conv1D(2, 3)],
]
RECURRENT = [
    *(
        lambda kind=kind, bias=bias, sequences=sequences, backwards=backwards: kind(
            3, use_bias=bias, return_sequences=sequences, go_backwards=backwards
        )
        for kind in (k.GRU, k.LSTM)
        for bias, sequences, backwards in (
            (True, False, False),
            (False, True, False),
            (True, True, False),
            (True, False, True),
            (False, False, True),
        )
    ),
    lambda: own.BackwardGRU(3),
    lambda: own.BackwardLSTM(3),
    lambda: [k.Bidirectional(k.LSTM(3, return_sequences=True)), k.LSTM(2)],
    lambda: k.Bidirectional(k.LSTM(3, use_bias=False)),
    lambda: k.Bidirectional(k.GRU(3)),
    lambda: k.Bidirectional(k.GRU(3, return_sequences=True, use_bias=False)),
    lambda: [k.Dense(3), k.BatchNormalization(), k.GRU(5)],
    lambda: [k.RMSNormalization(), k.Dense(4), k.GroupNormalization(2), own.GroupNorm(17, axis=1)],
    lambda: [k.Dense(3), k.PReLU(shared_axes=[1]), k.GRU(5), own.PReLU(5, axis=1)],
    lambda: [k.Dense(3), k.Softmax(axis=1), k.Flatten(), k.Dense(2)],
]
EMBEDDED = [
    lambda: [k.Embedding(11, 5), k.GRU(3), k.Dense(2)],
    lambda: [own.Embedding(11, 5), k.Bidirectional(k.GRU(3)), k.Dense(2)],
    lambda: [k.Embedding(11, 5, mask_zero=True), k.Conv1D(3, 2), k.GlobalMaxPooling1D()],
    lambda: [own.Embedding(11, 5), k.Flatten(), k.Dense(3)],
    lambda: [own.Embedding(11, 5), own.Flatten(), k.Dense(3)],
    lambda: [PaddedEmbedding(11, 5, unit_norm=True), k.Dense(3)],
]
OTHERS = [lambda: [SparseProjection(7, 5), k.ReLU(), MixtureOfExperts(5, 3, 4, 2)]]


def hourglass_1d(x):
    given = k.Conv1D(3, 3)(x)
    inner = k.Activation("tanh")(k.MaxPooling1D(2)(given))
    pooled = k.ReLU()(MaxPool([3], [5], [(2, 1)])(inner))
    back = MaxUnpool([3], [5], [(2, 1)])([pooled, inner])
    return MaxUnpool([2], [2], [(0, 0)])([back, given])


def hourglass_2d(x):
    inner = keras.Sequential([k.Conv2D(3, 1), k.ReLU(), k.Conv2D(2, 1)])
    pooled = inner(k.MaxPooling2D((2, 3), (3, 4))(x))
    back = MaxUnpool((2, 3), (3, 4), ((0, 0), (0, 0)))([pooled, x])
    return k.Conv2D(2, 2)(back)


# Each: an input, whether it is channels in the file, what makes the layers.
CHAINS = [
    *((ROWS, False, make) for make in ACTIVATIONS + OTHERS),
    *((IMAGES, True, make) for make in [*IMAGE_LAYERS, lambda: hourglass_2d]),
    *((SERIES, True, make) for make in [*SERIES_LAYERS, lambda: hourglass_1d]),
    *((SERIES, False, make) for make in RECURRENT),
    *((IDS, False, make) for make in EMBEDDED),
]


# What Keras can say itself, and so is to be said by its own layers again.
NATIVE = [
    lambda: k.Conv2D(3, (2, 5), strides=(3, 2)),
    lambda: k.Conv2D(3, (2, 5), padding="same"),
    lambda: [k.ZeroPadding2D(((1, 2), (0, 3))), k.Conv2D(3, (2, 3), strides=(3, 2))],
    lambda: [k.Conv2D(4, 1), k.Conv2D(6, (2, 3), groups=2, padding="same")],
    lambda: k.DepthwiseConv2D((2, 3), strides=2, depth_multiplier=3),
    lambda: k.Conv2DTranspose(3, (5, 2), strides=(2, 3), padding="same"),
    lambda: k.Conv2DTranspose(3, (5, 3), strides=(2, 3), padding="same", output_padding=(0, 1)),
    lambda: k.Conv2DTranspose(3, (5, 3), strides=(2, 3), output_padding=(0, 1)),
    lambda: [k.BatchNormalization(momentum=0.7), k.MaxPooling2D((2, 3)), k.Conv2D(3, 1)],
    lambda: [k.AveragePooling2D(2), k.Conv2D(2, 2), k.GlobalAveragePooling2D(keepdims=True)],
    lambda: [k.Conv2D(2, 2), k.GlobalMaxPooling2D(), k.Dense(3), k.Softmax(), k.Dropout(0.25)],
]


@pytest.fixture(autouse=True)
def policy():
    """The dtype of layers that are not told theirs."""
    yield keras.config.set_dtype_policy
    keras.config.set_dtype_policy("float32")


def build(make, x: np.ndarray) -> keras.Model:
    """A model in which every weight and running statistic differs from every other."""
    start = keras.Input(x.shape[1:], dtype=x.dtype.name)
    made = make()
    if callable(made) and not isinstance(made, keras.Layer):
        model = keras.Model(start, made(start))
    else:
        layers = made if isinstance(made, list) else [made]
        model = keras.Sequential([start, *layers])
        if not model.weights:  # without any, a file has no dtype
            model = keras.Sequential([start, k.BatchNormalization(), *layers])
    for number, variable in enumerate(model.variables):
        if variable.dtype.startswith("float"):
            values = normal(*variable.shape, seed=number) / 2
            variable.assign(values**2 + 0.1 if variable.name == "moving_variance" else values)
    for layer in model.layers:
        if isinstance(layer, own.Embedding):
            layer.table.assign(layer.table * (np.arange(11) > 0)[:, None])
    return model


def turned(x: np.ndarray, channels: bool, source: int, target: int) -> np.ndarray:
    return np.moveaxis(x, source, target) if channels and x.ndim > 2 else x


def trained(model: keras.Model, x: np.ndarray) -> dict[str, np.ndarray]:
    """The input's gradient, and the weights that one step of training has changed."""
    before, given = interchange.to_arrays(model), tf.constant(x)
    weights = model.trainable_variables
    with tf.GradientTape() as tape:
        tape.watch(given)
        output = model(given, training=True)
        loss = tf.reduce_sum(output * upstream(tuple(output.shape)).astype(output.dtype.name))
    sources = [given] if x.dtype.kind == "f" else []
    found = tape.gradient(
        loss,
        [*sources, *(weight.value for weight in weights)],
        unconnected_gradients=tf.UnconnectedGradients.ZERO,
    )
    for weight, gradient in zip(weights, found[len(sources) :], strict=True):
        weight.assign_sub(0.1 * tf.convert_to_tensor(gradient))
    after = interchange.to_arrays(model)
    changed = {name: after[name] for name in after if not np.array_equal(after[name], before[name])}
    return changed | ({"input": found[0].numpy()} if sources else {})


def name_of(make) -> str:
    """The classes of the layers, with their activations: `Dense_relu6`."""
    made = make()
    if isinstance(made, list):
        return "-".join(map(class_of, made))
    return getattr(made, "__name__", class_of(made))


def class_of(layer) -> str:
    function = getattr(layer, "activation", None)
    name = "" if function is None else getattr(function, "__name__", type(function).__name__)
    return f"{type(layer).__name__}{f'_{name}' * (name not in ('', 'linear'))}"


@pytest.mark.parametrize("dtype", DTYPES)
def test_keras_resizes_linearly_in_float32(tmp_path, policy, dtype):
    """Whatever its dtype: what is loaded does not, and differs by that rounding."""
    policy(dtype)
    x, path = normal(2, 7, 5, 3, seed=9).astype(dtype), tmp_path / "model"
    resizing = [k.Resizing(9, 4), k.UpSampling2D((2, 3), interpolation="bilinear")]
    model = keras.Sequential([keras.Input((7, 5, 3)), *resizing, k.Conv2D(3, 2)])
    interchange.save_model(model, path)
    loaded, wanted = interchange.load_model(path), model(x).numpy()
    assert_close(loaded(x).numpy(), wanted, VALUE_TOLERANCE["layer", "float32"], "loaded")
    found = numpy_infer.load_model(path)[-1](np.moveaxis(x, -1, 1))
    bound = VALUE_TOLERANCE["layer", dtype]
    assert_close(np.moveaxis(found, 1, -1), loaded(x).numpy(), bound, "served")


@pytest.mark.filterwarnings("ignore:.*does not support masking:UserWarning")
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("x", "channels", "make"), CHAINS, ids=[name_of(make) for _, _, make in CHAINS]
)
def test_chain_travels(tmp_path, policy, x, channels, make, dtype):
    policy(dtype)
    x, path = (x.astype(dtype) if x.dtype.kind == "f" else x), tmp_path / "model"
    model = build(make, x)
    interchange.save_model(model, path)
    policy("float32")
    loaded = interchange.load_model(path)

    arrays, again = interchange.to_arrays(model), interchange.to_arrays(loaded)
    assert list(again) == list(arrays)
    for name, array in arrays.items():
        assert again[name].dtype == dtype
        np.testing.assert_array_equal(again[name], array)
    interchange.save_model(loaded, tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == path.read_bytes()

    bound = VALUE_TOLERANCE["layer", dtype]
    wanted = model(x).numpy()
    assert_close(loaded(x).numpy(), wanted, bound, "loaded")
    found = numpy_infer.load_model(path)[-1](turned(x, channels, -1, 1))
    assert found.dtype == dtype
    assert_close(turned(found, channels, 1, -1), wanted, bound, "numpy")
    for variable in model.weights:
        variable.assign(tf.zeros_like(variable))
    interchange.load_arrays(model, arrays)
    np.testing.assert_array_equal(model(x), wanted)
    if dtype == "float64":
        unknown = tf.TensorSpec([*[None] * (x.ndim - 1), x.shape[-1]], x.dtype)
        graph = tf.function(loaded, input_signature=[unknown])
        assert_close(graph(x).numpy(), wanted, bound, "in a graph of unknown sizes")
        policy(dtype)
        copy = type(loaded).from_config(loaded.get_config())
        copy(x)
        copy.set_weights(loaded.get_weights())
        np.testing.assert_array_equal(copy(x), loaded(x))

    drops = k.Dropout | own.StochasticDepth
    if not any(isinstance(layer, drops) and layer.rate for layer in model.layers):
        wanted, found = trained(model, x), trained(loaded, x)
        assert wanted
        for name, array in wanted.items():
            assert_close(found[name], array, bound, name)


@pytest.mark.parametrize(
    "make",
    [
        lambda: [k.Flatten(), k.Dense(3)],
        lambda: [k.ReLU(), k.Flatten(), k.Dense(3)],
        lambda: [own.Flatten(), k.Dense(3)],
        lambda: [keras.Sequential([k.Dropout(0.0), k.Flatten()]), k.Dense(3)],
    ],
)
def test_pictures_that_are_flattened_first_are_channels_first_elsewhere(tmp_path, make):
    model = build(make, IMAGES)
    interchange.save_model(model, tmp_path / "model")
    found = numpy_infer.load_model(tmp_path / "model")[-1](np.moveaxis(IMAGES, -1, 1).astype("f"))
    assert_close(found, model(IMAGES).numpy(), 1e-5, "numpy")
    loaded = interchange.load_model(tmp_path / "model")
    assert_close(loaded(IMAGES.astype("f")).numpy(), model(IMAGES).numpy(), 1e-5, "loaded")
    interchange.save_model(loaded, tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == (tmp_path / "model").read_bytes()


def test_what_else_is_flattened_first_is_the_same_array_everywhere(tmp_path):
    model = build(lambda: [k.Flatten(), k.Dense(3)], SERIES)
    interchange.save_model(model, tmp_path / "model")
    x = SERIES.astype("float32")
    found = numpy_infer.load_model(tmp_path / "model")[-1](x)
    assert_close(found, model(x).numpy(), 1e-5, "numpy")
    assert_close(interchange.load_model(tmp_path / "model")(x).numpy(), found, 1e-5, "loaded")


def kinked(layer, *kinks):
    x = tf.constant(kinks, "float64")[:, None]
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = layer(x)
    return tape.gradient(y, x)[:, 0].numpy().tolist()


def test_gradients_at_kinks(policy):
    policy("float64")
    assert kinked(keras.activations.hard_sigmoid, -3.0, 3.0) == [0, 0]
    assert kinked(keras.activations.hard_silu, -3.0, 3.0) == [0, 1]
    assert kinked(own.Clip(-1, 2), -1.0, 2.0) == [0, 0]
    assert kinked(own.PReLU(), 0.0) == [0.25]


def test_a_chain_without_weights_has_keras_own_dtype():
    layers = [{"layer": "Input", "previous": [], "config": {}}]
    layers.append({"layer": "ReLU", "previous": [0], "config": {}})
    with floatx("float64"):
        model = interchange.from_arrays("chain", {"layers": layers}, {})
    assert model(tf.ones((2, 3), "float64")).dtype == "float64"
    assert interchange.from_arrays("chain", {"layers": layers}, {}).compute_dtype == "float32"


def test_an_open_chain_is_trained_and_saved_by_keras(tmp_path):
    """A file does not say how many axes it takes: no keras.Input ties it to the first call."""
    model = build(lambda: [k.Dense(3), k.LayerNormalization(), k.ReLU(), k.Dense(2)], ROWS)
    interchange.save_model(model, tmp_path / "model")
    loaded = interchange.load_model(tmp_path / "model")
    x = ROWS.astype("float32")
    for y in (x, x[:, None], x[:, None, None]):
        np.testing.assert_allclose(np.reshape(loaded(y), (5, 2)), loaded(x), atol=1e-6)
    loaded.compile("sgd", "mse")
    before = loaded.evaluate(x, x[:, :2], verbose=0)
    loaded.fit(x, x[:, :2], epochs=3, verbose=0)
    assert loaded.evaluate(x, x[:, :2], verbose=0) < before
    loaded.save(tmp_path / "keras.keras")
    again = keras.models.load_model(tmp_path / "keras.keras")
    np.testing.assert_array_equal(again.predict(x, verbose=0), loaded.predict(x, verbose=0))
    assert again.count_params() == loaded.count_params()
    loaded.summary(print_fn=lambda line: None)


def entries(*named):
    rows = [("Input", {}), *named]
    return [
        {"layer": name, "previous": [place - 1] if place else [], "config": config}
        for place, (name, config) in enumerate(rows)
    ]


POOL = {"size": [2], "stride": [2], "padding": [[0, 0]]}
UNPOOLED = entries(("Tanh", {}), ("MaxPool", POOL), ("MaxUnpool", POOL))
UNPOOLED[-1]["previous"].append(1)


@pytest.mark.parametrize("layers", [entries(("Tanh", {}), ("Flatten", {})), UNPOOLED])
def test_a_chain_without_weights_follows_its_input_as_keras_saves_it_too(tmp_path, layers):
    model = interchange.from_arrays("chain", {"layers": layers}, {})
    model.save(tmp_path / "keras.keras")
    for one in (model, keras.models.load_model(tmp_path / "keras.keras")):
        for dtype in DTYPES:
            x = SERIES.astype(dtype)
            found = one(x)
            assert found.dtype == dtype
            wanted = np.tanh(x)
            if layers is UNPOOLED:
                pairs = wanted[:, :16].reshape(3, 8, 2, 2)
                top = pairs == pairs.max(2, keepdims=True)
                wanted[:, :16], wanted[:, 16:] = (pairs * top).reshape(3, 16, 2), 0
            bound = VALUE_TOLERANCE["layer", dtype]
            assert_close(found.numpy().reshape(wanted.shape), wanted, bound, dtype)
        interchange.save_model(one, tmp_path / "model")
        found = numpy_infer.model_file.read_model(tmp_path / "model").config["layers"]
        assert found == layers


@pytest.mark.parametrize("make", NATIVE, ids=[name_of(make) for make in NATIVE])
def test_keras_layers_come_back_as_they_were(tmp_path, make):
    model = build(make, IMAGES.astype("float32"))
    interchange.save_model(model, tmp_path / "model")
    loaded = interchange.load_model(tmp_path / "model")
    left_out = ("name", "build_config")
    for layer, again in zip(model.layers, loaded.layers, strict=True):
        assert type(again) is type(layer)
        wanted, found = layer.get_config(), again.get_config()
        assert {key: found[key] for key in wanted if key not in left_out} == {
            key: wanted[key] for key in wanted if key not in left_out
        }


def test_every_layer_has_one_record():
    assert sorted(record.layer for record in RECORDS) == sorted({*LAYERS} - {"Input"})


def test_keras_gelu_in_float64_is_off(tmp_path, policy):
    """And so are the files of models that have it: the loaded ones are right."""
    policy("float64")
    model = build(lambda: k.Dense(5, activation="gelu"), ROWS)
    interchange.save_model(model, tmp_path / "model")
    found = numpy_infer.load_model(tmp_path / "model")[-1](ROWS)
    assert 1e-12 < np.abs(found - model(ROWS)).max() < 1e-8
    loaded = interchange.load_model(tmp_path / "model")
    assert_close(loaded(ROWS).numpy(), found, VALUE_TOLERANCE["layer", "float64"], "loaded")


@pytest.mark.parametrize("pool", [k.MaxPooling1D(3), MaxPool([3], [3], [(1, 0)])])
def test_of_equal_entries_the_first_is_the_largest(pool):
    x = tf.ones((2, 8, 3))
    unpool = MaxUnpool(pool.pool_size, pool.strides, [(isinstance(pool, MaxPool), 0)])
    with tf.GradientTape() as tape:
        tape.watch(x)
        pooled = pool(x)
    first = np.zeros((2, 8, 3))
    first[:, [0, 2, 5] if isinstance(pool, MaxPool) else [0, 3]] = 1
    np.testing.assert_array_equal(tape.gradient(pooled, x), first)
    np.testing.assert_array_equal(unpool([pooled, x]), first)


def test_padding_of_an_embedding_gets_no_gradient():
    model = own.Embedding(11, 5)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(model(tf.constant(IDS)) ** 2 + model(tf.constant(IDS)))
    gradient = tf.convert_to_tensor(tape.gradient(loss, model.table.value)).numpy()
    assert list(np.flatnonzero(gradient.any(axis=1))) == [1, 2, 3, 4, 7, 9, 10]
    assert not model.table[0].numpy().any()
    assert not model.supports_jit


MODEL_CELLS = [cell for cell in cells("tf2") if cell.case.weights is not None]


@pytest.mark.parametrize("tf2_cell", MODEL_CELLS, ids=str)
def test_component_travels(tmp_path, tf2_cell):
    case = tf2_cell.case.cast(tf2_cell.dtype)
    component = model_name(tf2_cell.component, tf2_cell.operation.name)
    model = interchange.from_arrays(component, case.options, case.weights)
    interchange.save_model(model, tmp_path / "model")
    loaded = interchange.load_model(tmp_path / "model")
    assert type(loaded) is type(model)
    arrays = interchange.to_arrays(loaded)
    assert arrays.keys() == case.weights.keys()
    for name, array in arrays.items():
        assert array.dtype == tf2_cell.dtype
        np.testing.assert_array_equal(array, case.weights[name])
    interchange.save_model(loaded, tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == (tmp_path / "model").read_bytes()


def test_stochastic_depth_drops_whole_rows_when_training_alone():
    x, layer = np.ones((2000, 3, 2), "float32"), own.StochasticDepth(0.3, seed=1)
    np.testing.assert_array_equal(layer(x), x)
    first, second = layer(x, training=True).numpy(), layer(x, training=True).numpy()
    rows = first[:, 0, 0]
    np.testing.assert_allclose(np.unique(first), [0, 1 / 0.7], rtol=1e-6)
    np.testing.assert_array_equal(first, np.broadcast_to(rows[:, None, None], first.shape))
    assert abs(np.mean(rows == 0) - 0.3) < 0.05
    assert not np.array_equal(first, second)
