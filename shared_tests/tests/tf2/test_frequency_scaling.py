"""Frequency scaling in TensorFlow: IndexedSlices stay, in a graph too."""

from __future__ import annotations

import textwrap
from collections.abc import Callable

import keras
import numpy as np
import pytest
import tensorflow as tf

from shared_tests.fixtures import docstring_tokens
from tf2_impl.frequency_scaling import (
    inverse_frequency_weights,
    scale_gradients_by_frequency,
    scale_updates_by_frequency,
)
from tf2_impl.padded_embedding import PaddedEmbedding, pad_token_lists
from tf2_impl.smorms3 import SMORMS3
from tf2_impl.sparse_dense_optimizer import SparseDenseOptimizer

LISTS = docstring_tokens(textwrap, vocabulary_size=53)


def counts() -> tf.Tensor:
    return tf.math.bincount(tf.reshape(pad_token_lists(LISTS), [-1]), minlength=53)


def test_over_all_tokens_the_mean_weight_is_between_one_and_two():
    tokens, weights = counts().numpy(), inverse_frequency_weights(counts()).numpy()
    assert weights.dtype == np.float32
    assert 1 < tokens[1:] @ weights[1:] / tokens[1:].sum() < 2
    assert (weights[1:] >= 1).all()
    assert weights.max() <= tokens[1:].mean()
    rare = weights > 1  # what these learn is what an average one learns
    np.testing.assert_allclose(weights[rare] * tokens[rare], tokens[1:].mean(), rtol=1e-6)
    assert rare.sum() == 37


def test_arrays_of_numpy_are_counts_too():
    assert inverse_frequency_weights(np.array([9, 1, 3])).numpy().tolist() == [0, 2, 1]


