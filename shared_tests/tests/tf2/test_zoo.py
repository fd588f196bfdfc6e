"""Whole networks of `keras.applications`: to a file, to NumPy, and back to Keras."""

import numpy as np
import pytest

import numpy_infer
from shared_tests.zoo.from_keras import save
from tf2_impl import interchange


@pytest.mark.parametrize("name", ["EfficientNetB0"])
def test_a_network_of_keras_travels(name, tmp_path):
    x, wanted = save(name, "float64", tmp_path / "model")
    largest = np.abs(wanted).max()
    found = numpy_infer.load_model(tmp_path / "model")(x)
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-9 * largest)
    loaded = interchange.load_model(tmp_path / "model")
    again = loaded(np.moveaxis(x, 1, -1), training=False)
    np.testing.assert_allclose(again, wanted, rtol=0, atol=1e-12 * largest)
