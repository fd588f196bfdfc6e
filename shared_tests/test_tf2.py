"""What is TensorFlow's own: graphs, serialization, compile and fit, sparse gradients."""

import importlib

import keras
import numpy as np
import pytest
import tensorflow as tf

from shared_tests.backends.tf2_backend import build, named, to_native
from shared_tests.compare import assert_close, tolerance
from shared_tests.definition import cells
from shared_tests.fixtures import normal
from tf2_impl.padded_embedding import PaddedEmbedding, pad_token_lists
from tf2_impl.triplet_loss import TripletLoss

IDS = pad_token_lists([[3, 1, 10], [7], [2, 2, 9, 4, 1], []])


def unknown(value):
    """The signature of a tensor whose every size is known only when the graph runs."""
    shape = [None] * len(value.shape)
    if isinstance(value, tf.SparseTensor):
        return tf.SparseTensorSpec(shape, value.dtype)
    return tf.TensorSpec(shape, value.dtype)


def test_graph_of_unknown_sizes_gives_what_eager_gives(backend_name, float64_cell):
    cell = float64_cell
    case = cell.case.cast(cell.dtype)
    inputs = [to_native(value) for value in case.inputs.values()]
    if not tf.is_tensor(inputs[0]) and not isinstance(inputs[0], tf.SparseTensor):
        assert cell.operation.name == "pad_token_lists"  # lists, before any tensor is made
        return
    function = build(cell.component, cell.operation.name, case)
    eager = named(function(*inputs))
    graph = tf.function(function, input_signature=[unknown(value) for value in inputs])
    for name, value in named(graph(*inputs)).items():
        bound = tolerance(f"value:{name}", cell.operation.kind, cell.dtype, reference=False)
        assert_close(value.numpy(), eager[name].numpy(), bound, name)


CLASSES = [
    cell
    for cell in cells("tf2")
    if cell.operation.name[0].isupper()
    and cell.case is cell.operation.cases[0]
    and cell.dtype == "float64"
]


@pytest.mark.parametrize("class_cell", CLASSES, ids=str)
def test_class_serializes(class_cell):
    module = importlib.import_module(f"tf2_impl.{class_cell.component}")
    options = class_cell.case.options
    original = getattr(module, class_cell.operation.name)(**options, name="mine")
    is_loss = isinstance(original, keras.losses.Loss)
    package = keras.losses if is_loss else keras.layers
    copy = package.deserialize(package.serialize(original))
    assert type(copy) is type(original)
    assert copy.get_config() == original.get_config()
    assert all(original.get_config()[key] == value for key, value in options.items())


def test_embedding_gradient_is_indexed_slices():
    model = PaddedEmbedding(11, 5, seed=1)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(model(IDS) ** 2)
    gradient = tape.gradient(loss, model.table.value)
    assert isinstance(gradient, tf.IndexedSlices)
    assert set(gradient.indices.numpy()) == {1, 2, 3, 4, 7, 9, 10}


def test_functional_model_saves_and_loads(tmp_path):
    ids = keras.Input((None,), dtype="int64")
    model = keras.Model(ids, PaddedEmbedding(11, 5, unit_norm=True)(ids))
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(model(IDS), loaded(IDS))


def test_triplet_loss_trains_in_fit():
    keras.utils.set_random_seed(1)
    embed = keras.layers.Dense(3)
    triplets = keras.Input((3, 7))
    model = keras.Model(triplets, embed(triplets))
    model.compile(keras.optimizers.Adam(0.05), loss=TripletLoss(distance="euclidean", margin=1.0))
    x, unused = normal(11, 3, 7, seed=1).astype("float32"), np.zeros(11)
    history = model.fit(x, unused, epochs=50, verbose=0).history["loss"]
    assert history[-1] < history[0] / 2


@pytest.mark.parametrize("dtype", ["float64", "int32"])
def test_loss_refuses_what_keras_would_cast(dtype):
    with pytest.raises(TypeError, match="y_pred: expected"):
        TripletLoss()(np.zeros(2), np.zeros((2, 3, 5), dtype))


def test_seed_makes_weights_repeatable():
    first, second, other = (PaddedEmbedding(11, 5, seed=seed).table.numpy() for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, second)
    assert not np.array_equal(first, other)
