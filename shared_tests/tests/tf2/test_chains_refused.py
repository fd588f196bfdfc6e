"""What cannot go into a model file as a chain, or come out of it into Keras."""

import keras
import numpy as np
import pytest
from keras import layers as k

from numpy_infer import model_file
from shared_tests.model_files.samples import write_unchecked
from tf2_impl import interchange
from tf2_impl import layers as own
from tf2_impl.interchange import chain
from tf2_impl.layers.pooling import MaxUnpool
from tf2_impl.sequence_encoder import SequenceEncoder
from tf2_impl.support.checks import check_number

SERIES, IMAGES, ROWS = (17, 2), (11, 13, 2), (7,)
REFUSED = [
    (
        SERIES,
        k.SeparableConv1D(3, 2, data_format="channels_first"),
        "SeparableConv1D(data_format='channels_first')",
    ),
    (SERIES, k.DepthwiseConv1D(2, data_format="channels_first"), "DepthwiseConv1D(data_format"),
    (ROWS, k.Dense(3, lora_rank=1), "Dense(lora_rank=1)"),
    (ROWS, k.Dense(3, activation="celu"), "Dense(activation=celu)"),
    (ROWS, k.Dense(3, activation=k.PReLU()), "PReLU without weights"),
    (SERIES, k.PReLU(), "PReLU(shared_axes=None)"),
    (ROWS, k.Dense(3, dtype="mixed_bfloat16"), "Dense(dtype='mixed_bfloat16')"),
    ((11, 13, 5, 2), k.Conv3D(4, 3), "Conv3D"),
    ((None, 2), k.Conv1D(4, 3, strides=2, padding="same"), "Conv1D(padding='same', strides=(2,))"),
    ((None, 2), k.MaxPooling1D(2, padding="same"), "MaxPooling1D(padding='same', strides=(2,))"),
    (SERIES, k.ZeroPadding1D(data_format="channels_first"), "ZeroPadding1D(data_format"),
    ((9, 11, 5), k.Cropping2D(1, data_format="channels_first"), "Cropping2D(data_format"),
    (IMAGES, k.UpSampling2D(2, interpolation="bicubic"), "UpSampling2D(interpolation='bicubic')"),
    (IMAGES, k.Resizing(7, 5, interpolation="nearest"), "Resizing(interpolation='nearest')"),
    (IMAGES, k.Resizing(7, 5, antialias=True), "Resizing(antialias=True)"),
    (SERIES, k.MaxPooling1D(2, data_format="channels_first"), "MaxPooling1D(data_format"),
    (SERIES, k.Flatten(data_format="channels_first"), "Flatten(data_format"),
    (SERIES, k.BatchNormalization(axis=1), "BatchNormalization(axis=1)"),
    (SERIES, k.BatchNormalization(synchronized=True), "BatchNormalization(synchronized=True)"),
    (SERIES, k.BatchNormalization(renorm=True), "BatchNormalization(renorm=True)"),
    (SERIES, k.LayerNormalization(axis=[1, 2]), "LayerNormalization(axis=[1, 2])"),
    (SERIES, k.GroupNormalization(17, axis=1), "GroupNormalization(axis=1)"),
    (SERIES, k.RMSNormalization(axis=1), "RMSNormalization(axis=[1])"),
    (SERIES, k.UnitNormalization(axis=1), "UnitNormalization(axis=1)"),
    (SERIES, k.Softmax(axis=2), "Softmax(axis=2)"),
    (SERIES, k.Dropout(0.5, noise_shape=(None, 1, 2)), "Dropout(noise_shape="),
    (SERIES, k.Dropout(1.0), "Dropout(rate=1.0)"),
    (SERIES, k.SpatialDropout1D(0.5), "SpatialDropout1D"),
    (SERIES, k.ReLU(max_value=5, threshold=1), "ReLU(max_value=5)"),
    (SERIES, k.ReLU(max_value=0), "ReLU(max_value=0)"),
    (SERIES, k.GRU(3, activation="relu"), "GRU(activation=relu)"),
    (SERIES, k.GRU(3, recurrent_activation="relu"), "GRU(recurrent_activation=relu)"),
    (SERIES, k.GRU(3, reset_after=False), "GRU(reset_after=False)"),
    (SERIES, k.GRU(3, dropout=0.5), "GRU(dropout=0.5)"),
    (
        SERIES,
        k.GRU(3, go_backwards=True, return_sequences=True),
        "GRU(go_backwards=True, return_sequences=True), whose output is reversed and that of "
        "tf2_impl.layers.BackwardGRU is not,",
    ),
    (SERIES, k.Bidirectional(k.GRU(3), merge_mode="sum"), "Bidirectional(merge_mode='sum')"),
    (SERIES, k.Bidirectional(k.SimpleRNN(3)), "Bidirectional(forward_layer=<SimpleRNN"),
    (SERIES, k.LSTM(3, activation="relu"), "LSTM(activation=relu)"),
    (SERIES, k.LSTM(3, recurrent_dropout=0.5), "LSTM(recurrent_dropout=0.5)"),
    (
        SERIES,
        k.LSTM(3, go_backwards=True, return_sequences=True),
        "LSTM(go_backwards=True, return_sequences=True), whose output is reversed and that of "
        "tf2_impl.layers.BackwardLSTM is not,",
    ),
    (SERIES, k.Bidirectional(k.LSTM(3), merge_mode="ave"), "Bidirectional(merge_mode='ave')"),
    (
        SERIES,
        k.Bidirectional(k.GRU(3), backward_layer=k.GRU(5, go_backwards=True)),
        "GRU(units=5)",
    ),
    (SERIES, k.Bidirectional(k.GRU(3, reset_after=False)), "GRU(reset_after=False)"),
    (
        SERIES,
        k.Bidirectional(k.GRU(3, go_backwards=True), backward_layer=k.GRU(3)),
        "GRU(go_backwards=True)",
    ),
]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("shape", "layer", "name"), REFUSED, ids=[name for *_, name in REFUSED])
def test_unsupported_layers_are_named_with_their_place(tmp_path, shape, layer, name):
    nested = keras.Sequential([k.Identity(), layer])
    model = keras.Sequential([keras.Input(shape), k.ELU(), nested])
    with pytest.raises(ValueError, match="model: expected layers that model files have") as error:
        interchange.save_model(model, tmp_path / "model")
    assert f" have, got {name}" in str(error.value)
    assert f" at place 2 ({layer.name}); they have Sequential, " in str(error.value)
    assert not list(tmp_path.iterdir())


