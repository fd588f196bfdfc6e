"""`python -m numpy_infer`: what it prints, what it leaves, and how it ends."""

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from numpy_infer.feedback_network import FeedbackNetwork
from numpy_infer.format import safetensors_file
from numpy_infer.model_file import load_model, write_model
from numpy_infer.neighbor_memory import NeighborMemory
from numpy_infer.small_world_index import SmallWorldIndex
from numpy_infer.sparse_projection import SparseMatrix
from shared_tests.fixtures import normal
from shared_tests.model_files.samples import SAMPLES, arrays, chain, write_unchecked

ROOT = Path(__file__).parents[3]


@pytest.fixture
def folder(tmp_path):
    """A perceptron (float32, 5 features to 2), and files that go with it."""
    SAMPLES["perceptron"].write(tmp_path / "model.safetensors")
    np.save(tmp_path / "x.npy", normal(2500, 5, seed=1).astype("float32"))
    np.save(tmp_path / "x64.npy", normal(7, 5, seed=1))
    return tmp_path


def run(folder, *arguments, **options):
    command = [sys.executable, "-m", "numpy_infer", *arguments]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "COLUMNS": "100"}
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, **options
    )


def fails(folder, *arguments):
    """The one line that is printed when something is wrong with a file."""
    done = run(folder, *arguments)
    assert done.returncode == 1, done
    assert done.stdout == ""
    assert done.stderr.startswith("numpy_infer: ")
    assert done.stderr.count("\n") == 1, "not one line"
    return done.stderr.removeprefix("numpy_infer: ")


def succeeds(folder, *arguments):
    done = run(folder, *arguments)
    assert (done.returncode, done.stderr) == (0, ""), done
    return done.stdout


TABLE = """\
model.safetensors: chain of 7 layers, format version 1, 36 parameters of float32 in 144 bytes, \
checksum right

place  layer       from  config                       \
arrays                                            output  parameters
0      Input                                          \
                                                  (n, 5)
1      Projection  0                                  \
weight (5, 3), bias (3,)                          (n, 3)  18
2      BatchNorm   1     epsilon=1e-05, momentum=0.1  \
scale (3,), shift (3,), mean (3,), variance (3,)  (n, 3)  12
3      ReLU        2                                  \
                                                  (n, 3)
4      Dropout     3     rate=0.5                     \
                                                  (n, 3)
5      Projection  4                                  \
weight (3, 2)                                     (n, 2)  6
6      Softmax     5     axis=-1                      \
                                                  (n, 2)

metadata
  classes: ["\\u00c4rger", "joy"]
  mel: {"bands": 40, "rate": 16000.0, "log": true, "top": null}
  vectors: {"shape": [3, 2], "dtype": "float64"}
  counts: {"shape": [5], "dtype": "uint16"}
"""


def test_describe_prints_a_table(folder):
    assert succeeds(folder, "describe", "model.safetensors", "--input-shape", "5") == TABLE


def test_describe_without_an_input_shape_has_no_outputs(folder):
    lines = succeeds(folder, "describe", "model.safetensors").splitlines()
    assert lines[2].split() == ["place", "layer", "from", "config", "arrays", "parameters"]


INDEX = """\
memory.safetensors: neighbor_memory of 5 vectors, format version 1, 100 bytes, checksum right

array    shape   type
vectors  (5, 3)  float32
labels   (5,)    int64

config: votes=3, threshold=0.25
"""


def test_the_files_of_indexes_are_known(folder):
    x = normal(5, 3, seed=2).astype("float32")
    memory = NeighborMemory(3, votes=3, threshold=0.25)
    memory.add(x, np.array([0, 1, 0, 1, 2]))
    memory.save(folder / "memory.safetensors")
    assert succeeds(folder, "describe", "memory.safetensors") == INDEX
    found = json.loads(succeeds(folder, "describe", "memory.safetensors", "--json"))
    assert (found["index"], found["vectors"], found["bytes"]) == ("neighbor_memory", 5, 100)
    assert found["config"] == {"votes": 3, "threshold": 0.25}
    assert found["arrays"]["vectors"] == {"shape": [5, 3], "dtype": "float32"}
    SmallWorldIndex.build(x).save(folder / "index.safetensors")
    names = ("memory.safetensors", "index.safetensors", "model.safetensors")
    lines = succeeds(folder, "check", *names).splitlines()
    assert [line.split(",")[0] for line in lines] == [
        "good: memory.safetensors: neighbor_memory of 5 vectors",
        "good: index.safetensors: small_world_index of 5 vectors",
        "good: model.safetensors: chain of 7 layers",
    ]
    shape = fails(folder, "describe", "memory.safetensors", "--input-shape", "3")
    assert "input_shape: expected none for an index, got [3]" in shape
    data = bytearray((folder / "memory.safetensors").read_bytes())
    data[-3] ^= 1
    (folder / "memory.safetensors").write_bytes(data)
    for command in ("check", "describe"):
        assert "checksum: expected" in fails(folder, command, "memory.safetensors")


