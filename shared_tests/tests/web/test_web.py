"""Model files in Chromium, in JavaScript, WebAssembly and WebGL, compute what NumPy computes."""

from __future__ import annotations

import numpy as np
import pytest

from numpy_infer.format.vocabulary import LAYERS
from numpy_infer.model_file import load_model, write_model
from shared_tests import golden
from shared_tests.backends.browser import carried
from shared_tests.fixtures import normal
from shared_tests.model_files.graphs import GRAPHS, transformer
from shared_tests.model_files.random_chains import random_chain
from shared_tests.model_files.samples import SAMPLES, Sample, chain
from shared_tests.support import web
from shared_tests.support.chromium import launched

TOLERANCE = 1e-4
DOUBLE = {np.dtype("float64")}
CHAINS = 120
NOT_CARRIED = ("neural_grammar", "recursive_autoencoder", "rare_event_memory")
NO_INFERENCE = ("soft_nearest_neighbor_loss",)  # a loss: NumPy refuses it too


@pytest.fixture(scope="module", params=web.BACKENDS)
def page(request):
    """A page with the bundle, and everything that it is sent computed on one backend."""
    with web.served(web.BUNDLE.parent) as address, launched() as browser:
        page = browser.new_page()
        page.on("pageerror", lambda one: pytest.fail(str(one)))
        web.started(page, address, request.param)
        yield page


@pytest.fixture
def backend(page):
    return page.evaluate("fourfold.tf.getBackend()")


def named(outputs):
    """NumPy's outputs by the names that a page gives them."""
    if isinstance(outputs, dict):
        return outputs
    if isinstance(outputs, list):
        return {str(place): one for place, one in enumerate(outputs)}
    return {"output": outputs}


def differences(results, wanted):
    """What is wrong with the results of calls, by the calls' names."""
    wrong = {}
    for (name, outputs), result in zip(wanted.items(), results, strict=True):
        if "error" in result:
            wrong[name] = result["error"]
            continue
        assert result["left"] == 0, f"{name}: {result['left']} tensors are left"
        assert result["outputs"].keys() == outputs.keys(), name
        for key, array in outputs.items():
            found = result["outputs"][key]
            if found.shape != array.shape:
                wrong[name] = f"shape {found.shape}, expected {array.shape}"
                continue
            error = np.max(np.abs(found - array), initial=0) / max(1, np.abs(array).max(initial=0))
            if not error <= TOLERANCE:
                wrong[name] = float(error)
    return wrong


def test_golden_models(page):
    calls, wanted = [], {}
    for path in golden.models():
        if path.parent.name != "torch":
            continue
        call = golden.call(path)
        calls.append((path.read_bytes(), call.case.inputs))
        wanted[path.stem] = {k.removeprefix("output "): v for k, v in call.outputs.items()}
    refused = [one for one in wanted if one.startswith((*NOT_CARRIED, *NO_INFERENCE))]
    wrong = differences(web.computed(page, calls), wanted)
    assert sorted(wrong) == refused, wrong
    for name in refused:
        assert "component: expected one that runs in a browser" in wrong[name]


def chains(backend):
    """Random chains by their seeds; on WebGL, which compiles each shape anew, few of them."""
    # Those of other tests.
    seen = {"Input", "MaxUnpool", "ReLU6", "ScaleShift", "PositionEmbedding", "TimeStep"}
    for seed in range(4 * CHAINS):
        made = random_chain(seed)
        names = {entry["layer"] for entry in made.config["layers"]}
        if not names <= carried():
            continue
        if names - seen or (seed < CHAINS and backend != "webgl"):
            yield seed, made
        seen |= names
    assert seen >= {name for name in carried() & LAYERS.keys() if not LAYERS[name].combines}


def test_every_row_that_is_listed_runs(page):
    """The layers that the README says to run are those that have a function."""
    names = carried() - {"Input", "Dropout", "StochasticDepth"}
    assert set(page.evaluate("Object.keys(fourfold.FACTORIES)")) == names


def test_random_chains(page, backend, tmp_path):
    calls, wanted = [], {}
    for seed, made in chains(backend):
        path = tmp_path / f"{seed}.safetensors"
        write_model(path, "chain", made.config, made.arrays)
        names = [entry["layer"] for entry in made.config["layers"]]
        wanted[f"{seed}: {' '.join(names[1:])}"] = named(load_model(path)(made.x))
        calls.append((path.read_bytes(), {"x": made.x}))
    assert differences(web.computed(page, calls), wanted) == {}


def test_what_does_not_run_is_named(page, tmp_path):
    path, names = tmp_path / "chain.safetensors", set()
    for seed in range(4 * CHAINS):
        made = random_chain(seed)
        layers = [entry["layer"] for entry in made.config["layers"]]
        first = next((place for place, one in enumerate(layers) if one not in carried()), None)
        if first is None or layers[first] in names:
            continue
        names.add(layers[first])
        write_model(path, "chain", made.config, made.arrays)
        (result,) = web.computed(page, [(path.read_bytes(), {"x": made.x})])
        wanted = f"layer {first} ({layers[first]}): expected one that runs in a browser"
        assert result == {"error": f"ModelFileError: the file: {wanted}"}
    assert names or {*LAYERS} <= carried()


def test_samples(page, tmp_path):
    """A chain with unpooling, of float64, and others; and what no random chain has."""
    activations = chain(("ReLU6", {}), ("ScaleShift", {"scale": 0.3, "shift": -2.5}))
    samples = {name: one for name, one in SAMPLES.items() if name != "tree"}
    samples["activations"] = Sample("chain", activations, {}, 9 * normal(5, 7, seed=3))
    calls, wanted = [], {}
    for name, sample in samples.items():
        path = tmp_path / "sample.safetensors"
        calls.append((sample.write(path), {"x": sample.x}))
        wanted[name] = named(load_model(path)(sample.x))
    results = web.computed(page, calls)
    assert differences(results, wanted) == {}
    cast = [name for name, one in zip(samples, results, strict=True) if one["castFrom"]]
    doubles = {k for k, v in samples.items() if {one.dtype for one in v.arrays.values()} == DOUBLE}
    assert set(cast) == doubles


def test_graphs(page, tmp_path):
    calls, wanted = [], {}
    # Six layers of twelve heads, as all-MiniLM-L6-v2 has, and a sixth of its width.
    sentences = transformer(6, 12, width=60, wide=240, vocabulary=10)
    for name, graph in (GRAPHS | {"transformer": sentences}).items():
        if not {entry["layer"] for entry in graph.config["layers"]} <= carried():
            continue
        path = tmp_path / f"{name}.safetensors"
        write_model(path, "graph", graph.config, graph.arrays)
        wanted[name] = named(load_model(path)(graph.inputs))
        calls.append((path.read_bytes(), graph.inputs))
    assert differences(web.computed(page, calls), wanted) == {}
