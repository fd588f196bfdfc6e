"""What is TensorFlow's own: graphs, serialization, compile and fit, sparse gradients."""

import importlib

import keras
import numpy as np
import pytest
import tensorflow as tf

from fourfold.backends.tf2_backend import build
from fourfold.distributions import assert_normal
from fourfold.project import cells
from numpy_infer.model_file import load_model
from shared_tests.backends.tf2_tools import TOOLS
from shared_tests.components import conv_autoencoder
from shared_tests.components.sparse_projection import COLUMNS, REPEATED, ROWS, VALUES
from shared_tests.fixtures import normal
from tf2_impl import interchange
from tf2_impl.char_word_encoder import SentenceEncoder
from tf2_impl.conv_autoencoder import ConvAutoencoder1d
from tf2_impl.feedback_network import FeedbackNetwork, curriculum_loss
from tf2_impl.layers.pooling import max_pool
from tf2_impl.neural_grammar import NeuralGrammar
from tf2_impl.padded_embedding import PaddedEmbedding, pad_token_lists
from tf2_impl.recursive_autoencoder import RecursiveAutoencoder
from tf2_impl.sequence_encoder import SequenceEncoder
from tf2_impl.sparse_projection import SparseProjection
from tf2_impl.speaker_encoder import SpeakerEncoder
from tf2_impl.support import bracketing, greedy_tree
from tf2_impl.title_encoder import TitleEncoder, bag_of_titles, leave_one_out_loss
from tf2_impl.top_k_gating import MixtureOfExperts
from tf2_impl.triplet_loss import TripletLoss

IDS = pad_token_lists([[3, 1, 10], [7], [2, 2, 9, 4, 1], []])


