"""The digits beside the tests are those that scikit-learn ships."""

import numpy as np
from sklearn.datasets import load_digits

from shared_tests.fixtures import digits


def test_digits_are_those_of_scikit_learn():
    pixels, labels = digits(97)
    shipped = load_digits()
    np.testing.assert_array_equal(pixels * 16, shipped.data[:97])
    np.testing.assert_array_equal(labels, shipped.target[:97])
