"""Networks with branches, read and called with NumPy alone; what no graph can be is refused."""

import json

import numpy as np
import pytest

import numpy_infer
from fourfold.agreement import assert_close
from numpy_infer import model_file
from numpy_infer.__main__ import main
from numpy_infer.format.description import describe
from shared_tests.model_files import wrong_files
from shared_tests.model_files.graphs import GATED, GRAPHS, RESIDUAL, SIAMESE, graph
from shared_tests.model_files.samples import write_unchecked


def written(path, example, config=None):
    model_file.write_model(path, "graph", config or example.config, example.arrays)
    return numpy_infer.load_model(path)


@pytest.mark.parametrize("name", GRAPHS)
def test_a_graph_computes_its_formula(name, tmp_path):
    example = GRAPHS[name]
    net = written(tmp_path / "model", example)
    wanted = example.outputs()
    found = net(example.inputs)
    found = found if len(wanted) > 1 else {"output": found}
    assert list(found) == list(wanted)
    for key, value in wanted.items():
        assert_close(found[key], value, 1e-12, key)


def test_attention_that_multiplies_its_entries_is_refused(tmp_path):
    """Entries as many queries of width 1, with all entries as their value: their square."""
    config = graph(
        {"x": [None, 64]},
        ("Reshape", [0], {"shape": [64, 1]}),
        ("Reshape", [0], {"shape": [1, 64]}),
        ("Slice", [1], {"start": 0, "stop": 1, "axis": 1}),
        ("Attention", [1, 3, 2], {"heads": 1, "causal": False}),
        ("Reshape", [4], {"shape": [4096, 1]}),
        ("Reshape", [4], {"shape": [1, 4096]}),
        ("Slice", [5], {"start": 0, "stop": 1, "axis": 1}),
        ("Attention", [5, 7, 6], {"heads": 1, "causal": False}),
        output=8,
    )
    with pytest.raises(ValueError, match=r"layer 8 \(Attention\): expected at most"):
        written(tmp_path / "model", RESIDUAL._replace(config=config, arrays={}))


@pytest.mark.parametrize(
    ("layer", "previous", "config", "message"),
    [
        ("Attention", [0, 0, 0], {"heads": 4, "causal": False}, "expected 4 equal heads"),
        ("Attention", [0, 2, 0], {"heads": 3, "causal": False}, "expected equal times"),
        ("Attention", [0, 0, 1], {"heads": 3, "causal": False}, "expected floats, got int64"),
        ("MaskedMean", [0, 0], {"padding": False}, "expected int64, got floats"),
        ("MaskedAttention", [0, 0, 0, 1], {"heads": 0, "causal": False}, "expected .*padding"),
        ("TimeStep", [2], {"index": "first"}, "index: expected a whole number"),
    ],
)
def test_attention_that_does_not_fit_is_refused(layer, previous, config, message, tmp_path):
    inputs = {"x": [None, 7, 6], "mask": [None, 7]}
    made = graph(
        inputs,
        ("Slice", [0], {"start": 0, "stop": 2, "axis": 1}),
        (layer, previous, config),
        ("MaskedMean", [0, 1], {"padding": False}),
        a=2,
        b=3,
        c=4,
    )
    made["inputs"]["mask"]["dtype"] = "int64"
    with pytest.raises(ValueError, match=message):
        written(tmp_path / "model", RESIDUAL._replace(config=made, arrays={}))


def test_a_net_is_called_by_names_in_order_and_by_its_layers(tmp_path):
    net = written(tmp_path / "two", SIAMESE)
    left, right = SIAMESE.inputs.values()
    wanted = net(SIAMESE.inputs)
    for found in (net(left, right), net(left, right=right), net(right=right, left=left)):
        np.testing.assert_array_equal(found, wanted)
    np.testing.assert_array_equal(net[-1](SIAMESE.inputs), wanted)
    assert not np.array_equal(net(right, left), wanted)
    one = written(tmp_path / "one", RESIDUAL)
    x = RESIDUAL.inputs["x"]
    for found in (one(x), one(x=x), one({"x": x}), one[-1](x)):
        np.testing.assert_array_equal(found, one[-1](x))
    assert one[-3](x).shape == (2, 5)
    assert (one.inputs, one.outputs) == (("x",), ("output",))


def test_a_chain_is_called_as_a_net(tmp_path):
    layers = graph({"x": [None, 3]}, ("ReLU", [0], {}))["layers"]
    model_file.write_model(tmp_path / "chain", "chain", {"layers": layers}, {})
    net = numpy_infer.load_model(tmp_path / "chain")
    assert net(np.array([[-1.0, 2.0]])).tolist() == [[0.0, 2.0]]
    assert str(net).splitlines() == ["place  layer  from", "0      Input", "1      ReLU   0"]