CLASSES = [
    cell
    for cell in cells("tf2")
    if cell.operation.name[0].isupper()
    and cell.operation.name not in TOOLS
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
    score = greedy_tree.pair_scores
    counted = lambda *a: batches.append(len(a[3])) or score(*a)  # noqa: E731
    monkeypatch.setattr(greedy_tree, "pair_scores", counted)
    model(tf.constant(normal(13, 3, seed=1), tf.float32))
    assert 0 < len(batches) <= 13
    assert sum(batches) <= most


def test_recursive_autoencoder_is_not_traced_for_every_length():
    model = RecursiveAutoencoder(3, seed=1)
    for n in (2, 3, 5, 7, 11):
        model(tf.constant(normal(n, 3, seed=1), tf.float32))
    assert model._search.experimental_get_tracing_count() <= 2
    assert model._replay.experimental_get_tracing_count() <= 2


def test_neural_grammar_scores_each_pair_once(monkeypatch, step_by_step):
    model, batches = NeuralGrammar(3, 5, seed=1), []
    costs = bracketing.pair_costs
    counted = lambda *a: batches.append(len(a[2])) or costs(*a)  # noqa: E731
    monkeypatch.setattr(bracketing, "pair_costs", counted)
    model(tf.constant(normal(13, 3, seed=1), tf.float32))
    assert 0 < len(batches) <= 13
    assert sum(batches) <= 3 * 12


def test_neural_grammar_is_not_traced_for_every_length():
    model = NeuralGrammar(3, 5, seed=1)
    for n in (2, 3, 5, 7, 11):
        model(tf.constant(normal(n, 3, seed=1), tf.float32))
    assert model._search.experimental_get_tracing_count() <= 2
    assert model._replay.experimental_get_tracing_count() <= 2


def test_neural_grammar_takes_narrow_brackets():
    model, brackets = NeuralGrammar(3, 5, seed=1), [[2, 3], [2, 4], [0, 1], [0, 4]]
    vectors = tf.constant(normal(5, 3, seed=2), tf.float32)
    losses = [model(vectors, tf.constant(brackets, dtype)).loss for dtype in (tf.int8, tf.int64)]
    assert losses[0] == losses[1]


TITLES = np.array([[[1, 2, 0], [3, 0, 0], [4, 5, 6]], [[7, 8, 0], [9, 10, 0], [0, 0, 0]]])
OTHERS = np.array([[[7, 10, 0]], [[1, 6, 0]]])


@pytest.mark.parametrize("wrap", [lambda f: f, tf.function], ids=["eager", "graph"])
def test_title_encoder_works_on_bags(wrap):
    model = TitleEncoder(11, 5, seed=1)
    vectors, negatives = (tf.stack([model(group) for group in one]) for one in (TITLES, OTHERS))
    got, wanted = wrap(model.bags)(TITLES), bag_of_titles(vectors)
    np.testing.assert_allclose(got, wanted, rtol=0, atol=1e-6)
    got = wrap(lambda ids, others: model.loss(ids, others, margin=1.5))(TITLES, OTHERS)
    wanted = leave_one_out_loss(vectors, negatives, margin=1.5)
    np.testing.assert_allclose(got, wanted, rtol=0, atol=1e-6)
    with pytest.raises(ValueError, match="negatives: expected ids"):
        model.loss(TITLES, OTHERS + 1)


def test_sequence_encoder_drops_out_in_training_alone():
    model = SequenceEncoder(11, 3, 5, dropout=0.5, seed=1)
    first, second = (model(IDS, training=True).numpy() for _ in range(2))
    assert not np.array_equal(first, second)
    np.testing.assert_array_equal(model(IDS), model(IDS))


def test_sequence_encoder_takes_its_seed_alone():
    states = [SequenceEncoder(11, 3, 5, seed=seed)(IDS).numpy() for seed in (1, 1, 2)]
    np.testing.assert_array_equal(states[0], states[1])
    assert not np.array_equal(states[0], states[2])


def test_sequence_encoder_saves_and_loads_in_a_functional_model(tmp_path):
    inputs = keras.Input((None,), dtype="int64")
    model = keras.Model(inputs, SequenceEncoder(11, 3, 5, out_features=2)(inputs))
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(model(IDS), loaded(IDS))


def test_curriculum_follows_a_variable_in_one_graph():
    losses, step = tf.constant([1.0, 10.0, 100.0]), keras.Variable(0, dtype="int64")
    follow = tf.function(lambda: curriculum_loss(losses, step, span=2))
    found = []
    for number in (0, 1, 2, 3, 9):
        step.assign(number)
        found.append(float(follow()))
    assert found == [1, 6, 11, 61, 111]
    assert follow.experimental_get_tracing_count() == 1
    with pytest.raises(ValueError, match="step: expected a number of at least 0, got "):
        curriculum_loss(losses, tf.constant(-1), span=2)


def test_feedback_network_saves_and_loads_in_a_functional_model(tmp_path):
    inputs = keras.Input((7,))
    model = keras.Model(inputs, FeedbackNetwork(7, [2, 3], hidden=5)(inputs))
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    x = normal(3, 7, seed=1).astype("float32")
    for got, wanted in zip(loaded(x), model(x), strict=True):
        np.testing.assert_array_equal(got, wanted)


AUTOENCODERS = [("ConvAutoencoder1d", "three levels"), ("ConvAutoencoder2d", "digits")]


@pytest.mark.parametrize(("name", "case"), AUTOENCODERS)
def test_conv_autoencoder_keeps_the_positions_of_its_definition(name, case):
    case = conv_autoencoder.DEFINITION.cell(name, case).case
    x, size = case.inputs["x"], case.options["pool_size"]
    model = build("conv_autoencoder", name, case)
    code, positions, spaces = conv_autoencoder.encode(case.weights, x, size)
    for encode in (model.encode, tf.function(model.encode)):
        encoding = encode(tf.constant(np.moveaxis(x, 1, -1)))
        got = np.moveaxis(encoding.code.numpy(), -1, 1)
        np.testing.assert_allclose(got, code, rtol=0, atol=1e-12)
        for got, wanted in zip(encoding.positions, positions, strict=True):
            np.testing.assert_array_equal(np.moveaxis(got.numpy(), -1, 1), wanted)
        assert [tuple(map(int, space)) for space in encoding.spaces] == spaces
    assert np.any(model.decode(encoding._replace(code=encoding.code + 1)) != model.decode(encoding))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("wrap", [lambda f: f, tf.function], ids=["eager", "graph"])
def test_max_pool_keeps_nan_and_minus_infinity(wrap, dtype):
    x = np.array([3, np.nan, np.nan, 3, np.nan, np.nan, -np.inf, -np.inf, 1, 1], dtype)
    pooled = wrap(lambda x: max_pool(x, 2))(tf.constant(x.reshape(1, 10, 1)))
    np.testing.assert_array_equal(pooled.values[0, :, 0], [np.nan] * 3 + [-np.inf, 1])
    np.testing.assert_array_equal(pooled.positions[0, :, 0], [1, 2, 4, 6, 8])


@pytest.mark.parametrize("class_name", ["ConvAutoencoder1d", "ConvAutoencoder2d"])
def test_conv_autoencoder_fits_inside_a_functional_model(class_name):
    rank = int(class_name[-2])
    inputs = keras.Input((*[None] * rank, 3))
    layer = getattr(importlib.import_module("tf2_impl.conv_autoencoder"), class_name)
    model = keras.Model(inputs, layer(3, channels=(5, 2), seed=1)(inputs))
    assert model.output.shape == inputs.shape
    model.compile(keras.optimizers.Adam(0.01), loss="mse")
    x = normal(2, *(11, 9)[:rank], 3, seed=1).astype("float32")
    history = model.fit(x, x, epochs=20, verbose=0).history["loss"]
    assert history[-1] < history[0]


def test_sentence_encoder_saves_and_loads_in_a_functional_model(tmp_path):
    inputs = keras.Input((None, None), dtype="int64")
    model = keras.Model(inputs, SentenceEncoder(11, 3, width=2)(inputs))
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    ids = np.array([[[1, 2, 0], [3, 0, 0]], [[4, 5, 6], [0, 0, 0]]])
    np.testing.assert_array_equal(model(ids), loaded(ids))


@pytest.mark.parametrize("last", ["Flatten", "SpeakerEncoder"])
def test_chain_with_convolutional_components_means_to_numpy_what_it_means_here(tmp_path, last):
    layers = importlib.import_module("tf2_impl.layers")
    ends = {
        "Flatten": [layers.Flatten()],
        "SpeakerEncoder": [keras.layers.ReLU(), SpeakerEncoder(3, seed=1)],
    }
    autoencoder = ConvAutoencoder1d(3, channels=(5, 2), seed=1)
    dense = keras.layers.Dense(2)
    model = keras.Sequential([keras.Input((11, 3)), autoencoder, *ends[last], dense])
    x = normal(2, 11, 3, seed=1).astype("float32")
    interchange.save_model(model, tmp_path / "model.safetensors")
    got = load_model(tmp_path / "model.safetensors")[-1](np.moveaxis(x, -1, 1))
    np.testing.assert_allclose(got, model(x), rtol=0, atol=1e-5)


def test_noise_of_the_gates_is_standard_normal():
    """Times softplus(0) = log 2 before noise_weight has learnt; the gates are then its softmax."""
    model = MixtureOfExperts(3, 2, 2, 2, noisy=True, seed=1)
    gates = model.gates(tf.zeros((3000, 3)), training=True).numpy()
    assert_normal(np.log(gates[:, 0] / gates[:, 1]) / np.log(2), 2**0.5)


def test_the_size_that_ties_depend_on_is_the_longest_length():
    vectors = tf.constant([[3.0, -4.0], [1.0, -5.0], [np.inf, 1.0], [np.nan, 9.0]])
    assert float(greedy_tree.largest_length(vectors)) == pytest.approx(26**0.5)
