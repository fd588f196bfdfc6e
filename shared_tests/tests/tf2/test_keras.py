"""Every layer in its places in Keras: first of a Sequential, in a functional model, ragged ids."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from shared_tests.backends.tf2_layers import EXAMPLES
from shared_tests.fixtures import normal
from tf2_impl import interchange
from tf2_impl.clustering_loss import ClusteringLoss
from tf2_impl.padded_embedding import PaddedEmbedding, pad_token_lists
from tf2_impl.title_encoder import TitleEncoder
from tf2_impl.triplet_loss import TripletLoss

ONE_INPUT = {name: one for name, one in EXAMPLES.items() if len(one.inputs) == 1}
IDS = [name for name, one in ONE_INPUT.items() if one.inputs[0].dtype.kind == "i"]


def signatures(outputs):
    return [(tuple(one.shape), keras.backend.standardize_dtype(one.dtype)) for one in outputs]


@pytest.mark.parametrize("name", ONE_INPUT)
def test_first_in_a_sequential_without_an_input(name):
    example = ONE_INPUT[name]
    x, layer = example.inputs[0], example.make()
    wanted = tf.nest.flatten(layer(x))
    rest = [keras.layers.Dense(2)] if len(wanted) == 1 else []
    model = keras.Sequential([layer, *rest])
    found = tf.nest.flatten(model(x))
    if rest:
        wanted = [rest[0](wanted[0])]
    for got, want in zip(found, wanted, strict=True):
        np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("name", ONE_INPUT)
@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
def test_symbolic_shapes_and_dtypes_are_those_of_the_outputs(name, policy):
    example = ONE_INPUT[name]
    x = example.inputs[0]
    layer = example.make(dtype=policy)
    wanted = signatures(tf.nest.flatten(layer(x)))
    inputs = keras.Input(batch_shape=x.shape, dtype=x.dtype.name)
    symbolic = tf.nest.flatten(layer(inputs))
    shapes = layer.compute_output_shape(x.shape)
    shapes = [shapes] if isinstance(shapes[0], int) else list(shapes)
    for (shape, dtype), spec, computed in zip(wanted, symbolic, shapes, strict=True):
        assert keras.backend.standardize_dtype(spec.dtype) == dtype
        known = zip(spec.shape, shape, strict=True)
        assert all(one in (None, size) for one, size in known)
        assert tuple(computed) == tuple(spec.shape)
    model = keras.Model(inputs, symbolic)
    assert signatures(tf.nest.flatten(model(x))) == wanted


@pytest.mark.parametrize("name", ["CharWordEncoder", "PaddedEmbedding", "SparseProjection"])
def test_time_distributed(name):
    """A wrapper that asks for compute_output_shape."""
    example = EXAMPLES[name]
    x, layer = np.stack([example.inputs[0], example.inputs[0][::-1]], axis=1), example.make()
    inputs = keras.Input(x.shape[1:], dtype=x.dtype.name)
    model = keras.Model(inputs, keras.layers.TimeDistributed(layer)(inputs))
    wanted = tf.stack([layer(x[:, 0]), layer(x[:, 1])], axis=1)
    np.testing.assert_allclose(model(x), wanted, rtol=0, atol=1e-6)


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
def test_ids_are_never_rounded(policy, tmp_path):
    """Keras would cast them to the compute dtype, in which bfloat16 has no 257."""
    layers = [PaddedEmbedding(1024, 5, dtype=policy), keras.layers.Dense(2, dtype=policy)]
    model = keras.Sequential(layers)
    ids = np.array([[257, 1023, 0], [513, 0, 0]])
    first, second = layers
    np.testing.assert_array_equal(model(ids), second(first(ids)))
    model.compile(keras.optimizers.SGD(0.1), "mse")
    before = first.table.numpy()
    model.fit(ids, np.ones((2, 2)), verbose=0)
    moved = np.flatnonzero((first.table.numpy() != before).any(axis=1))
    np.testing.assert_array_equal(moved, [257, 513, 1023])
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded(ids), model(ids))
    if policy == "float32":  # model files have no other
        interchange.save_model(model, tmp_path / "model.safetensors")
        loaded = interchange.load_model(tmp_path / "model.safetensors")
        np.testing.assert_allclose(loaded(ids), model(ids), rtol=0, atol=1e-6)


RAGGED = {
    2: tf.ragged.constant([[1, 2, 3], [4], [], [5, 6]], dtype=tf.int64),
    3: tf.ragged.constant([[[1, 2, 3], [4]], [[5]], []], dtype=tf.int64),
}


@pytest.mark.parametrize("name", IDS)
def test_ragged_ids_are_padded_ids(name):
    """Eagerly, in a graph, and in a Keras model."""
    example = EXAMPLES[name]
    layer, ragged = example.make(), RAGGED[example.inputs[0].ndim]
    padded = ragged.to_tensor()
    wanted = layer(padded)
    inputs = keras.Input((None,) * (padded.ndim - 1), dtype="int64")
    model, alone = keras.Model(inputs, layer(inputs)), keras.Sequential([layer])
    for called in (layer, tf.function(layer), model, alone):
        np.testing.assert_array_equal(called(ragged), wanted)
    np.testing.assert_allclose(model.predict(ragged, verbose=0), wanted, rtol=0, atol=1e-6)


# Embedding alone gives a vector for each id: a batch's targets are as long as its longest row.
@pytest.mark.parametrize("name", [name for name in IDS if name != "Embedding"])
def test_fit_on_ragged_batches(name):
    """A tf.data.Dataset of ragged rows trains as the padded rows do.

    Each of its batches of two is as long as its longest row; one row has no id at all. So products
    have other numbers of rows, and some processors round them differently: by up to 3e-8.
    """
    example = EXAMPLES[name]
    ragged = {
        2: tf.ragged.constant([[1, 2, 3], [4], [], [5, 6]]),
        3: tf.ragged.constant([[[1, 2, 3], [4]], [[5]], [], [[6, 2]]]),
    }[example.inputs[0].ndim]
    inputs = keras.Input((None,) * (ragged.shape.rank - 1), dtype="int64", ragged=True)
    weights = []
    for ids in (ragged, ragged.to_tensor()):
        layer = example.make()
        model = keras.Model(inputs, layer(inputs))
        model.compile(keras.optimizers.SGD(0.5), "mse")
        targets = np.ones((4, model.output_shape[1]), "float32")
        data = tf.data.Dataset.from_tensor_slices((ids, targets)).batch(2)
        assert isinstance(data.element_spec[0], tf.RaggedTensorSpec) == (ids is ragged)
        before = layer.get_weights()
        model.fit(data, verbose=0)
        weights.append(layer.get_weights())
        assert any((x != y).any() for x, y in zip(before, weights[-1], strict=True))
    for got, wanted in zip(*weights, strict=True):
        np.testing.assert_allclose(got, wanted, rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", IDS)
def test_ragged_ids_of_another_rank_are_refused(name):
    layer, rank = EXAMPLES[name].make(), EXAMPLES[name].inputs[0].ndim
    with pytest.raises(ValueError, match=f"ids: expected {rank} axes, got shape"):
        layer(RAGGED[5 - rank])
    with pytest.raises(TypeError, match="ids: expected integers, got float32"):
        layer(tf.cast(RAGGED[rank], tf.float32))


def test_ragged_titles_and_lists():
    model, (titles, others) = TitleEncoder(9, 4, seed=1), (RAGGED[3], RAGGED[3][::-1])
    padded = [titles.to_tensor(), others.to_tensor()]
    np.testing.assert_array_equal(model.bags(titles), model.bags(padded[0]))
    np.testing.assert_array_equal(model.loss(titles, others), model.loss(*padded))
    ragged = RAGGED[2]
    for wrap in (lambda f: f, tf.function):
        found = wrap(lambda x: pad_token_lists(x, padding_id=7))(tf.cast(ragged, tf.int16))
        np.testing.assert_array_equal(found, pad_token_lists(ragged.to_list(), padding_id=7))
        assert found.dtype == tf.int64
    bad = {
        ValueError: [tf.ragged.constant([[1, -1], [2]]), ragged[:0]],
        TypeError: [tf.ragged.constant([[1.0], []])],
    }
    for error, lists in bad.items():
        for one in lists:
            with pytest.raises(error, match="token_lists: expected"):
                pad_token_lists(one)


@pytest.mark.parametrize(
    ("loss", "shape"),
    [(ClusteringLoss(), (8, 5)), (TripletLoss(margin=1.0), (8, 3, 5))],
    ids=["ClusteringLoss", "TripletLoss"],
)
def test_fit_without_labels(loss, shape):
    """Losses that do not look at y_true need none: arrays, and a data set of inputs alone."""
    keras.utils.set_random_seed(1)
    x = normal(*shape, seed=1).astype("float32")
    model = keras.Sequential([keras.layers.Dense(3, activation="softmax")])
    model.compile(keras.optimizers.SGD(1.0), loss)
    losses = model.fit(x, epochs=9, verbose=0).history["loss"]
    assert losses[-1] < losses[0]
    evaluated = model.evaluate(tf.data.Dataset.from_tensors(x), verbose=0)
    np.testing.assert_allclose(evaluated, loss(np.zeros(8), model(x)), rtol=0, atol=1e-6)