@pytest.mark.parametrize("text", ["[]", "{", '{"kind": "another"}'])
def test_what_is_no_index_is_refused(folder, text):
    safetensors_file.write(folder / "odd", {"fourfold_index": text}, {"x": np.ones(3)})
    assert "expected" in fails(folder, "check", "odd")


@pytest.mark.parametrize(
    ("sample", "shape", "last"),
    [
        ("perceptron", "5", [None, 2]),
        ("mixture", "5", [None, 2]),
        ("padded embedding", "4", [None, 3]),
        ("tree", "2", "Tree"),
        ("autoencoder", "2,7,11", None),
        ("reader", "13", [None, 5]),
    ],
)
def test_describe_for_machines(sample, shape, last, tmp_path):
    model = SAMPLES[sample]
    model.write(tmp_path / "m")
    found = json.loads(succeeds(tmp_path, "describe", "m", "--json", "--input-shape", shape))
    assert (found["file"], found["version"], found["component"]) == ("m", 1, model.component)
    assert (found["checksum"], found["infers"]) == ("right", True)
    layers = found["layers"]
    if model.component == "chain":
        for layer, entry in zip(layers, model.config["layers"], strict=True):
            assert {key: layer[key] for key in ("layer", "previous", "config")} == {
                key: entry[key] for key in ("layer", "previous", "config")
            }
            assert layer["training"] == entry.get("training", {})
        shapes = {f"{one['place']}.{k}": v for one in layers for k, v in one["arrays"].items()}
    else:
        assert layers[0]["config"] == model.config
        shapes = layers[0]["arrays"]
    assert shapes == {name: list(array.shape) for name, array in model.arrays.items()}
    weights = model.arrays.values()
    assert found["parameters"] == sum(one.size for one in weights)
    assert found["parameters"] == sum(layer["parameters"] for layer in layers)
    assert found["bytes"] == sum(one.nbytes for one in weights)
    assert {found["dtype"]} == {str(one.dtype) for one in weights}
    if last is None:
        last = [None, *load_model(tmp_path / "m")[-1](model.x).shape[1:]]
    assert layers[-1]["output"] == last


def test_describe_says_that_a_model_is_for_frameworks(tmp_path):
    component = "soft_nearest_neighbor_loss.SoftNearestNeighborLoss"
    write_model(tmp_path / "m", component, {"temperature": 0.2}, {})
    assert "for a framework: NumPy does not have it" in succeeds(tmp_path, "describe", "m")
    assert succeeds(tmp_path, "check", "m").startswith(f"good: m: {component}, ")
    np.save(tmp_path / "x.npy", np.ones((2, 3)))
    assert "expected one that infers" in fails(tmp_path, "predict", "m", "x.npy", "y.npy")


def test_what_a_file_says_does_not_steer_the_terminal(tmp_path):
    arrays = {"\x1b[1m": np.ones(2)}
    write_unchecked(tmp_path / "m", "a.B", {"\x1b[2J": "\x1b[31m\u202e"}, arrays)
    said = fails(tmp_path, "describe", "m")
    assert "\x1b" not in said
    assert "\u202e" not in said
    config = chain(("ReLU", {}), ("ReLU", {"\x1b[2J\u202e": 1}))
    write_unchecked(tmp_path / "bad", "chain", config, {})
    said = fails(tmp_path, "check", "bad")
    assert said.endswith("layer 2 (ReLU): config: expected none, got \\x1b[2J\\u202e\n")


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-"])
def test_a_closed_stream_is_no_failure(closed, folder):
    command = f"{sys.executable} -m numpy_infer check {folder}/model.safetensors {closed}"
    done = subprocess.run(command, shell=True, cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "" or closed == "2>&-"


def test_describe_into_a_pipe_that_closes(folder):
    command = f"{sys.executable} -m numpy_infer describe {folder}/model.safetensors | true"
    done = subprocess.run(command, shell=True, cwd=ROOT, capture_output=True, text=True)
    assert done.stderr == ""


def test_predict_writes_what_the_model_gives(folder):
    said = succeeds(folder, "predict", "model.safetensors", "x.npy", "y.npy", "--batch-size", "7")
    assert said == "y.npy: (2500, 2) of float32\n"
    y = np.load(folder / "y.npy")
    wanted = load_model(folder / "model.safetensors")[-1](np.load(folder / "x.npy"))
    np.testing.assert_allclose(y, wanted, rtol=0, atol=1e-6)


def test_predict_replaces_nothing_unless_it_is_told_to(folder):
    (folder / "y.npy").write_bytes(b"mine")
    command = ("predict", "model.safetensors", "x.npy", "y.npy")
    assert fails(folder, *command) == "y.npy: is there already; --force replaces it\n"
    assert (folder / "y.npy").read_bytes() == b"mine"
    succeeds(folder, *command, "--force")
    assert np.load(folder / "y.npy").shape == (2500, 2)


def test_predict_casts_when_it_is_told_to(folder):
    command = ("predict", "model.safetensors", "x64.npy", "y.npy")
    said = fails(folder, *command)
    assert said == "x64.npy: x: expected float32, got float64; --cast converts it to float32\n"
    assert not (folder / "y.npy").exists()
    assert succeeds(folder, *command, "--cast") == "y.npy: (7, 2) of float32\n"
    wanted = load_model(folder / "model.safetensors")[-1](
        np.load(folder / "x64.npy").astype("float32")
    )
    np.testing.assert_array_equal(np.load(folder / "y.npy"), wanted)


def test_predict_shows_how_far_it_is_in_a_terminal(folder):
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "numpy_infer", "predict"]
    command += [folder / "model.safetensors", folder / "x.npy", folder / "y.npy"]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=theirs, text=True)
    os.close(theirs)
    shown = os.read(ours, 1000).decode()
    os.close(ours)
    assert done.returncode == 0
    steps = [f"{rows} of 2,500 rows" for rows in ("1,024", "2,048", "2,500")]
    assert shown == "".join(f"\r{step}" for step in steps) + "\r\n"


