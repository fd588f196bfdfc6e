"""Each adapter: what it takes, and the same numbers from all."""

import keras
import numpy as np
import pytest
import tensorflow as tf
import torch
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from torch import nn

import fourfold
from fourfold.definition import Case, SparseInput, upstream
from fourfold.ports import port

ROWS = fourfold.cases_from_shapes({"x": (5, 7), "labels": fourfold.Integers((5,), 7)})


def entropy(x, labels):
    return torch.nn.functional.cross_entropy(x, labels)


@tf.function
def tf_entropy(x, labels):
    found = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=x)
    return tf.reduce_mean(found)


class KerasEntropy(keras.losses.Loss):
    def call(self, y_true, y_pred):
        return keras.ops.mean(
            keras.losses.sparse_categorical_crossentropy(y_true, y_pred, from_logits=True)
        )


def numpy_entropy(x, labels):
    shifted = x - x.max(-1, keepdims=True)
    logs = shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))
    return -logs[np.arange(len(x)), labels].mean()


def test_functions_and_losses_whose_arguments_have_other_names_and_another_order():
    found = fourfold.compare(
        {"torch": entropy, "tensorflow": tf_entropy, "keras": KerasEntropy, "numpy": numpy_entropy},
        ROWS,
        numpy_entropy,
        names={"keras": {"x": "y_pred", "labels": "y_true"}},
    )
    assert found, str(found)


class TfDense(tf.Module):
    def __init__(self, dtype="float64"):
        super().__init__()
        self.kernel = tf.Variable(tf.zeros((7, 3), dtype))
        self.bias = tf.Variable(tf.zeros(3, dtype))

    def __call__(self, x):
        return x @ self.kernel + self.bias


def test_modules_of_tensorflow():
    cases = fourfold.cases_from_shapes({"x": (5, 7)})[:1]
    found = fourfold.compare(
        {"torch": nn.Linear(7, 3), "tensorflow": TfDense},
        cases,
        dtypes=("float64",),
        training=2,
        weights="torch",
    )
    assert found, str(found)
    assert {"gradient:weight", "training:bias"} <= {row.quantity for row in found.rows}
    wrong = fourfold.compare({"torch": nn.Linear(7, 3), "tensorflow": TfDense()}, cases)
    assert "expected variables in float32, got float64" in wrong.missing[0].reason


def test_sparse_inputs_and_tables():
    case = Case("one", {"x": SparseInput(np.eye(3, 5) * 2)}, differentiate=False)
    weight = np.arange(10.0).reshape(5, 2)
    found = fourfold.compare(
        {
            "torch": lambda x: x @ torch.from_numpy(weight).to(x.dtype),
            "tensorflow": lambda x: tf.sparse.sparse_dense_matmul(x, tf.cast(weight, x.dtype)),
            "keras": lambda x: x,
        },
        case,
    )
    assert {one.implementation for one in found.missing} == {"keras"}
    assert "expected a dense array" in found.missing[0].reason
    assert not found.differing
    assert found.rows


def test_channels_last_is_moved_there_and_back():
    cases = fourfold.cases_from_shapes({"x": (2, 3, 6, 5)}, channels=("x", "output"))[:2]
    found = fourfold.compare(
        {"torch": nn.Conv2d(3, 4, (3, 2)), "keras": keras.layers.Conv2D(4, (3, 2))},
        cases,
    )
    assert found, str(found)
    assert "weight → kernel, kernel last" in found.proposals["keras"]


def test_cases_from_strategies_are_seeded():
    drawn = {
        "x": arrays(np.float64, (4, 3), elements=st.floats(-3, 3)),
        "labels": arrays(np.int64, 4, elements=st.integers(0, 2)),
    }
    cases = fourfold.cases_from_strategies(drawn, 5)
    again = fourfold.cases_from_strategies(drawn, 5)
    assert 1 < len(cases) <= 5
    for one, other in zip(cases, again, strict=True):
        assert all(np.array_equal(one.inputs[name], other.inputs[name]) for name in one.inputs)
    found = fourfold.compare({"torch": entropy, "numpy": numpy_entropy}, cases)
    assert found, str(found)


