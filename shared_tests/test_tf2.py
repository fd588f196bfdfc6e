"""What is TensorFlow's own: graphs, serialization, compile and fit, sparse gradients."""

import importlib

import keras
import numpy as np
import pytest
import tensorflow as tf

from shared_tests.backends.tf2_backend import build, named, to_native
from shared_tests.compare import assert_close, tolerance
from shared_tests.components.sparse_projection import COLUMNS, REPEATED, ROWS, VALUES
from shared_tests.definition import cells
from shared_tests.fixtures import normal
from tf2_impl.padded_embedding import PaddedEmbedding, pad_token_lists
from tf2_impl.recursive_autoencoder import RecursiveAutoencoder
from tf2_impl.sparse_projection import SparseProjection
from tf2_impl.top_k_gating import MixtureOfExperts
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


def test_bad_input_in_a_graph_of_unknown_sizes(backend_name, definition, operation, bad_input):
    """What eager mode refuses, a graph refuses: while traced, by an assertion or by a kernel."""
    case = bad_input.applied(operation.cases[0])
    native = [to_native(value) for value in case.inputs.values()]
    if operation.name == "pad_token_lists":
        return  # lists, before any tensor is made

    def run():
        function = build(definition.component, operation.name, case)
        tf.function(function, input_signature=[unknown(value) for value in native])(*native)

    with pytest.raises((bad_input.error, tf.errors.InvalidArgumentError)) as caught:
        run()
    if caught.type is not tf.errors.InvalidArgumentError:
        assert f"{bad_input.argument}: expected" in str(caught.value)


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


LAYERS = {
    "padded_embedding": (PaddedEmbedding(11, 5, unit_norm=True), np.asarray(IDS)),
    "sparse_projection": (SparseProjection(7, 5), normal(3, 7, seed=1).astype("float32")),
    "top_k_gating": (MixtureOfExperts(7, 5, 4, 2), normal(3, 7, seed=1).astype("float32")),
}


@pytest.mark.parametrize("name", LAYERS)
def test_functional_model_saves_and_loads(name, tmp_path):
    layer, x = LAYERS[name]
    inputs = keras.Input(x.shape[1:], dtype=x.dtype)
    model = keras.Model(inputs, layer(inputs))
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(model(x), loaded(x))


@pytest.mark.parametrize("layer", [PaddedEmbedding(11, 5), MixtureOfExperts(7, 5, 4, 2)])
def test_layers_with_sizes_that_vary_are_kept_from_xla(layer):
    """Keras compiles with XLA by default where there is a GPU."""
    assert not layer.supports_jit


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


def test_sparse_projection_sums_what_is_stored_twice():
    model = SparseProjection(7, 3, seed=1, dtype="float64")
    places = np.stack([ROWS, COLUMNS], axis=1)
    found = []
    for x in (tf.SparseTensor(places, VALUES, REPEATED.shape), tf.constant(REPEATED)):
        with tf.GradientTape() as tape:
            output = model(x)
            loss = tf.reduce_sum(output**2)
        found.append([output, *tape.gradient(loss, model.trainable_variables)])
    for got, wanted in zip(*found, strict=True):
        np.testing.assert_allclose(got, wanted, rtol=0, atol=1e-12)


@pytest.fixture
def step_by_step():
    """Functions run eagerly, so that the calls of each step can be counted."""
    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


@pytest.mark.parametrize(("pairs", "most"), [("all", 12**2), ("adjacent", 3 * 12)])
def test_recursive_autoencoder_scores_each_pair_once(monkeypatch, step_by_step, pairs, most):
    model, batches = RecursiveAutoencoder(3, pairs=pairs, seed=1), []
    score = model._pair_scores
    monkeypatch.setattr(model, "_pair_scores", lambda *a: batches.append(len(a[2])) or score(*a))
    model(tf.constant(normal(13, 3, seed=1), tf.float32))
    assert 0 < len(batches) <= 13
    assert sum(batches) <= most


def test_recursive_autoencoder_is_not_traced_for_every_length():
    model = RecursiveAutoencoder(3, seed=1)
    for n in (2, 3, 5, 7, 11):
        model(tf.constant(normal(n, 3, seed=1), tf.float32))
    assert model._search.experimental_get_tracing_count() <= 2
    assert model._replay.experimental_get_tracing_count() <= 2
