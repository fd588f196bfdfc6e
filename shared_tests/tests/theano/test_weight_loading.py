"""Weights alone and Theano: components and lists of layers that take weights of other files."""

import theano_impl  # noqa: F401  (prepares what the first import of theano needs)

# isort: split

import numpy as np
import pytest
import theano.tensor as T

from numpy_infer.weights import save_weights
from shared_tests.fixtures import normal
from theano_impl.interchange import load_weights, to_arrays
from theano_impl.layers.activations import Tanh
from theano_impl.layers.projection import Projection
from theano_impl.layers.recurrent import GRU

X = normal(3, 5, seed=9)


def mlp() -> list:
    first = Projection(T.dmatrix("x"), 5, 5)
    second = Tanh(first.output)
    return [first, second, Projection(second.output, 5, 5)]


def originals() -> dict[str, np.ndarray]:
    """As PyTorch names and keeps them: (out, in)."""
    shapes = {"fc1.weight": (5, 5), "fc1.bias": (5,), "fc2.weight": (5, 5), "fc2.bias": (5,)}
    return {name: normal(*shape, seed=seed) for seed, (name, shape) in enumerate(shapes.items())}


def test_a_list_of_layers_takes_a_state_dict(tmp_path):
    w, model = originals(), mlp()
    hidden = np.tanh(X @ w["fc1.weight"].T + w["fc1.bias"])
    save_weights(tmp_path / "w.pt", w)
    load_weights(model, tmp_path / "w.pt", example=(X, hidden @ w["fc2.weight"].T + w["fc2.bias"]))
    assert np.array_equal(to_arrays(model)["1.weight"], w["fc1.weight"].T)
    # The other way round, which only the output shows.
    hidden = np.tanh(X @ w["fc1.weight"] + w["fc1.bias"])
    load_weights(model, w, example=(X, hidden @ w["fc2.weight"] + w["fc2.bias"]))
    assert np.array_equal(to_arrays(model)["3.weight"], w["fc2.weight"])


def test_a_model_is_as_it_was_when_anything_does_not_fit():
    model, w = mlp(), originals()
    before = to_arrays(model)
    for error, options, arrays in (
        (ValueError, {}, {name: one for name, one in w.items() if name != "fc1.bias"}),
        (ValueError, {"example": (X, np.full((3, 5), 99.0))}, w),
        (ValueError, {"example": ((X, X), np.zeros((3, 5)))}, w),
        (ValueError, {"names": {"fc1.bias": "1.weight"}}, w),
    ):
        with pytest.raises(error, match="expected"):
            load_weights(model, arrays, **options)
        now = to_arrays(model)
        assert all(np.array_equal(now[name], one) for name, one in before.items())


def test_the_gates_of_a_recurrent_layer_of_keras():
    layer = GRU(T.dtensor3("x"), 3, 4)
    arrays = {
        "gru/gru_cell/kernel": normal(3, 12, seed=0),
        "gru/gru_cell/recurrent_kernel": normal(4, 12, seed=1),
        "gru/gru_cell/bias": normal(2, 12, seed=2),
    }
    load_weights([layer], arrays)
    z, r, n = np.split(arrays["gru/gru_cell/kernel"], 3, axis=1)
    found = to_arrays([layer])["1.input_weight"]
    assert np.array_equal(found, np.concatenate([r, z, n], axis=1))
