"""Functional models with branches go into model files, and come back as Keras's."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import numpy_infer
from fourfold.agreement import assert_close
from numpy_infer import model_file
from shared_tests.fixtures import normal
from shared_tests.model_files.graphs import GRAPHS, SIAMESE, directional_derivative, directions
from tf2_impl import interchange
from tf2_impl.interchange import graph


def here(x):
    """A value of a file as Keras has it: channels-last."""
    return np.moveaxis(x, 1, -1) if x.ndim == 4 else x


def there(x):
    return np.moveaxis(np.asarray(x), -1, 1) if x.ndim == 4 else np.asarray(x)


def outputs(model, inputs):
    given = {name: here(x) for name, x in inputs.items()}
    found = model(given if len(given) > 1 else next(iter(given.values())), training=False)
    return found if isinstance(found, dict) else {"output": found}


@pytest.mark.parametrize("name", GRAPHS)
def test_a_graph_of_a_file_computes_its_formula_and_is_saved_again(name, tmp_path):
    example = GRAPHS[name]
    path, again = tmp_path / "model", tmp_path / "again"
    model_file.write_model(path, "graph", example.config, example.arrays)
    model = interchange.load_model(path)
    found = outputs(model, example.inputs)
    for key, wanted in example.outputs().items():
        assert_close(there(found[key].numpy()), wanted, 1e-12, key)
    interchange.save_model(model, again)
    if name != "siamese":  # whose layers Keras has in another order
        assert again.read_bytes() == path.read_bytes()
    net = numpy_infer.load_model(again)(example.inputs)
    net = net if isinstance(net, dict) else {"output": net}
    for key, wanted in example.outputs().items():
        assert_close(net[key], wanted, 1e-12, key)


@pytest.mark.parametrize("name", GRAPHS)
def test_the_gradients_of_a_graph_are_its_slopes(name):
    example = GRAPHS[name]
    shapes = [{} for _ in example.config["layers"]]
    for path, array in example.arrays.items():
        place, _, key = path.partition(".")
        shapes[int(place)][key] = array.shape
    model, weights = graph.build(example.config, shapes, "float64")
    for path, weight in weights.items():
        weight.write(example.arrays[path])
    with tf.GradientTape() as tape:
        found = outputs(model, example.inputs)
        parts = [
            tf.reduce_sum(found[key] * here(normal(*wanted.shape, seed=place)))
            for place, (key, wanted) in enumerate(example.outputs().items())
        ]
        loss = tf.add_n(parts)
    changes = directions(example)
    variables = [weights[path].variable for path in changes]
    gradients = tape.gradient(loss, [one.value for one in variables])
    slope = sum(
        (weights[path].to_canonical(gradient.numpy()) * changes[path]).sum()
        for path, gradient in zip(changes, gradients, strict=True)
    )
    assert_close(np.array(slope), np.array(directional_derivative(example)), 1e-7, name)


def residual():
    """As in keras.applications: zeros before a convolution and before a pool."""
    x = keras.Input((11, 9, 3), name="image")
    y = layers.ZeroPadding2D(1)(x)
    y = layers.Conv2D(5, 3, strides=2, name="conv1")(y)
    y = layers.BatchNormalization(name="bn1")(y)
    y = layers.Activation("relu")(y)
    y = layers.ZeroPadding2D(1)(y)
    y = short = layers.MaxPooling2D(3, 2)(y)
    y = layers.Conv2D(5, 3, padding="same", activation="relu", name="conv2")(y)
    y = layers.Add(name="joined")([y, short])
    y = layers.Concatenate()([y, short * 0.25])
    y = layers.GlobalAveragePooling2D()(y)
    return keras.Model(x, layers.Dense(4, activation="softmax", name="head")(y))


def siamese():
    tower = keras.Sequential([keras.Input((7,)), layers.Dense(5, name="tower"), layers.ReLU()])
    left, right = keras.Input((7,), name="left"), keras.Input((7,), name="right")
    a, b = tower(left), tower(right)
    y = layers.Concatenate()([layers.Multiply()([a, b]), keras.ops.maximum(a, b), 1 - a / 2])
    return keras.Model([left, right], {"likeness": layers.Dense(1)(y), "left_code": a + (-b)})


def sentences():
    """A layer of a transformer as Keras has it, and recurrent layers behind it."""
    ids = keras.Input((7,), dtype="int64", name="ids")
    x = layers.Embedding(11, 6)(ids)
    y = layers.MultiHeadAttention(3, 4, value_dim=2, name="attend")(x, x, use_causal_mask=True)
    y = layers.MultiHeadAttention(2, 1, use_bias=False, output_shape=6)(y, x)
    y = layers.LayerNormalization()(x + y)
    y = layers.Bidirectional(layers.LSTM(5, return_sequences=True))(y)
    return keras.Model(ids, layers.Dense(2)(layers.GRU(4)(y)))


def gated():
    image = keras.Input((6, 5, 4), name="image")
    x = layers.Conv2D(6, 3, padding="same")(image)
    gate = layers.GlobalAveragePooling2D(keepdims=True)(x)
    gate = layers.Conv2D(2, 1, activation="relu")(gate)
    gate = layers.Conv2D(6, 1, activation="sigmoid")(gate)
    x = x * gate
    flat = layers.Flatten()(keras.ops.relu(x))
    return keras.Model(image, {"features": x, "classes": layers.Dense(3)(flat)})


MODELS = {"residual": residual, "siamese": siamese, "gated": gated, "sentences": sentences}


@pytest.fixture
def doubles():
    before = keras.config.floatx(), keras.config.dtype_policy()
    keras.config.set_floatx("float64")
    keras.config.set_dtype_policy("float64")
    yield
    keras.config.set_floatx(before[0])
    keras.config.set_dtype_policy(before[1])


@pytest.mark.parametrize("name", MODELS)
def test_a_functional_model_travels(name, doubles, tmp_path):
    model = MODELS[name]()
    for place, one in enumerate(model.variables):
        value = normal(*one.shape, seed=place) / 2
        if one.dtype == "float64":
            one.assign(value**2 if "variance" in one.path else value)
    inputs = {
        one.name: normal(2, *there(np.zeros((1, *one.shape[1:]))).shape[1:], seed=place)
        for place, one in enumerate(model.inputs)
    }
    if name == "sentences":
        inputs = {"ids": np.arange(14).reshape(2, 7) % 11}
    path, again = tmp_path / "model", tmp_path / "again"
    interchange.save_model(model, path)
    net, loaded = numpy_infer.load_model(path), interchange.load_model(path)
    found = net(inputs)
    found = found if isinstance(found, dict) else {"output": found}
    for key, wanted in outputs(model, inputs).items():
        assert_close(found[key], there(wanted.numpy()), 1e-12, key)
        assert_close(outputs(loaded, inputs)[key].numpy(), wanted.numpy(), 1e-12, key)
    interchange.save_model(loaded, again)
    assert again.read_bytes() == path.read_bytes()
    names = {one["name"] for one in model_file.read_model(path).config["layers"] if "name" in one}
    assert (
        names
        == {
            "residual": {"conv1", "bn1", "conv2", "joined", "head"},
            "siamese": {"tower"},
            "gated": set(),
            "sentences": {"attend"},
        }[name]
    )


def test_a_layer_may_have_the_name_of_an_input(tmp_path):
    """In PyTorch an argument `left` and a child `left` are two things; Keras has one name."""
    entries = [{**one} for one in SIAMESE.config["layers"]]
    entries[2]["name"] = "left"
    config = {**SIAMESE.config, "layers": entries}
    model_file.write_model(tmp_path / "model", "graph", config, SIAMESE.arrays)
    found = outputs(interchange.load_model(tmp_path / "model"), SIAMESE.inputs)
    assert_close(found["output"].numpy(), SIAMESE.outputs()["output"], 1e-12, "output")


def test_weights_of_a_layer_that_stands_twice_are_saved_once(doubles, tmp_path):
    interchange.save_model(siamese(), tmp_path / "model")
    _, config, arrays = model_file.read_model(tmp_path / "model")
    assert [one.get("shares") for one in config["layers"]].count(2) == 1
    assert len(arrays) == 4
    loaded = interchange.load_model(tmp_path / "model")
    assert len(loaded.trainable_variables) == 4


def test_a_layer_called_on_its_own_output_shares_its_weights(doubles, tmp_path):
    x, dense = keras.Input((7,)), layers.Dense(7)
    model = keras.Model(x, dense(dense(x)))
    interchange.save_model(model, tmp_path / "model")
    given = normal(3, 7, seed=8)
    net = numpy_infer.load_model(tmp_path / "model")
    assert_close(net(given), model(given).numpy(), 1e-12, "output")


def test_a_patched_call_of_a_graph_is_refused(tmp_path):
    model = siamese()
    model.call = lambda inputs, training=None, mask=None: inputs
    with pytest.raises(ValueError, match=r"with a call of its own \(functional"):
        interchange.save_model(model, tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_arrays_of_a_graph_are_read_and_set():
    model = interchange.from_arrays("graph", SIAMESE.config, SIAMESE.arrays)
    arrays = interchange.to_arrays(model)
    sizes = sorted(one.shape for one in SIAMESE.arrays.values())
    assert sorted(one.shape for one in arrays.values()) == sizes
    interchange.load_arrays(model, {name: 0 * array for name, array in arrays.items()})
    assert not outputs(model, SIAMESE.inputs)["output"].numpy().any()


def test_all_that_stands_in_the_way_is_named_at_once(tmp_path):
    x = keras.Input((8, 6, 3))
    y = layers.GaussianNoise(0.1, name="noise")(x)
    z = layers.Conv2D(3, 3, padding="same", data_format="channels_last")(x)
    w = keras.ops.cumsum(z, axis=1)
    v = layers.Concatenate(axis=1, name="rows")([z, z])
    model = keras.Model(x, [layers.Add()([y, z]), w, v], name="obstructed")
    with pytest.raises(ValueError) as caught:  # noqa: PT011  (all of its lines, below)
        interchange.save_model(model, tmp_path / "model")
    first, *lines = str(caught.value).splitlines()
    assert first == "model: expected layers that model files have, got in obstructed:"
    assert [line.split(" (")[0].strip() for line in lines] == [
        "GaussianNoise",
        "keras.ops Cumsum",
        "Concatenate(axis=2)",
    ]
    assert not (tmp_path / "model").exists()


def test_a_graph_without_weights_computes_in_the_dtype_of_its_input(tmp_path):
    inputs = {"x": {"shape": [None, 3], "dtype": "float"}}
    start = {"layer": "Input", "previous": [], "config": {}}
    total = {"layer": "Add", "previous": [0, 0], "config": {}}
    config = {"inputs": inputs, "layers": [start, total], "outputs": {"output": 1}}
    model_file.write_model(tmp_path / "model", "graph", config, {})
    model = interchange.load_model(tmp_path / "model")
    for dtype in ("float32", "float64"):
        found = model(tf.constant([[1.0, 2.0, 0.1]], dtype))
        assert found.dtype == dtype
        assert found.numpy()[0, 2] == 2 * np.dtype(dtype).type(0.1)
