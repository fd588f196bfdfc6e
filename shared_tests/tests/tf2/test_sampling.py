"""Keras is given the batches that NumPy draws, epoch by epoch."""

import doctest
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from numpy_infer.sampling import BalancedBatches, NearTriplets, joined
from tf2_impl.support import index_dataset
from tf2_impl.support.index_dataset import IndexDataset

LABELS = np.arange(40) % 7
TIMES = np.arange(40.0)
SAMPLERS = {
    "balanced": lambda: BalancedBatches(LABELS, classes=3, samples=2, seed=1),
    "triplets": lambda: NearTriplets(TIMES, near=2, far=9, batch_size=5, seed=1),
}


class Seen(keras.layers.Layer):
    """Keeps what comes in."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[list[int]] = []
        self.scale = self.add_weight(shape=(), initializer="ones")

    def call(self, x: Any) -> Any:
        if not isinstance(x, keras.KerasTensor) and tf.executing_eagerly():
            self.rows.append(np.asarray(x)[:, 0].astype(int).tolist())
        return x * self.scale


@pytest.mark.parametrize("name", SAMPLERS)
@pytest.mark.parametrize("built", [True, False])
def test_fit_is_given_the_batches_of_the_seed(name, built):
    seen = Seen()
    model = keras.Sequential([seen])
    model.compile(keras.optimizers.SGD(0.0), "mse", run_eagerly=True)
    rows = np.arange(40.0)[:, None]
    data, plain = IndexDataset(SAMPLERS[name](), rows, rows), SAMPLERS[name]()
    assert len(data) == len(plain)
    if built:
        model.build((None, 1))
        seen.rows.clear()
    model.fit(data, epochs=2, shuffle=False, verbose=0)
    model.fit(data, shuffle=False, verbose=0)
    wanted = [joined(batch).tolist() for _ in range(3) for batch in plain]
    assert seen.rows == wanted


def test_an_index_beyond_the_epoch_is_an_error():
    data = IndexDataset(SAMPLERS["balanced"](), LABELS)
    for index in (len(data), -1):
        with pytest.raises(IndexError, match=f"^index: expected one in 0..5, got {index}"):
            data[index]


def test_the_example():
    assert doctest.testmod(index_dataset).failed == 0