@pytest.mark.parametrize(
    ("values", "named", "message"),
    [
        ([1, 2, 3], {}, "inputs: expected left, right, each once, got 3 values and no names"),
        ([1], {"left": 2}, "inputs: expected left, right, each once, got 1 values and left"),
        ([1], {}, "inputs: expected left, right, got left"),
        ([], {"left": 1, "wrong": 2}, "inputs: expected left, right, got left, wrong"),
        ([{"left": 1}], {}, "inputs: expected left, right, got left"),
    ],
)
def test_other_inputs_are_refused(values, named, message, tmp_path):
    net = written(tmp_path / "model", SIAMESE)
    with pytest.raises(ValueError, match=f"^{message}$"):
        net(*values, **named)


def test_an_inner_layer_of_several_inputs_takes_them_by_name(tmp_path):
    net = written(tmp_path / "model", SIAMESE)
    with pytest.raises(TypeError, match=r"^inputs: expected them by name, got ndarray$"):
        net[-2](SIAMESE.inputs["left"])
    with pytest.raises(ValueError, match=r"^inputs: expected left, got right$"):
        net[-2]({"right": SIAMESE.inputs["right"]})


def test_the_description_has_names_shapes_and_what_is_shared(tmp_path):
    written(tmp_path / "model", SIAMESE)
    layers = describe(tmp_path / "model")["layers"]
    assert layers[2]["name"] == "tower"
    assert layers[3]["shares"] == 2
    assert layers[3]["parameters"] == 0
    assert layers[11]["output"] == [None, 10]
    with pytest.raises(ValueError, match="input_shape: expected none for 2 inputs, got"):
        describe(tmp_path / "model", [7])


def test_print_shows_the_table_of_a_graph(tmp_path):
    lines = str(written(tmp_path / "model", GATED)).splitlines()
    assert lines[0].split() == [
        *("place", "layer", "from", "name", "config", "arrays", "output", "parameters")
    ]
    assert lines[8].split() == ["7", "Multiply", "1,", "6", "(n,", "6,", "6,", "5)"]


def test_the_command_line_takes_graphs(tmp_path, capsys):
    path = str(tmp_path / "model")
    written(path, GATED)
    np.save(tmp_path / "x.npy", GATED.inputs["image"])
    assert main(["check", path]) == 0
    assert "graph of 12 layers" in capsys.readouterr().out
    assert main(["describe", path, "--json", "--input-shape", "4,9,9"]) == 0
    assert json.loads(capsys.readouterr().out)["layers"][8]["output"] == [None, 10, 9, 9]
    assert main(["predict", path, str(tmp_path / "x.npy"), str(tmp_path / "y.npz")]) == 0
    with np.load(tmp_path / "y.npz") as found:
        for name, wanted in GATED.outputs().items():
            assert_close(found[name], wanted, 1e-12, name)


@pytest.mark.parametrize("what", wrong_files.GRAPHS)
def test_what_no_graph_can_be_is_refused(what, tmp_path):
    changes, message = wrong_files.GRAPHS[what]
    config = wrong_files.changed(SIAMESE, **changes)
    path = tmp_path / "model"
    with pytest.raises(ValueError, match=message):
        model_file.write_model(path, "graph", config, SIAMESE.arrays)
    assert not path.exists()
    write_unchecked(path, "graph", config, SIAMESE.arrays)
    with pytest.raises(model_file.ModelFileError, match=message):
        model_file.load_model(path)


def test_arrays_of_no_place_and_unpools_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"array '13.weight': expected a place in 0..12"):
        model_file.write_model(
            tmp_path / "model", "graph", SIAMESE.config, {**SIAMESE.arrays, "13.weight": np.ones(2)}
        )
    pool = {"size": [2, 2], "stride": [2, 2], "padding": [[0, 0], [0, 0]]}
    config = graph(
        {"x": [None, 3, 8, 8]},
        ("MaxPool", [0], pool),
        ("MaxUnpool", [1, 0], pool),
        output=2,
    )
    with pytest.raises(
        ValueError, match=r"layer 2 \(MaxUnpool\): layer: expected one that a graph"
    ):
        model_file.write_model(tmp_path / "model", "graph", config, {})


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        (([None, 3, 4, 4], [None, 3, 4, 5]), "expected equal sizes, or 1, got"),
        (([None, 3, 4, 4], [None, 3]), "expected as many axes of each, got"),
    ],
)
def test_shapes_that_cannot_be_added_are_refused(shapes, message, tmp_path):
    config = graph(dict(zip("ab", shapes, strict=True)), ("Add", [0, 1], {}), output=2)
    with pytest.raises(ValueError, match=rf"layer 2 \(Add\): previous: {message}"):
        model_file.write_model(tmp_path / "model", "graph", config, {})


@pytest.mark.parametrize(
    ("allowed", "refused", "message"),
    [
        (
            wrong_files.joined(9),
            wrong_files.joined(40),
            r"layer 11 \(Concatenate\): expected at most 1024 entries",
        ),
        (
            wrong_files.held(500),
            wrong_files.held(520),
            "layers: expected at most 1024 entries .* 520 at once",
        ),
    ],
)
def test_little_makes_little(allowed, refused, message, tmp_path):
    model_file.write_model(tmp_path / "model", "graph", allowed, {})
    with pytest.raises(ValueError, match=message):
        model_file.write_model(tmp_path / "model", "graph", refused, {})
