"""Every schedule of Keras drives a SparseDenseOptimizer as it drives a plain optimizer."""

import inspect
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from tf2_impl.smorms3 import SMORMS3
from tf2_impl.sparse_dense_optimizer import SparseDenseOptimizer

STEPS = 6
SCHEDULES: dict[str, dict[str, Any]] = {
    "CosineDecay": {"initial_learning_rate": 0.1, "decay_steps": 5, "warmup_steps": 2},
    "CosineDecayRestarts": {"initial_learning_rate": 0.1, "first_decay_steps": 2},
    "ExponentialDecay": {"initial_learning_rate": 0.1, "decay_steps": 2, "decay_rate": 0.5},
    "InverseTimeDecay": {"initial_learning_rate": 0.1, "decay_steps": 2, "decay_rate": 0.5},
    "PiecewiseConstantDecay": {"boundaries": [1, 3], "values": [0.1, 0.05, 0.01]},
    "PolynomialDecay": {"initial_learning_rate": 0.1, "decay_steps": 5},
}
CALLBACKS = {
    "LearningRateScheduler": lambda: keras.callbacks.LearningRateScheduler(
        lambda epoch, rate: rate / 2
    ),
    "ReduceLROnPlateau": lambda: keras.callbacks.ReduceLROnPlateau(
        "loss", factor=0.5, patience=1, min_delta=1e9
    ),
}
X = np.array([[1, 2], [3, 1], [2, 2], [3, 3]])
Y = np.array([[1.0], [-1.0], [0.5], [0.0]], "float32")


def test_every_schedule_is_here():
    schedules = keras.optimizers.schedules
    names = {name for name, _ in inspect.getmembers(schedules, inspect.isclass)}
    assert names == {*SCHEDULES, "LearningRateSchedule"}


def variables() -> list[tf.Variable]:
    return [tf.Variable(tf.ones((3, 2))), tf.Variable(tf.ones(2))]


def gradients(step: int) -> list[Any]:
    """A sparse one of the first, a dense one of the second."""
    values = tf.constant([[1.0, -2.0], [0.5, 1.0]]) * (step + 1)
    rows = tf.IndexedSlices(values, tf.constant([0, 2]), tf.constant([3, 2]))
    return [rows, tf.constant([1.0, -1.0]) * (step + 1)]


@pytest.mark.parametrize("name", SCHEDULES)
def test_a_schedule_moves_both_as_it_moves_each(name):
    def schedule():
        return getattr(keras.optimizers.schedules, name)(**SCHEDULES[name])

    combined = SparseDenseOptimizer(SMORMS3(schedule()), keras.optimizers.Adam(schedule()))
    each = [SMORMS3(schedule()), keras.optimizers.Adam(schedule())]
    ours, by_hand, rates = variables(), variables(), []
    for step in range(STEPS):
        combined.apply_gradients(zip(gradients(step), ours, strict=True))
        rates.append(float(combined.learning_rate))
        for one, gradient, variable in zip(each, gradients(step), by_hand, strict=True):
            one.apply_gradients([(gradient, variable)])
        assert rates[-1] == float(each[1].learning_rate)
    assert len(set(rates)) > 1
    for one, other in zip(ours, by_hand, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("name", CALLBACKS)
def test_a_callback_moves_both_by_one_factor(name):
    def trained(optimizer):
        net = keras.Sequential(
            [
                keras.Input((2,), dtype="int64"),
                keras.layers.Embedding(5, 3),
                keras.layers.GlobalAveragePooling1D(),
                keras.layers.Dense(1),
            ]
        )
        net.compile(optimizer, "mse")
        net.fit(X, Y, epochs=4, batch_size=2, verbose=0, callbacks=[CALLBACKS[name]()])
        return optimizer

    plain = trained(keras.optimizers.Adam(0.08))
    both = trained(SparseDenseOptimizer(SMORMS3(0.02), keras.optimizers.Adam(0.08)))
    assert float(plain.learning_rate) < 0.08
    assert float(both.learning_rate) == float(both.dense.learning_rate)
    assert float(both.learning_rate) == pytest.approx(float(plain.learning_rate), rel=1e-6)
    assert float(both.sparse.learning_rate) == pytest.approx(float(plain.learning_rate) / 4)
