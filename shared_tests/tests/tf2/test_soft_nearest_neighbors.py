"""The temperature of soft nearest neighbors in TensorFlow: positive, learned or given."""

import doctest
import math

import numpy as np
import pytest
import tensorflow as tf

from shared_tests.fixtures import normal
from tf2_impl import soft_nearest_neighbor_loss as component
from tf2_impl.soft_nearest_neighbor_loss import (
    SoftNearestNeighborLoss,
    soft_nearest_neighbor_loss,
)

LABELS = np.array([0, 0, 1, 1])


def test_the_example_entangles_and_keeps_the_temperature_positive():
    names = dict(vars(component))
    for one in doctest.DocTestParser().get_examples(SoftNearestNeighborLoss.__doc__):
        exec(one.source, names)
    after = float(names["loss"](names["x"], names["labels"]))
    assert 0.5 < after <= math.log(3) + 0.01
    assert float(names["loss"].inverse_temperature) > 0


@pytest.mark.parametrize("temperature", [0.0, -1.0])
def test_a_tensor_temperature_is_positive(temperature):
    x = tf.constant(normal(4, 2, seed=3))

    def loss(temperature):
        return soft_nearest_neighbor_loss(x, LABELS, temperature=temperature)

    wrong = tf.constant(temperature, x.dtype)
    with pytest.raises(ValueError, match="temperature: expected a number above 0"):
        loss(wrong)
    with pytest.raises(tf.errors.InvalidArgumentError, match="temperature: expected a number"):
        tf.function(loss)(wrong)