def test_shapes_of_equal_sizes_are_refused():
    with pytest.raises(ValueError, match=r"x: expected a shape of different sizes, got \(5, 5\)"):
        fourfold.cases_from_shapes({"x": (5, 5)})
    numbers = fourfold.cases_from_shapes({"x": (5, 7)})[0].inputs["x"]
    assert len(np.unique(numbers)) == numbers.size


class Block(keras.Layer):
    def __init__(self, **options):
        super().__init__(**options)
        self.first = keras.layers.Dense(4, activation="tanh")
        self.second = keras.layers.Dense(3)

    def call(self, x):
        return self.second(self.first(x))


def test_keras_layers_are_recorded_with_gradients_and_replayed():
    adapter, case = port("keras"), fourfold.cases_from_shapes({"x": (5, 7)})[0].cast("float64")
    before = keras.Layer.__call__
    built = adapter.build(Block, case, "float64")
    found = adapter.record(built, case)
    assert [(one.name, one.kind) for one in found] == [("dense", "Dense"), ("dense_1", "Dense")]
    (gradient,) = found[1].gradients
    np.testing.assert_allclose(gradient, upstream(gradient.shape))
    kernel = adapter.weights(built)["dense_1/kernel"]
    np.testing.assert_allclose(found[0].gradients[0], gradient @ kernel.T, rtol=1e-12)
    (again,) = adapter.replay(built, "dense_1", found[1].inputs)
    np.testing.assert_allclose(again, found[1].outputs[0], rtol=1e-12)
    assert keras.Layer.__call__ is before
    assert keras.config.floatx() == "float32"
    assert keras.config.dtype_policy().name == "float32"


class Scaled(keras.Layer):
    def __init__(self, factor=1.0, **options):
        super().__init__(**options)
        self.factor = factor
        self.dense = keras.layers.Dense(3)

    def call(self, x):
        return self.factor * self.dense(x)


class ScaledModel(keras.Model):
    def __init__(self, factor=1.0, **options):
        super().__init__(**options)
        self.factor = factor
        self.dense = keras.layers.Dense(3)

    def call(self, x):
        return self.factor * self.dense(x)


@pytest.mark.parametrize("kind", [Scaled, ScaledModel])
def test_a_layer_is_never_made_again_without_its_options(kind):
    """Keras gives the defaults as the configuration of a subclassed model."""
    layer = kind(factor=3.0)
    layer(np.zeros((1, 7), "float32"))
    cases = fourfold.cases_from_shapes({"x": (5, 7)})[:1]
    found = fourfold.compare({"keras": layer, "torch": nn.Linear(7, 3)}, cases, weights="keras")
    values = {row.dtype: row.ok for row in found.rows if row.quantity == "value:output"}
    missing = {one.dtype: one.reason for one in found.missing}
    assert values["float32"] is False  # three times as much
    if kind is Scaled:
        assert values["float64"] is False
    else:
        assert "expected a class, or a model with a get_config" in missing["float64"]


def test_models_of_keras_are_rebuilt_in_another_dtype_and_left_alone():
    model = keras.Sequential([keras.Input((7,)), keras.layers.Dense(4), keras.layers.Dense(3)])
    kept = [one.copy() for one in model.get_weights()]
    original = nn.Sequential(nn.Linear(7, 4), nn.Linear(4, 3))
    cases = fourfold.cases_from_shapes({"x": (5, 7)})[:1]
    found = fourfold.compare({"torch": original, "keras": model}, cases, weights="torch")
    assert found, str(found)
    assert all(np.array_equal(a, b) for a, b in zip(model.get_weights(), kept, strict=True))
    assert {one.dtype for one in original.parameters()} == {torch.float32}


def test_a_framework_without_an_adapter_is_an_error():
    with pytest.raises(ValueError, match=r"framework: expected one of torch, .*, got 'caffe'"):
        port("caffe")