BAD_INPUTS = {
    "empty": (b"", "expected an .npy file of numbers"),
    "text": (b"1 2 3\n4 5 6\n", "expected an .npy file of numbers"),
    "pickle": (b"\x80\x04N.", "expected an .npy file of numbers"),
    "zip": (b"PK\3\4" + bytes(99), "expected an .npy file of numbers"),
    "other width": (np.ones((3, 4), np.float32), "x: expected 5 features, got shape (3, 4)"),
    "no rows": (np.ones((0, 5), np.float32), "x: expected at least one row"),
    "a number": (np.float32(1), "expected"),
    "whole numbers": (np.ones((3, 5), int), "got int64\n"),
    "a table": (np.ones(3, [("a", "f4")]), "x: expected"),
    "objects": (np.array([[None]]), "expected an .npy file of numbers"),
}


@pytest.mark.parametrize("name", BAD_INPUTS)
def test_predict_says_what_is_wrong_with_its_input(name, folder):
    content, message = BAD_INPUTS[name]
    if isinstance(content, bytes):
        (folder / "bad.npy").write_bytes(content)
    else:
        np.save(folder / "bad.npy", content)
    said = fails(folder, "predict", "model.safetensors", "bad.npy", "y.npy")
    assert said.startswith("bad.npy: ")
    assert message in said
    assert "--cast" not in said
    assert not (folder / "y.npy").exists()


def test_predict_says_what_is_wrong_with_files(folder):
    model, x = "model.safetensors", "x.npy"
    assert fails(folder, "predict", "none", x, "y.npy") == "none: No such file or directory\n"
    assert "header" in fails(folder, "predict", x, x, "y.npy")
    assert fails(folder, "predict", model, "none", "y.npy") == "none: No such file or directory\n"
    assert "No such file" in fails(folder, "predict", model, x, "none/y.npy")
    assert "name ending in .npy" in fails(folder, "predict", model, x, "y.csv")


def test_predict_of_several_outputs_and_of_sparse_input(tmp_path):
    names = ("data", "indices", "indptr", "shape")
    x = np.array([[0, 2, 0], [0, 0, 0], [1, 0, 3]], "float64")
    config = {"in_features": 3, "out_features": 5, "bias": True}
    arrays = {"weight": normal(3, 5, seed=1), "bias": normal(5, seed=2)}
    write_model(tmp_path / "m", "sparse_projection.SparseProjection", config, arrays)
    for layout in ("csr", "csc"):
        sparse = SparseMatrix.from_dense(x, layout)
        parts = {name: getattr(sparse, name) for name in names}
        np.savez(tmp_path / "x.npz", format=np.array(layout.encode()), **parts)
        said = succeeds(tmp_path, "predict", "m", "x.npz", "y.npy", "--batch-size", "2", "--force")
        assert said == "y.npy: (3, 5) of float64\n"
        wanted = x @ arrays["weight"] + arrays["bias"]
        np.testing.assert_allclose(np.load(tmp_path / "y.npy"), wanted, rtol=0, atol=1e-14)
    np.savez(tmp_path / "x32.npz", **parts | {"data": parts["data"].astype("float32")})
    np.savez(tmp_path / "part.npz", data=x)
    (tmp_path / "bad.npz").write_bytes(b"PK\3\4")
    assert "--cast converts it" in fails(tmp_path, "predict", "m", "x32.npz", "z.npy")
    for bad in ("part.npz", "bad.npz"):
        said = fails(tmp_path, "predict", "m", bad, "z.npy")
        assert said.startswith(f"{bad}: expected an .npz file of data, indices, indptr and shape")

    config = {"in_features": 3, "classes": [2, 7], "hidden": 4}
    shapes = FeedbackNetwork.array_shapes(**config)
    arrays = {name: normal(*shape, seed=3) for name, shape in shapes.items()}
    write_model(tmp_path / "m", "feedback_network.FeedbackNetwork", config, arrays)
    np.save(tmp_path / "x.npy", x)
    assert "ending in .npz" in fails(tmp_path, "predict", "m", "x.npy", "z.npy")
    said = succeeds(tmp_path, "predict", "m", "x.npy", "z.npz")
    assert said == "z.npz: output_0 (3, 2) of float64\nz.npz: output_1 (3, 7) of float64\n"
    with np.load(tmp_path / "z.npz") as found:
        for place, wanted in enumerate(load_model(tmp_path / "m")[-1](x)):
            np.testing.assert_allclose(found[f"output_{place}"], wanted, rtol=0, atol=1e-14)


