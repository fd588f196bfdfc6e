"""`fourfold describe`, `check`, `predict` and `convert`: model files, and frameworks' own files."""

import keras
import numpy as np
import pytest
import torch

from fourfold.command_line import main
from numpy_infer.model_file import read_metadata, read_model
from pytorch_impl import interchange as torch_interchange
from shared_tests.model_files.samples import SAMPLES
from tf2_impl import interchange as keras_interchange


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A perceptron (float32, 5 features to 2) in the current folder."""
    monkeypatch.chdir(tmp_path)
    SAMPLES["perceptron"].write(tmp_path / "model.safetensors")
    return tmp_path


def test_the_commands_of_numpy_infer_are_called_by_this_name(folder, capsys):
    assert main(["check", "model.safetensors"]) == 0
    assert capsys.readouterr().out.startswith("good: model.safetensors: chain of 7 layers, ")
    assert main(["describe", "none"]) == 1
    assert capsys.readouterr().err == "fourfold: none: No such file or directory\n"
    np.save("x.npy", np.ones((3, 5), "float32"))
    assert main(["predict", "model.safetensors", "x.npy", "y.npy", "--batch-size", "2"]) == 0
    assert np.load("y.npy").shape == (3, 2)


def test_convert_changes_the_dtype_and_keeps_the_metadata(folder, capsys):
    assert main(["convert", "model.safetensors", "wide.safetensors", "--dtype", "float64"]) == 0
    assert capsys.readouterr().out.startswith("wide.safetensors: ")
    narrow, wide = (read_model(f"{name}.safetensors") for name in ("model", "wide"))
    assert {array.dtype.name for array in wide.arrays.values()} == {"float64"}
    for name, array in narrow.arrays.items():
        np.testing.assert_array_equal(wide.arrays[name], array)
    metadata, kept = (read_metadata(f"{name}.safetensors") for name in ("model", "wide"))
    assert kept.keys() == metadata.keys()
    np.testing.assert_array_equal(kept["vectors"], metadata["vectors"])


def test_a_model_goes_to_keras_and_comes_back(folder):
    assert main(["convert", "model.safetensors", "model.keras"]) == 0
    x = np.random.default_rng(1).normal(size=(4, 5)).astype("float32")
    wanted = keras_interchange.load_model("model.safetensors")(x).numpy()
    np.testing.assert_array_equal(keras.saving.load_model("model.keras")(x).numpy(), wanted)
    assert main(["convert", "model.keras", "back.safetensors"]) == 0
    model, back = read_model("model.safetensors"), read_model("back.safetensors")
    assert back.component == model.component
    assert back.config["layers"][-1] == model.config["layers"][-1]
    for name, array in model.arrays.items():
        np.testing.assert_array_equal(back.arrays[name], array)


def test_a_state_dict_loads_without_code(folder):
    assert main(["convert", "model.safetensors", "weights.pt", "--dtype", "float64"]) == 0
    state = torch.load("weights.pt", weights_only=True)
    model = torch_interchange.load_model("model.safetensors").double()
    assert state.keys() == model.state_dict().keys()
    for name, array in model.state_dict().items():
        assert torch.equal(state[name], array)


def test_the_arrays_alone(folder):
    assert main(["convert", "model.safetensors", "arrays.npz"]) == 0
    with np.load("arrays.npz") as found:
        for name, array in read_model("model.safetensors").arrays.items():
            np.testing.assert_array_equal(found[name], array)


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["model.safetensors", "model.onnx"], 2, "expected one of .safetensors to .safetensors, "),
        (["weights.pt", "model.onnx"], 2, "got .pt to .onnx"),
        (["none.safetensors", "m.keras"], 1, "fourfold: none.safetensors: No such file or dir"),
        (["model.safetensors", "there.npz"], 1, "there.npz: is there already; --force replaces it"),
        (["bad.safetensors", "m.npz"], 1, "fourfold: bad.safetensors: expected a header of"),
        (["bad.keras", "m.safetensors"], 1, "bad.keras"),
        (["m.keras", "m.safetensors", "--dtype=float32"], 2, "expected a model file as the source"),
        (["model.safetensors"], 2, "Missing argument 'TARGET'"),
    ],
)
def test_what_cannot_be_converted_is_one_line(arguments, status, message, folder, capsys):
    for name in ("there.npz", "bad.safetensors", "bad.keras"):
        (folder / name).write_text("no model")
    before = sorted(one.name for one in folder.iterdir())
    assert main(["convert", *arguments]) == status
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1
    assert message in said.err
    assert sorted(one.name for one in folder.iterdir()) == before


def test_weights_alone_go_from_format_to_format(folder, capsys):
    torch.save({"a": torch.tensor([1.5]), "b": torch.tensor([1, 2])}, "state.pth")
    steps = ("w.safetensors", "w.npz", "w.pt")
    for source, target in zip(("state.pth", *steps), steps, strict=False):
        assert main(["convert", source, target, "--dtype", "bfloat16"]) == 0
    capsys.readouterr()
    found = torch.load("w.pt", weights_only=True)
    assert torch.equal(found["a"], torch.tensor([1.5], dtype=torch.bfloat16))
    assert torch.equal(found["b"], torch.tensor([1, 2]))
    assert main(["weights", "w.npz"]) == 0
    assert capsys.readouterr().out.splitlines()[2:] == [
        "array  shape  dtype     bytes",
        "a      (1,)   bfloat16  2",
        "b      (2,)   int64     16",
    ]
    assert main(["convert", "model.safetensors", "x.safetensors", "--dtype", "float16"]) == 2
    assert "expected float32 or float64 for a model" in capsys.readouterr().err
