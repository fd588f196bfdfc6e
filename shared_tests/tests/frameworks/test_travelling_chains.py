"""Chains of any layers, loaded and called and saved again: the same file, the same numbers."""

import importlib

import numpy as np
import pytest

from fourfold.agreement import VALUE_TOLERANCE, assert_close
from fourfold.project import cells, model_name
from numpy_infer import model_file
from numpy_infer.format.loss_files import LOSSES
from shared_tests.fixtures import normal
from shared_tests.model_files import loaded_chains
from shared_tests.model_files.random_chains import random_chain
from shared_tests.repository import CHAIN, PACKAGES

SEEDS = range(70)
# What gives no single array ends a chain.
SEVERAL_OUTPUTS = (
    "feedback_network.FeedbackNetwork",
    "neural_grammar.NeuralGrammar",
    "rare_event_memory.RareEventMemory",
    "recursive_autoencoder.RecursiveAutoencoder",
)


@pytest.fixture
def interchange(framework_name):
    return importlib.import_module(f"{PACKAGES[framework_name]}.interchange")


def inputs_of_other_ranks(framework, x):
    """The same numbers with other axes, of which a chain takes some and refuses others."""
    if framework == "theano":  # its chains are built on a variable of one rank
        return []
    more = x[:, None] if x.ndim < 5 else x[..., 0]
    return [more, x.reshape(len(x), -1), x[:1], x[..., None]]


@pytest.mark.parametrize("seed", SEEDS)
def test_what_a_chain_was_called_with_does_not_change_what_is_saved(
    framework_name, interchange, seed, tmp_path
):
    dtype = ("float32", "float64")[seed % 2]
    chain = random_chain(seed, dtype)
    layers = chain.config["layers"]
    path, again = tmp_path / "model", tmp_path / "again"
    model_file.write_model(path, "chain", chain.config, chain.arrays)
    (wanted,) = loaded_chains.call("numpy", model_file.load_model(path), layers, chain.x)
    model = loaded_chains.load(framework_name, path, chain.x)
    (found,) = loaded_chains.call(framework_name, model, layers, chain.x)
    assert found.dtype == wanted.dtype == dtype
    assert_close(found, wanted, VALUE_TOLERANCE["model", dtype], "output")
    for x in inputs_of_other_ranks(framework_name, chain.x):
        try:
            loaded_chains.call(framework_name, model, layers, x)
        except Exception:
            continue  # a layer that takes no such axes
    interchange.save_model(model, again)
    assert again.read_bytes() == path.read_bytes()


def test_one_group_is_no_group_in_a_file(framework_name, interchange, tmp_path):
    """Files without the option were written before it; what they hold is written as they are."""
    own = {"stride": [2], "padding": [[1, 0]], "dilation": [1]}
    arrays = {"1.weight": normal(4, 3, 5, seed=1), "1.bias": normal(4, seed=2)}
    path, again = tmp_path / "model", tmp_path / "again"
    for config in (own, {**own, "groups": 1}):
        layers = [
            {"layer": "Input", "previous": [], "config": {}},
            {"layer": "Convolution", "previous": [0], "config": config},
        ]
        model_file.write_model(path, "chain", {"layers": layers}, arrays)
        x = normal(2, 3, 9, seed=3)
        interchange.save_model(loaded_chains.load(framework_name, path, x), again)
        assert model_file.read_model(again).config["layers"][1]["config"] == own


def components():
    """{component: (config, arrays, input)}, of each the first case that it has."""
    found = {}
    for cell in cells("torch"):
        case = cell.case.cast("float64")
        model = model_name(cell.component, cell.operation.name)
        inferred = model not in LOSSES and model != CHAIN
        if case.weights is not None and inferred and model not in found:
            x = next(iter(case.inputs.values()))
            found[model] = dict(case.options), dict(case.weights), x
    return found


COMPONENTS = components()
PLACES = ("alone", "first", "middle", "last", "behind an embedding")


def chain_with(component, place):
    """Layers, arrays and input of a chain with a component; None where the types do not fit."""
    config, arrays, x = COMPONENTS[component]
    entries = [(component, config)]
    dense = isinstance(x, np.ndarray)
    takes_ids = dense and x.dtype.kind == "i"
    if place in ("first", "middle"):
        if component in SEVERAL_OUTPUTS:
            return None
        entries.append(("Tanh", {}))
    before = 0
    if place in ("middle", "last"):
        if not dense or takes_ids:
            return None
        entries.insert(0, ("Projection", {}) if x.ndim == 2 else ("ReLU", {}))
        weight = {"1.weight": normal(x.shape[-1], x.shape[-1], seed=3)} if x.ndim == 2 else {}
        before = 1
    elif place == "behind an embedding":
        if not dense or takes_ids or x.ndim not in (2, 3):
            return None
        entries.insert(0, ("Embedding", {}))
        weight = {"1.table": normal(7, x.shape[-1], seed=4)}
        x = np.arange(np.prod(x.shape[:-1])).reshape(x.shape[:-1]) % 7
        before = 1
    else:
        weight = {}
    layers = [{"layer": "Input", "previous": [], "config": {}}]
    for number, (name, own) in enumerate(entries):
        entry = {"layer": name, "previous": [number], "config": own}
        layers.append(entry | ({"training": {"padding": False}} if name == "Embedding" else {}))
    named = {f"{1 + before}.{name}": array for name, array in arrays.items()}
    return layers, weight | named, x


FITTING = [
    (one, place) for one in COMPONENTS for place in PLACES if chain_with(one, place) is not None
]


@pytest.mark.parametrize(("component", "place"), FITTING)
def test_every_component_takes_its_place_in_a_chain(
    framework_name, interchange, component, place, tmp_path
):
    layers, arrays, x = chain_with(component, place)
    path, again = tmp_path / "model", tmp_path / "again"
    model_file.write_model(path, "chain", {"layers": layers}, arrays)
    wanted = loaded_chains.call("numpy", model_file.load_model(path), layers, x)
    model = loaded_chains.load(framework_name, path, x)
    found = loaded_chains.call(framework_name, model, layers, x)
    assert len(found) == len(wanted)
    for number, (one, other) in enumerate(zip(found, wanted, strict=True)):
        assert_close(one, other, VALUE_TOLERANCE["model", "float64"], f"output {number}")
    interchange.save_model(model, again)
    _, config, kept = model_file.read_model(again)
    for entry, given in zip(config["layers"], layers, strict=True):
        assert {key: entry["config"][key] for key in given["config"]} == given["config"]
    assert {name: array.tobytes() for name, array in kept.items()} == {
        name: array.tobytes() for name, array in arrays.items()
    }
    if framework_name == "theano":  # what it makes up itself is of the right kind too
        made = interchange.load_model(path)[0].inputs[0]
        assert (made.ndim, made.dtype) == (model[0].inputs[0].ndim, model[0].inputs[0].dtype)
