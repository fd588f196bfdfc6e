"""Networks of `keras.applications` with random weights, saved by tf2_impl."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np

from shared_tests.zoo.networks import KERAS
from tf2_impl.interchange import save_model


def save(name: str, dtype: str, path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Save the network. Returns an input, channels first, and its output.

    ValueError for what does not travel.
    """
    size = KERAS[name]
    keras.backend.clear_session()
    keras.utils.set_random_seed(0)
    keras.config.set_dtype_policy(dtype)
    try:
        make = getattr(keras.applications, name)
        model = make(weights=None, input_shape=(size, size, 3), classes=10)
    finally:
        keras.config.set_dtype_policy("float32")
    rng = np.random.default_rng(0)
    for layer in model.layers:
        if isinstance(layer, keras.layers.Normalization) and layer.input_mean is None:
            layer.adapt_mean.assign([0.4, 0.5, 0.45])
            layer.adapt_variance.assign([0.05, 0.06, 0.07])
            layer.finalize_state()
    # keras.applications makes its inputs float32, whatever the policy: others would be rounded.
    x = rng.uniform(0, 1, (4, size, size, 3)).astype("float32").astype(dtype)
    settle(model, x, rng)
    x = x[:1]
    save_model(model, path)
    return np.moveaxis(x, -1, 1), np.asarray(model(x, training=False))


def settle(model: keras.Model, x: np.ndarray, rng: np.random.Generator) -> None:
    """Statistics of every batch norm near those of its own input, and no two alike.

    With others the values of a deep network grow or vanish from layer to layer.
    """
    norms = [one for one in model.layers if isinstance(one, keras.layers.BatchNormalization)]
    before = [one.momentum for one in norms]
    for one in norms:
        one.momentum = 0.0
    model(x, training=True)
    for one, momentum in zip(norms, before, strict=True):
        one.momentum = momentum
        shape, variance = one.moving_mean.shape, one.moving_variance.numpy()
        one.moving_variance.assign(variance * rng.uniform(0.8, 1.25, shape) + 1e-3)
        one.moving_mean.assign(one.moving_mean + rng.normal(0, 0.1, shape) * variance**0.5)
