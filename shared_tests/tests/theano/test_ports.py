"""Theano under `fourfold.compare`: functions with and without weights, and layers."""

from fourfold.ports.theano_port import PORT  # prepares what the first import of theano needs

# isort: split
import numpy as np
import pytest
import theano
import theano.tensor as T

import fourfold
from fourfold.definition import Case, upstream

WEIGHTS = {"weight": np.arange(6.0).reshape(3, 2) / 7 - 0.3, "bias": np.array([0.5, -1.5])}


def reference(w, x):
    return np.tanh(x @ w["weight"] + w["bias"])


CASES = [
    Case("one", {"x": np.cos(np.arange(12.0)).reshape(4, 3)}, weights=WEIGHTS),
    Case("another", {"x": np.sin(np.arange(6.0)).reshape(2, 3)}, weights=WEIGHTS),
]


def test_a_function_of_its_weights():
    def right(w, x):
        return T.tanh(T.dot(x, w["weight"]) + w["bias"])

    found = fourfold.compare({"theano": right}, CASES, reference)
    assert found, str(found)
    assert {"gradient:x", "gradient:bias"} <= {row.quantity for row in found.rows}
    wrong = fourfold.compare({"theano": lambda w, x: T.dot(x, w["weight"])}, CASES, reference)
    assert {row.quantity for row in wrong.differing} == {
        *("value:output", "gradient:x", "gradient:weight", "gradient:bias")
    }


class Layer:
    """A layer as Theano's tutorials write it."""

    def __init__(self, x, size=2):
        start = np.ones((3, size), theano.config.floatX)
        self.weight = theano.shared(start, "weight")
        self.bias = theano.shared(np.zeros(size, theano.config.floatX), "bias")
        self.params = [self.weight, self.bias]
        self.output = T.tanh(T.dot(x, self.weight) + self.bias)


def test_a_layer_with_these_weights():
    found = fourfold.compare({"theano": Layer}, CASES, reference, training=2)
    assert found, str(found)


@pytest.mark.parametrize("last", [False, True])
def test_the_gradient_of_an_output_is_weighted_by_entries_that_differ(last):
    x = np.cos(np.arange(12.0)).reshape(2, 3, 2)
    case = Case("one", {"x": x}, channels=("output",) if last else ())
    found = PORT.call(lambda x: x**2, case, gradients=True)
    factor = upstream((2, 2, 3)).transpose(0, 2, 1) if last else upstream((2, 3, 2))
    np.testing.assert_allclose(found.input_gradients["x"], 2 * x * factor)
