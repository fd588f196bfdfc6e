"""Weights alone in a model of a model file: the map, what is checked, and all or none of it."""

import json

import numpy as np
import pytest

from numpy_infer.format.halves import bfloat16
from numpy_infer.format.weight_proposal import NEIGHBORS, propose
from numpy_infer.model_file import Model, load_model, write_model
from numpy_infer.weights import map_table, propose_map, save_weights, with_weights
from shared_tests.fixtures import normal


def mlp() -> Model:
    """Two square matrices and one that is not, all zero."""
    config = {
        "layers": [
            {"layer": "Input", "previous": [], "config": {}},
            {"layer": "Projection", "previous": [0], "config": {}},
            {"layer": "Tanh", "previous": [1], "config": {}},
            {"layer": "Projection", "previous": [2], "config": {}},
        ]
    }
    arrays = {
        "1.weight": np.zeros((5, 5), np.float32),
        "1.bias": np.zeros(5, np.float32),
        "3.weight": np.zeros((5, 5), np.float32),
        "3.bias": np.zeros(5, np.float32),
    }
    return Model("chain", config, arrays)


def originals() -> dict[str, np.ndarray]:
    """As PyTorch names and keeps them: (out, in)."""
    shapes = {"fc1.weight": (5, 5), "fc1.bias": (5,), "fc2.weight": (5, 5), "fc2.bias": (5,)}
    return {
        name: normal(*shape, seed=seed).astype(np.float32)
        for seed, (name, shape) in enumerate(shapes.items())
    }


def output(w, x):
    return np.tanh(x @ w["fc1.weight"].T + w["fc1.bias"]) @ w["fc2.weight"].T + w["fc2.bias"]


X = normal(3, 5, seed=9).astype(np.float32)


def test_weights_of_a_file_in_a_model_that_numpy_runs(tmp_path):
    w = originals()
    for ending in (".pt", ".npz", ".safetensors"):
        save_weights(tmp_path / f"w{ending}", w)
        loaded = with_weights(mlp(), tmp_path / f"w{ending}", example=(X, output(w, X)))
        write_model(tmp_path / "model", *loaded)
        assert np.allclose(load_model(tmp_path / "model")(X), output(w, X), atol=1e-6)


def test_a_square_matrix_that_was_not_turned_is_found_by_the_output():
    """The originals are (in, out) here, which no name says."""
    w = originals()
    turned = {name: one.T for name, one in w.items()}
    example = X, output(w, X)
    loaded = with_weights(mlp(), turned, example=example)
    assert np.array_equal(loaded.arrays["1.weight"], w["fc1.weight"].T)
    wrong = with_weights(mlp(), turned)  # without an output the names count
    assert np.array_equal(wrong.arrays["1.weight"], w["fc1.weight"])
    with pytest.raises(
        ValueError, match=r"(?s)^example: expected the original's output, .*fc1\.weight"
    ):
        with_weights(mlp(), turned, example=(X, output(w, X) + 1))
    with pytest.raises(ValueError, match="example: expected outputs of shapes"):
        with_weights(mlp(), turned, example=(X, output(w, X)[:, 1:]))


def test_all_or_nothing():
    model, w = mlp(), originals()
    with pytest.raises(ValueError, match=r"got none for 3\.bias of the model; names says .*\n"):
        with_weights(model, {name: one for name, one in w.items() if name != "fc2.bias"})
    with pytest.raises(ValueError, match=r"got none for extra, more of the weights"):
        with_weights(model, {**w, "extra": np.ones(2), "more": np.ones(3)})
    with pytest.raises(
        TypeError, match=r"that float32 holds for 1\.bias, got float64 in fc1\.bias"
    ):
        with_weights(model, {**w, "fc1.bias": w["fc1.bias"].astype(np.float64)})
    assert not any(one.any() for one in model.arrays.values())


