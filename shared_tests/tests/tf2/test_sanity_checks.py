"""What the sanity checks of TensorFlow promise beyond their definition."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import keras
import numpy as np
import pytest
import tensorflow as tf

from shared_tests.fixtures import digits
from tf2_impl.sanity_checks import (
    check_finite,
    check_gradients_reach,
    check_initial_loss,
    check_overfits,
)

CHECKS = (check_overfits, check_gradients_reach, check_finite)
PIXELS, LABELS = digits(11)
BATCH = (tf.constant(PIXELS, tf.float32), tf.constant(LABELS))


def make_net() -> keras.Model:
    """Dropout with a seed generator, running statistics, a frozen layer."""
    keras.utils.set_random_seed(3)
    layers = [
        keras.layers.Input((64,)),
        keras.layers.Dense(13, name="body"),
        keras.layers.BatchNormalization(name="norm"),
        keras.layers.ReLU(),
        keras.layers.Dropout(0.3),
        keras.layers.Dense(10, name="head"),
    ]
    model = keras.Sequential(layers, name="net")
    model.compile(optimizer=keras.optimizers.Adam(0.01))
    return model


def cross_entropy(model: keras.Model, x: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
    output = model(x, training=True)
    losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, output)
    return tf.reduce_mean(losses)


@contextmanager
def unchanged(model: keras.Model) -> Iterator[None]:
    """Fails unless the variables of a model and of its optimizer are afterwards as they were."""
    variables = [*model.variables, *model.optimizer.variables]
    before = [one.numpy() for one in variables]
    yield
    after = [*model.variables, *model.optimizer.variables]
    assert all(one is other for one, other in zip(after, variables, strict=True))
    for one, value in zip(variables, before, strict=True):
        assert np.array_equal(one.numpy(), value), one.path


@pytest.mark.parametrize("check", CHECKS)
def test_everything_is_put_back(check):
    model = make_net()
    assert any("seed" in one.path for one in model.variables)
    with unchanged(model):
        check(model, cross_entropy, BATCH)


def test_everything_is_put_back_when_the_loss_raises():
    model = make_net()
    calls = tf.Variable(0)

    def failing(model, x, labels):
        with tf.control_dependencies([tf.debugging.assert_less(calls.assign_add(1), 4)]):
            return cross_entropy(model, x, labels)

    with unchanged(model), pytest.raises(tf.errors.InvalidArgumentError):
        check_overfits(model, failing, BATCH)
    assert calls.numpy() == 4


def test_a_training_goes_on_as_if_there_had_been_no_check():
    def trained(*checks):
        model = make_net()
        for step in range(6):
            if step == 3:
                for check in checks:
                    check(model, cross_entropy, BATCH)
            with tf.GradientTape() as tape:
                loss = cross_entropy(model, *BATCH)
            gradients = tape.gradient(loss, model.trainable_variables)
            model.optimizer.apply_gradients(zip(gradients, model.trainable_variables, strict=True))
        return model.get_weights()

    for alone, checked in zip(trained(), trained(*CHECKS), strict=True):
        assert np.array_equal(alone, checked)


def test_the_steps_are_one_compiled_function():
    calls = []

    def counted(model, x, labels):
        calls.append(tf.inside_function())
        return cross_entropy(model, x, labels)

    verdict = check_overfits(make_net(), counted, BATCH, share=0.1)
    assert verdict
    assert len(verdict.details["losses"]) > 5
    assert len(calls) < 5
    assert all(calls)


def test_a_net_with_dropout_overfits_and_says_so_twice_alike():
    model = make_net()
    verdicts = [check_overfits(model, cross_entropy, BATCH, share=0.1) for _ in range(2)]
    assert verdicts[0]
    assert verdicts[0] == verdicts[1]


def test_frozen_and_cut_off_parameters_have_their_whole_names():
    model = make_net()
    model.get_layer("body").trainable = False
    statistics = ["net/norm/moving_mean", "net/norm/moving_variance"]
    found = check_gradients_reach(model, cross_entropy, BATCH)
    frozen = ["net/body/kernel", "net/body/bias"]
    assert sorted(found.details["left_out"]) == sorted([*frozen, *statistics])
    assert found
    model.get_layer("body").trainable = True

    def cut(model, x, labels):
        *body, head = model.layers
        for layer in body:
            x = layer(x)
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, head(tf.stop_gradient(x)))
        return tf.reduce_mean(losses)

    verdict = check_gradients_reach(model, cut, BATCH)
    assert not verdict
    assert verdict.details["missing"] == [*frozen, "net/norm/gamma", "net/norm/beta"]
    assert "None reaches net/body/kernel, net/body/bias, net/norm/gamma" in verdict.message


def test_a_loss_of_no_parameter_moves_nothing():
    def constant(model, x, labels):
        return tf.reduce_mean(x)

    verdict = check_overfits(make_net(), constant, BATCH, steps=3)
    assert len(set(verdict.details["losses"])) == 1
    assert not verdict
    assert "check_gradients_reach" in verdict.message


def test_variables_of_one_name_are_all_there():
    layers = [keras.layers.Dense(3, name="same") for _ in range(2)]
    outer = [keras.Sequential([keras.Input((64,)), layers[0]], name="part")]
    outer.append(keras.Sequential([keras.Input((3,)), layers[1]], name="part"))

    class Pair(keras.Model):
        def __init__(self):
            super().__init__()
            self.first, self.second = outer
            self.built = True

        def call(self, x):
            return self.second(self.first(x))

    model = Pair()
    assert len({one.path for one in model.weights}) < len(model.weights) == 4
    found = check_gradients_reach(model, lambda model, x: tf.reduce_mean(model(x) ** 2), BATCH[:1])
    assert found
    assert len(found.details["reached"]) == 4


def test_indexed_slices():
    table = keras.layers.Embedding(7, 5)
    model = keras.Sequential(
        [
            keras.Input((2,), dtype="int64"),
            table,
            keras.layers.GlobalAveragePooling1D(),
            keras.layers.Dense(2),
        ]
    )
    batch = (tf.constant([[1, 2], [2, 3], [4, 4]]), tf.constant([0, 1, 1]))
    for check in CHECKS:
        assert check(model, cross_entropy, batch)
    values = table.get_weights()[0]
    values[4] = np.inf
    table.set_weights([values])
    found = check_finite(model, cross_entropy, batch).details
    assert found["weights"] == [table.embeddings.path]
    assert f"the gradient of {table.embeddings.path}" in found["gradients"]


@pytest.mark.parametrize("kind", ["sparse", "ragged", "numpy"])
def test_other_kinds_of_batches(kind):
    model = keras.Sequential([keras.Input((64,)), keras.layers.Dense(10)])
    convert, back = {
        "sparse": (tf.sparse.from_dense, tf.sparse.to_dense),
        "ragged": (tf.RaggedTensor.from_tensor, lambda x: x.to_tensor()),
        "numpy": (np.array, tf.constant),
    }[kind]

    def loss(model, x):
        return tf.reduce_mean(model(tf.reshape(back(x), (-1, 64))) ** 2)

    x = PIXELS.astype("float32")
    assert check_finite(model, loss, (convert(x),))
    x[3, 10] = np.nan
    assert check_finite(model, loss, (convert(x),)).details["batch"] == ["batch[0]"]


def test_running_statistics_are_weights():
    model = make_net()
    model.get_layer("norm").moving_variance.assign(np.full(13, np.nan))
    found = check_finite(model, cross_entropy, BATCH).details
    assert found["weights"] == ["net/norm/moving_variance"]


@pytest.mark.parametrize("loss", [2.3, np.float32(2.3), np.array(2.3), tf.constant(2.3)])
def test_initial_loss_of_any_number(loss):
    assert check_initial_loss(loss, 10)
    assert not check_initial_loss(loss, 100)


@pytest.mark.parametrize("check", CHECKS)
def test_bad_arguments(check):
    model = make_net()
    with pytest.raises(ValueError, match=r"compute_loss: expected one number, got shape \(11,\)"):
        check(model, lambda model, x, labels: tf.reduce_sum(model(x), axis=1), BATCH)
    with pytest.raises(TypeError, match=r"compute_loss: expected a tf.Tensor, got float"):
        check(model, lambda model, x, labels: 1.5, BATCH)
    with pytest.raises(TypeError, match=r"model: expected a Keras model or layer, got function"):
        check(cross_entropy, cross_entropy, BATCH)


@pytest.mark.parametrize("check", CHECKS)
def test_a_model_that_is_not_built(check):
    with pytest.raises(ValueError, match=r"model: expected one that is built"):
        check(keras.Sequential([keras.layers.Dense(10)]), cross_entropy, BATCH)
    half = keras.Sequential([keras.layers.Dense(13), keras.layers.Dense(10)])
    half.layers[0].build((None, 64))
    with pytest.raises(ValueError, match=r"model: expected one that is built"):
        check(half, cross_entropy, BATCH)