def sequential(*layers, shape=IMAGES, **options):
    return keras.Sequential([keras.Input(shape, **options), *layers])


def always_dropping():
    x = keras.Input(ROWS)
    return keras.Model(x, k.Dropout(0.5)(x, training=True))


def unpool_of_features():
    x = keras.Input(SERIES)
    y = k.Dense(2)(x)
    pooled = k.MaxPooling1D(2)(k.ReLU()(y))
    return keras.Model(x, MaxUnpool([2], [2], [(0, 0)])([pooled, y]))


class Doubled(keras.Sequential):
    def call(self, *inputs, **options):
        return 2 * super().call(*inputs, **options)


def spoiled_padding():
    model = sequential(own.Embedding(5, 3), shape=(None,), dtype="int64")
    model.layers[0].table.assign(np.ones((5, 3)))
    return model


IDS = {"shape": (4,), "dtype": "int64"}
MODELS = [
    (k.Dense(3), "expected a component, a keras.Sequential or a functional model, got Dense"),
    (Doubled([keras.Input(ROWS), k.ReLU()]), "expected a component, .* got Doubled"),
    (always_dropping(), r"got Dropout\(training=True\) at place 1"),
    (unpool_of_features(), "got MaxUnpool of what no pool was given at place 5"),
    (keras.Sequential([k.Dense(3)]), r"got Dense without weights, .* at place 1"),
    (sequential(k.Conv2D(3, 2), k.Flatten()), "expected a Dense layer behind keras.layers.Flatten"),
    (
        sequential(k.Conv2D(3, 2), k.Flatten(), own.TopKGating(2)),
        "got TopKGating behind keras.layers.Flatten, whose order .* at place 3",
    ),
    (
        sequential(k.Conv2D(3, 2), k.Flatten(), shape=(None, None, 2)),
        "got keras.layers.Flatten of unknown sizes, .* at place 2",
    ),
    (sequential(k.Conv2D(3, 2), k.Softmax(axis=1)), r"got Softmax\(axis=1\) of channels-last data"),
    (
        sequential(k.Embedding(5, 3, mask_zero=True), k.Dense(2), k.GRU(3), **IDS),
        r"got GRU behind an Embedding\(mask_zero=True\) at place 3",
    ),
    (
        keras.Sequential([k.ReLU(), k.Flatten()]),
        "got Flatten of what may be pictures, which a keras.Input tells, at place 2",
    ),
    (
        sequential(own.MoveChannelsLast(), own.MoveChannelsLast()),
        "got MoveChannelsLast of channels",
    ),
    (
        sequential(k.Conv2D(3, 2), k.Flatten(), own.MoveChannelsFirst()),
        "got MoveChannelsFirst behind keras.layers.Flatten",
    ),
    (sequential(k.Identity()), "expected at least one layer, got none"),
    (spoiled_padding(), "expected 0 in the first 1 rows of 1.table, got "),
    (
        sequential(k.Dense(3, dtype="float64"), k.ReLU(dtype="float32"), shape=ROWS),
        r"got ReLU\(dtype='float32'\) in a chain of float64 at place 2",
    ),
]