def test_names_of_the_user_count(tmp_path):
    model, w = mlp(), originals()
    swapped = {"fc1.weight": "3.weight", "fc1.bias": "3.bias", "fc2.weight": "1.weight"}
    path = tmp_path / "map.json"
    path.write_text(json.dumps({"names": swapped, "layouts": {"fc1.weight": "same"}}))
    loaded = with_weights(model, w, path)
    assert np.array_equal(loaded.arrays["3.weight"], w["fc1.weight"])
    assert np.array_equal(loaded.arrays["1.weight"], w["fc2.weight"])  # as that of its name
    assert np.array_equal(loaded.arrays["1.bias"], w["fc2.bias"])
    left = {"fc2.weight": None, "fc2.bias": None}
    kept = with_weights(model, w, left, keep=["3.weight", "3.bias"])
    assert not kept.arrays["3.weight"].any()
    assert kept.arrays["1.weight"].any()
    for wrong, message in (
        ({"names": {"fc9": None}}, r"names: expected one of fc1\.weight, .*, got 'fc9'"),
        ({"keep": ["9.bias"]}, r"keep: expected one of 1\.weight, .*, got '9\.bias'"),
    ):
        with pytest.raises(ValueError, match=message):
            with_weights(model, w, **wrong)
    for text in ("{", "[]", '{"names": 3}', '{"map": {}}'):
        path.write_text(text)
        with pytest.raises(ValueError, match=r"map\.json: expected"):
            with_weights(model, w, path)


def test_halves_and_counters_and_tied_weights():
    w = originals()
    brain = {name: bfloat16(one) for name, one in w.items()}
    counted = {**brain, "steps": np.array(3), "tied": brain["fc1.weight"]}
    loaded = with_weights(mlp(), counted)
    error = np.abs(loaded.arrays["1.weight"] - w["fc1.weight"].T).max()
    assert 0 < error < 2.0**-7


def test_the_table_shows_what_becomes_what():
    file = {"fc.weight": np.ones((2, 3)), "old": np.ones(7)}
    model = {"dense/kernel": np.ones((3, 2)), "dense/bias": np.ones(2)}
    assert map_table(propose_map(file, model), file, model).splitlines() == [
        "weights    shape   layout     model         shape",
        "fc.weight  (2, 3)  transpose  dense/kernel  (3, 2)",
        "old        (7,)    none",
        "                   none       dense/bias    (2,)",
    ]


def test_depthwise_kernels():
    w = normal(6, 1, 2, 3, seed=0)
    found = propose_map({"conv.weight": w}, {"kernel": np.zeros((2, 3, 3, 2))})
    turned = found.forward({"conv.weight": w})["kernel"]
    assert turned[1, 2, 2, 1] == w[5, 0, 1, 2]
    again = propose_map({"kernel": turned}, {"weight": w}).forward({"kernel": turned})
    assert np.array_equal(again["weight"], w)


@pytest.mark.parametrize("count", [NEIGHBORS - 1, 4 * NEIGHBORS])
def test_many_arrays_of_one_size(count):
    """Below and above the number that are all compared with each other; names and order agree."""
    file = {f"layers.{index}.weight": np.full(3, index) for index in range(count)}
    model = {f"block_{index}/scale": np.zeros(3) for index in range(count)}
    alike = {f"layers_{index}/scale": np.zeros(3) for index in range(count)[::-1]}
    for targets, name in ((model, "block"), (alike, "layers")):
        found = propose(file, targets).forward(file)
        assert all(found[f"{name}_{index}/scale"][0] == index for index in range(count))


@pytest.mark.parametrize(
    "shapes",
    [
        {"a.weight_ih": (9, 2)},
        {"a.weight_ih": (9, 2), "a.weight_hh": (3,)},
        {"a.weight_ih": (9,), "a.weight_hh": (9, 3)},
        {"recurrent_kernel": (3, 9)},
        {"recurrent_kernel": (), "kernel": (2, 9)},
        {"hidden_weight": (3, 9), "input_weight": (2, 9), "input_bias": (9,)},
        {"hn/kernel": (3, 3)},
        {"hn/kernel": (3,), "in/kernel": (3,)},
    ],
)
def test_what_is_named_as_a_cell_and_is_none(shapes):
    arrays = {name: np.zeros(shape) for name, shape in shapes.items()}
    assert len(propose(arrays, arrays).links) == len(arrays)