def test_predict_of_ids(tmp_path):
    SAMPLES["reader"].write(tmp_path / "m")
    np.save(tmp_path / "ids.npy", SAMPLES["reader"].x)
    np.save(tmp_path / "x.npy", np.ones((3, 5)))
    assert succeeds(tmp_path, "predict", "m", "ids.npy", "y.npy") == "y.npy: (2, 5) of float32\n"
    succeeds(tmp_path, "predict", "m", "ids.npy", "cast.npy", "--cast")
    assert (tmp_path / "cast.npy").read_bytes() == (tmp_path / "y.npy").read_bytes()
    said = fails(tmp_path, "predict", "m", "x.npy", "z.npy")
    assert "expected integers, got float64" in said
    assert "--cast" not in said


def test_check_names_every_bad_file(folder):
    (folder / "text").write_text("no model")
    write_unchecked(
        folder / "misfit",
        "chain",
        chain(("Projection", {}), ("Projection", {})),
        arrays(p1_weight=(5, 3), p2_weight=(4, 2)),
    )
    data = bytearray((folder / "model.safetensors").read_bytes())
    data[-1] ^= 1
    (folder / "damaged").write_bytes(data)
    names = ["text", "model.safetensors", "misfit", "damaged", "none", "."]
    done = run(folder, "check", *names)
    assert done.returncode == 1
    assert done.stdout.startswith("good: model.safetensors: chain of 7 layers, ")
    assert done.stdout.count("\n") == 1
    lines = done.stderr.splitlines()
    wanted = [
        "text: expected a header of ",
        "misfit: layer 2 (Projection): previous: expected 4 features, got 3",
        "damaged: checksum: expected ",
        "none: No such file or directory",
        ".: expected a regular file",
    ]
    for line, start in zip(lines, wanted, strict=True):
        assert line.startswith(f"numpy_infer: {start}")
    assert succeeds(folder, "check", "model.safetensors", "model.safetensors").count("good") == 2


def test_describe_says_what_is_wrong(folder):
    said = fails(folder, "describe", "model.safetensors", "--input-shape", "7")
    assert said == (
        "model.safetensors: cannot run on rows of shape 7: x: expected 5 features, "
        "got shape (1, 7)\n"
    )
    assert "header" in fails(folder, "describe", "x.npy")


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["train"],
        ["describe"],
        ["describe", "model.safetensors", "--input-shape", "5,x"],
        ["describe", "model.safetensors", "--input-shape", ""],
        ["check"],
        ["predict", "model.safetensors", "x.npy"],
        ["predict", "model.safetensors", "x.npy", "y.npy", "--batch-size", "0"],
        ["predict", "model.safetensors", "x.npy", "y.npy", "--batch-size", "many"],
        ["predict", "model.safetensors", "x.npy", "y.npy", "--size", "3"],
    ],
)
def test_a_command_that_is_not_understood_ends_with_2(arguments, folder):
    done = run(folder, *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert "usage: python -m numpy_infer" in done.stderr
    assert not (folder / "y.npy").exists()


@pytest.mark.parametrize("command", ["describe", "predict", "check"])
def test_help_has_an_example(command, tmp_path):
    said = succeeds(tmp_path, command, "--help")
    assert f"\n  python -m numpy_infer {command} " in said
    assert command in succeeds(tmp_path, "--help")


def test_version(tmp_path):
    said = succeeds(tmp_path, "--version")
    assert said == f"model files of version 1, NumPy {np.__version__}\n"