@pytest.mark.parametrize(("model", "message"), MODELS)
def test_models_that_cannot_travel_leave_no_file(tmp_path, model, message):
    with pytest.raises(
        ValueError, match=f"model: {'' if 'expected' in message else '.*'}{message}"
    ):
        interchange.save_model(model, tmp_path / "model")
    assert not list(tmp_path.iterdir())


def patched(layer):
    layer.call = lambda x: 3 * x
    return layer


def encoder():
    return SequenceEncoder(7, 5, 3, out_features=2)


def changed(path, value):
    model = encoder()
    holder = model
    *parts, name = path.split(".")
    for part in parts:
        holder = getattr(holder, part)
    setattr(holder, name, value)
    return model


class OtherDense(k.Dense):
    def call(self, x):
        return 2 * super().call(x)


def built(layer, *shape):
    layer.build((None, *shape))
    return layer


UNRECORDED = [
    (lambda: patched(encoder()), "SequenceEncoder with a call of its own"),
    (lambda: changed("reverse", True), r"SequenceEncoder\(reverse=True\)"),
    (lambda: changed("dropout.rate", 0.7), r"Dropout\(rate=0.7\)"),
    (
        lambda: changed("projection.call", lambda x, training=None: x),
        "Dense with a call of its own",
    ),
    (lambda: changed("projection.activation", keras.activations.relu), r"Dense\(activation="),
    (
        lambda: changed("projection", built(OtherDense(2), 3)),
        "OtherDense.* in the place of .*Dense",
    ),
]


@pytest.mark.parametrize("in_chain", [False, True])
@pytest.mark.parametrize(("make", "message"), UNRECORDED)
def test_a_component_that_is_not_as_its_config_says_is_refused(tmp_path, make, message, in_chain):
    model = make()
    if in_chain:
        model = keras.Sequential([keras.Input((None,), dtype="int64"), model, k.ReLU()])
    with pytest.raises(ValueError, match=f"model: expected .*{message}"):
        interchange.save_model(model, tmp_path / "model")
    assert not list(tmp_path.iterdir())


PATCHED = [
    (lambda: sequential(k.Dense(3), patched(k.ReLU())), "ReLU with a call of its own .* place 2"),
    (lambda: sequential(OtherDense(3)), "got OtherDense at place 1"),
    (lambda: patched(sequential(k.Dense(3))), "Sequential with a call of its own"),
    (lambda: sequential(patched(sequential(k.Dense(3)))), "Sequential with a call of its own"),
]


@pytest.mark.parametrize(("make", "message"), PATCHED)
def test_calls_that_were_patched_are_refused(tmp_path, make, message):
    with pytest.raises(ValueError, match=f"model: expected .*{message}"):
        interchange.save_model(make(), tmp_path / "model")
    gru = k.GRU(3)
    model = sequential(gru, shape=SERIES)
    gru.cell.call = lambda x, states, training=False: (x, states)
    with pytest.raises(ValueError, match="GRUCell with a call of its own"):
        interchange.save_model(model, tmp_path / "model")
    assert not list(tmp_path.iterdir())


