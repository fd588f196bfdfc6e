"""Weights alone and Keras: its own files without it, and models that take those of others."""

import h5py
import keras
import numpy as np
import pytest
from keras import layers

from numpy_infer.model_file import ModelFileError
from numpy_infer.weights import load_weights
from shared_tests.fixtures import normal
from tf2_impl.interchange import load_weights as load_into


def model() -> keras.Model:
    """Layers of several classes, whose names do not tell them, and cells in them."""
    words = keras.Input((None,), dtype="int32")
    x = layers.Embedding(11, 4, name="words")(words)
    x = layers.Bidirectional(layers.GRU(3, return_sequences=True), name="both")(x)
    x = layers.LayerNormalization(name="norm")(x)
    x = layers.Conv1D(5, 2, name="stem")(x)
    x = layers.BatchNormalization(name="batch")(layers.GlobalAveragePooling1D()(x))
    return keras.Model(words, layers.Dense(2, name="top")(x))


def moved(one: keras.Model) -> keras.Model:
    """With other weights, all different."""
    for place, variable in enumerate(one.weights):
        variable.assign(0.5 + 0.1 * normal(*variable.shape, seed=place))
    return one


def test_a_file_of_keras_is_read_and_names_what_the_model_names(tmp_path):
    original, port = moved(model()), model()
    original.save_weights(tmp_path / "w.weights.h5")
    found = load_weights(tmp_path / "w.weights.h5")
    assert len(found) == len(original.weights)
    values = [np.asarray(one) for one in original.weights]
    assert all(any(np.array_equal(one, value) for value in values) for one in found.values())
    assert {"stem/kernel", "batch/moving_mean", "words/embeddings"} <= {
        name.partition("/")[2] for name in found
    }
    load_into(port, tmp_path / "w.weights.h5")
    for one, other in zip(original.weights, port.weights, strict=True):
        assert np.array_equal(one, other), one.path


def test_more_than_ten_layers_of_one_class_keep_their_order(tmp_path):
    def chain() -> keras.Model:
        return keras.Sequential([keras.Input((3,)), *[layers.Dense(3) for _ in range(12)]])

    original, port = moved(chain()), chain()
    original.save_weights(tmp_path / "w.weights.h5")
    load_into(port, tmp_path / "w.weights.h5")
    for one, other in zip(original.weights, port.weights, strict=True):
        assert np.array_equal(one, other), one.path


def test_the_state_of_an_optimizer_is_left_out(tmp_path):
    trained = keras.Sequential([keras.Input((3,)), layers.Dense(2)])
    trained.compile("adam", "mse")
    trained.train_on_batch(np.zeros((1, 3)), np.zeros((1, 2)))
    trained.save_weights(tmp_path / "w.weights.h5")
    with h5py.File(tmp_path / "w.weights.h5") as file:
        assert "optimizer" in file
    assert len(load_weights(tmp_path / "w.weights.h5")) == 2


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float64"])
def test_other_precisions(tmp_path, dtype):
    original = moved(keras.Sequential([keras.Input((3,)), layers.Dense(2, dtype=dtype)]))
    port = keras.Sequential([keras.Input((3,)), layers.Dense(2, dtype=dtype)])
    original.save_weights(tmp_path / "w.weights.h5")
    load_into(port, tmp_path / "w.weights.h5")
    for one, other in zip(original.weights, port.weights, strict=True):
        assert np.array_equal(np.float64(one), np.float64(other))
    wide = load_weights(tmp_path / "w.weights.h5", dtype="float64")
    assert all(one.dtype == np.float64 for one in wide.values())


def hostile(kind: str, file: h5py.File, folder) -> None:
    group = file.create_group("layers/dense/vars")
    if kind == "a link to another file":
        group["0"] = h5py.ExternalLink(str(folder / "other.h5"), "x")
    elif kind == "a link to nowhere":
        group["0"] = h5py.SoftLink("/nothing")
    elif kind == "groups in a circle":
        group["again"] = file["layers"]
    elif kind == "numbers in another file":
        raw = folder / "raw"
        raw.write_bytes(bytes(8))
        group.create_dataset("0", (2,), "f4", external=[(str(raw), 0, 8)])
    elif kind == "a shape without numbers":
        group.create_dataset("0", (2**20, 2**20), "f4", chunks=(64, 64), fillvalue=1)
    elif kind == "much of little":
        group.create_dataset("0", data=np.zeros(2**22), compression="gzip")
    elif kind == "text":
        group.create_dataset("0", data="text")


@pytest.mark.parametrize(
    "kind",
    [
        *("a link to another file", "a link to nowhere", "groups in a circle"),
        *("numbers in another file", "a shape without numbers", "much of little", "text"),
    ],
)
def test_hostile_files(tmp_path, kind):
    with h5py.File(tmp_path / "w.weights.h5", "w") as file:
        hostile(kind, file, tmp_path)
    with pytest.raises(ModelFileError, match=r"w\.weights\.h5: .*expected"):
        load_weights(tmp_path / "w.weights.h5")


def test_a_model_is_as_it_was_when_anything_does_not_fit():
    port = keras.Sequential([keras.Input((3,)), layers.Dense(2)])
    before = port.get_weights()
    good = {"fc.weight": np.ones((2, 3), np.float32), "fc.bias": np.ones(2, np.float32)}
    x = np.ones((1, 3), np.float32)
    for error, options, arrays in (
        (ValueError, {}, {"fc.weight": good["fc.weight"]}),
        (ValueError, {"example": (x, np.full((1, 2), 9.0))}, good),
        (TypeError, {}, {name: one.astype(np.float64) for name, one in good.items()}),
    ):
        with pytest.raises(error, match="expected"):
            load_into(port, arrays, **options)
        assert all(np.array_equal(a, b) for a, b in zip(before, port.get_weights(), strict=True))
    load_into(port, good, example=(x, np.full((1, 2), 4.0)))
    with pytest.raises(ValueError, match="model: expected one that is built"):
        load_into(layers.Dense(2), good)