@pytest.mark.parametrize("in_graph", [False, True])
def test_a_training_step(in_graph):
    weights = tf.cast(inverse_frequency_weights(counts()), tf.float64)
    embed = PaddedEmbedding(53, 5, seed=1, dtype="float64")
    head = keras.layers.Dense(2, dtype="float64")
    head.build((None, 5))
    variables = [*embed.trainable_variables, *head.trainable_variables]
    optimizer = keras.optimizers.SGD(0.5)
    optimizer.build(variables)

    def step(ids: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(head(embed(ids)) ** 2)
        table, *others = tape.gradient(loss, variables)
        (scaled,) = scale_gradients_by_frequency([table], weights)
        assert isinstance(scaled, tf.IndexedSlices)
        assert scaled.values.shape.rank == 2
        optimizer.apply_gradients(zip([scaled, *others], variables, strict=True))
        return tf.convert_to_tensor(table), tf.convert_to_tensor(scaled)

    if in_graph:
        step = tf.function(step, input_signature=[tf.TensorSpec([None, None], tf.int64)])
    before = embed.table.numpy()
    table, scaled = step(pad_token_lists(LISTS))
    np.testing.assert_allclose(scaled, table * weights[:, None], rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(embed.table, before - 0.5 * scaled, rtol=0, atol=1e-14)
    assert abs(scaled.numpy()).max() > 0


def test_cost_grows_with_the_rows_present():
    def scaled(rows, ids, weights):
        slices = tf.IndexedSlices(rows, ids, tf.constant([100_003, 2]))
        return scale_gradients_by_frequency([slices], weights)[0].values

    rows, ids = tf.ones((3, 2)), tf.constant([7, 3, 7])
    graph = tf.function(scaled).get_concrete_function(rows, ids, tf.ones(100_003))
    made = [one for node in graph.graph.get_operations() for one in node.outputs]
    large = [one.name for one in made if 100_003 in one.shape]
    assert large == ["weights:0"]
    assert graph(rows, ids, tf.fill([100_003], 2.0)).numpy().tolist() == 3 * [[2, 2]]


def test_an_unknown_vocabulary_is_taken_as_it_comes():
    slices = tf.IndexedSlices(tf.ones((2, 3)), tf.constant([1, 0]))
    (found,) = scale_gradients_by_frequency([slices], tf.constant([5.0, 7.0]))
    assert found.values.numpy().tolist() == [3 * [7], 3 * [5]]
    assert found.dense_shape is None


def test_error_says_which_gradient():
    gradients = [tf.ones((5, 2)), tf.ones((7, 2))]
    with pytest.raises(ValueError, match=r"weights: expected .* gradient 1, \(7, 2\), got"):
        scale_gradients_by_frequency(gradients, tf.ones(5))


def test_more_axes():
    (found,) = scale_gradients_by_frequency([tf.ones((3, 2, 5))], tf.constant([0.0, 2.0, 3.0]))
    assert found[:, 1, 4].numpy().tolist() == [0, 2, 3]


def fitted(make: Callable[[], keras.optimizers.Optimizer], scaled: bool) -> np.ndarray:
    """How far the rows of a table move in one epoch of two batches that `fit` compiles."""
    keras.utils.set_random_seed(3)
    table = keras.layers.Embedding(5, 2, embeddings_initializer="ones")
    layers = [keras.Input((1,), dtype="int64"), table, keras.layers.Flatten()]
    model = keras.Sequential(layers)
    optimizer = make()
    if scaled:
        weights = tf.constant([0.0, 1.0, 2.0, 3.0, 4.0])
        scale_updates_by_frequency(optimizer, table.embeddings, weights)
    # A loss whose gradient does not depend on where the table is.
    model.compile(optimizer, loss=lambda y, output: tf.reduce_mean(output * y, axis=-1))
    x, y = np.array([[1], [4], [0], [2], [4], [3]]), np.full((6, 2), 0.5)
    model.fit(x, y, batch_size=3, shuffle=False, verbose=0)
    return table.get_weights()[0] - 1


@pytest.mark.parametrize(
    "make",
    [
        lambda: keras.optimizers.SGD(0.1),
        lambda: keras.optimizers.SGD(0.1, momentum=0.9),
        lambda: keras.optimizers.Adam(keras.optimizers.schedules.ExponentialDecay(0.1, 1, 0.5)),
        lambda: SMORMS3(0.1),
        lambda: SparseDenseOptimizer(sparse=SMORMS3(0.1), dense=keras.optimizers.Adam()),
        lambda: keras.optimizers.LossScaleOptimizer(keras.optimizers.Adam(0.1)),
    ],
    ids=["descent", "momentum", "Adam with a schedule", "SMORMS3", "two optimizers", "loss scale"],
)
def test_updates_are_scaled_in_fit(make):
    plain, scaled = fitted(make, False), fitted(make, True)
    assert (plain[1:] != 0).all()
    np.testing.assert_array_equal(scaled[:2], [[0, 0], plain[1]])  # weights of 0 and of 1
    np.testing.assert_allclose(scaled, np.arange(5)[:, None] * plain, rtol=2e-6)


def test_only_the_tables_are_scaled():
    def after_a_step(*, scaled: bool) -> list[np.ndarray]:
        variables = [keras.Variable(np.ones((3, 2)), dtype="float64") for _ in range(2)]
        optimizer = keras.optimizers.Adam(0.1)
        if scaled:
            weights = tf.constant([0.0, 2.0, 1.0], tf.float64)
            scale_updates_by_frequency(optimizer, variables[:1], weights)
        gradients = [tf.ones((3, 2), tf.float64) for _ in variables]
        optimizer.apply(gradients, variables)
        return [one.numpy() for one in variables]

    (table, other), (plain, _) = after_a_step(scaled=True), after_a_step(scaled=False)
    np.testing.assert_array_equal(other, plain)
    np.testing.assert_allclose(plain, 0.9, atol=1e-5)
    np.testing.assert_allclose(table, 1 + [[0], [2], [1]] * (plain - 1), atol=1e-15)


def test_a_scaled_update_costs_what_its_rows_cost():
    """No operation of the compiled step makes a tensor of the table's size."""
    table = keras.Variable(np.ones((100_003, 2)), dtype="float32")
    optimizer = SMORMS3(0.1)
    scale_updates_by_frequency(optimizer, table, tf.fill((100_003,), 2.0))
    optimizer.build([table])

    def step() -> None:
        slices = tf.IndexedSlices(tf.ones((3, 2)), tf.constant([7, 3, 7]), table.shape)
        optimizer.apply([slices], [table])

    graph = tf.function(step).get_concrete_function().graph
    given = {one.name for one in graph.inputs}  # the weights, the table and its state
    outputs = [one for op in graph.get_operations() for one in op.outputs]
    made = {one.name: one.shape for one in outputs if one.name not in given}
    assert not [name for name, shape in made.items() if shape.rank and shape[0] == 100_003]
    step()
    assert (table.numpy()[[3, 7]] != 1).all()
    assert (np.delete(table.numpy(), [3, 7], axis=0) == 1).all()


def test_what_is_no_optimizer_is_an_error():
    with pytest.raises(TypeError, match=r"^optimizer: expected a Keras optimizer, got str"):
        scale_updates_by_frequency("adam", keras.Variable(np.ones((3, 2))), tf.ones(3))