def test_dtypes_that_files_do_not_have_are_refused(tmp_path):
    model = sequential(k.Dense(3, dtype="float16"), shape=ROWS)
    with pytest.raises(
        TypeError, match="model: expected float32 or float64 throughout, got float16"
    ):
        interchange.save_model(model, tmp_path / "model")
    assert not list(tmp_path.iterdir())


def entry(layer: str, previous: list[int], **config) -> dict:
    return {"layer": layer, "previous": previous, "config": config}


POOL = {"size": [2], "stride": [2], "padding": [[0, 0]]}


@pytest.mark.parametrize(
    ("layers", "shapes", "message"),
    [
        ([entry("ReLU", [0]), entry("Tanh", [0])], {}, r"Tanh at place 2 takes 1, got \[0\]"),
        ([entry("Resample", [0])], {}, r"layer 1 \(Resample\): layer: expected one of "),
        ([entry("Add", [0])], {}, r"expected a chain, got Add at place 1, of several"),
        ([entry("ReLU", [0], slope=0.1)], {}, r"layer 1 \(ReLU\): arrays: expected .* got "),
        ([entry("Projection", [0])], {"1.bias": (3,)}, r"layer 1 .*: arrays: expected .*, got "),
    ],
)
def test_what_is_no_chain_is_refused(layers, shapes, message):
    config = {"layers": [entry("Input", []), *layers]}
    arrays = {name: np.zeros(shape) for name, shape in shapes.items()}
    with pytest.raises(ValueError, match=message):
        interchange.from_arrays("chain", config, arrays)


def test_reading_a_long_chain_takes_each_array_once():
    """Not once for each layer: a hostile file would keep a reader busy."""

    class Counted(dict):
        asked = 0

        def items(self):
            for one in super().items():
                Counted.asked += 1
                yield one

        def __iter__(self):
            for one in super().__iter__():
                Counted.asked += 1
                yield one

    layers = [entry("Input", []), *(entry("Projection", [place]) for place in range(20))]
    shapes = Counted({f"{place}.weight": (2, 2) for place in range(1, 21)})
    chain.build(layers, shapes, "float32")
    assert Counted.asked == 20


def test_configuration_without_layers_is_refused():
    with pytest.raises(ValueError, match="config: expected layers, got nothing"):
        interchange.from_arrays("chain", {}, {})
    with pytest.raises(ValueError, match="layers: expected an input and a layer, got"):
        interchange.from_arrays("chain", {"layers": [entry("Input", [])]}, {})


def test_a_number_without_limits_is_a_finite_one():
    with pytest.raises(ValueError, match=r"^slope: expected a finite number, got nan$"):
        check_number("slope", float("nan"))
    with pytest.raises(ValueError, match=r"^rate: expected a finite number of at least 0, got -1$"):
        check_number("rate", -1, least=0)


def test_loading_into_a_chain_is_all_or_nothing():
    model = sequential(k.LayerNormalization(center=False), k.Dense(2), shape=ROWS)
    before = interchange.to_arrays(model)
    for spoiled in ("1.shift", "2.bias"):
        after = {name: array + 1 for name, array in before.items()}
        after["1.shift"] = np.zeros(7, "float32")
        after[spoiled] = after[spoiled][:-1] if spoiled == "2.bias" else np.ones(7, "float32")
        with pytest.raises(ValueError, match=r"arrays: expected .*, got "):
            interchange.load_arrays(model, after)
        for name, array in interchange.to_arrays(model).items():
            np.testing.assert_array_equal(array, before[name])


def test_files_that_keras_cannot_hold_are_model_file_errors(tmp_path):
    layers = [entry("Input", []), entry("ReLU", [0]), entry("Tanh", [0])]
    path = tmp_path / "model"
    write_unchecked(path, "chain", {"layers": layers}, {})
    message = rf"{path}: layer 2 \(Tanh\): previous: expected \[1\], as in a chain, got \[0\]"
    with pytest.raises(model_file.ModelFileError, match=message):
        interchange.load_model(path)


def test_windows_of_an_unpool_do_not_overlap():
    with pytest.raises(ValueError, match=r"strides: expected at least \(3,\), got \(2,\)"):
        MaxUnpool([3], [2], [(0, 0)])
