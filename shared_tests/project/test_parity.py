"""The report fails when a cell is missing, out of tolerance or of another dtype."""

import json

import numpy as np
import pytest

from shared_tests.definition import PACKAGES, cells
from shared_tests.measure import expected
from shared_tests.parity.join import Results, join
from shared_tests.parity.page import write_page
from shared_tests.parity.run import REFERENCE, journeys, travel
from shared_tests.trainings import STEPS, training_runs

COMPONENT = "distances"
CELL = "distances-cosine_similarity-all pairs-float32"
MODEL = "padded_embedding"
MODEL_CELL = "padded_embedding-PaddedEmbedding-mean-float64"


def exact(component):
    """What backends would leave that compute exactly what the reference does."""
    reference = {str(cell): expected(cell) for cell in cells(component=component)}
    everything = {REFERENCE: Results({}, {}, reference)}
    for backend in PACKAGES:
        quantities = {
            str(cell): {
                name: one.astype(cell.dtype) if one.dtype.kind == "f" else one
                for name, one in reference[str(cell)].items()
            }
            for cell in cells(backend, component)
        }
        for run in training_runs(backend, component):
            quantities[str(run)] = {
                "losses": np.linspace(2, 1, STEPS).astype(run.dtype),
                "parameter table": np.ones((2, 3), run.dtype),
            }
        for cell, source in journeys(backend, component, tuple(PACKAGES)):
            name = f"{travel(source, backend)}:output"
            quantities[str(cell)][name] = quantities[str(cell)]["value:output"].copy()
        everything[backend] = Results({}, {}, quantities)
    return everything


@pytest.fixture
def results():
    return exact(COMPONENT)


@pytest.fixture
def travels():
    return exact(MODEL)


def test_agreement_is_ok(results):
    report = join(results, COMPONENT)
    assert report["ok"]
    assert not report["missing"]
    assert {(row["a"], row["b"]) for row in report["rows"]} >= {
        ("reference", "torch"),
        ("torch", "tf2"),
        ("theano", "numpy"),
    }
    gradients = [row for row in report["rows"] if row["quantity"].startswith("gradient:")]
    assert gradients
    assert not any("numpy" in (row["a"], row["b"]) for row in gradients)


def test_a_missing_cell_is_not_ok(results):
    del results["tf2"].quantities[CELL]
    results["tf2"].errors[CELL] = "ValueError: no"
    report = join(results, COMPONENT)
    assert not report["ok"]
    assert {entry["backend"] for entry in report["missing"]} == {"tf2"}
    assert {entry["reason"] for entry in report["missing"]} == {"ValueError: no"}


def test_a_cell_that_the_reference_lacks_is_not_ok(results):
    del results[REFERENCE].quantities[CELL]
    assert not join(results, COMPONENT)["ok"]


@pytest.mark.parametrize(
    "change",
    [
        lambda array: array + np.float32(1e-4),
        lambda array: array.astype("float64"),
        lambda array: array[:, None],
        lambda array: array * np.float32(np.nan),
    ],
)
def test_a_wrong_cell_is_not_ok(results, change):
    quantities = results["theano"].quantities[CELL]
    quantities["value:output"] = change(quantities["value:output"])
    report = join(results, COMPONENT)
    assert not report["ok"]
    bad = [row for row in report["rows"] if not row["ok"]]
    assert {row["case"] for row in bad} == {"cosine_similarity: all pairs"}
    assert all("theano" in (row["a"], row["b"]) for row in bad)
    json.dumps(report, allow_nan=False)


def test_models_travel_from_every_framework_to_every_other_package(travels):
    report = join(travels, MODEL)
    assert report["ok"]
    found = {row["quantity"] for row in report["rows"] if row["quantity"].startswith("travel:")}
    frameworks = [name for name in PACKAGES if name != "numpy"]
    pairs = [(a, b) for a in frameworks for b in PACKAGES if a != b]
    assert found == {f"travel:{a}>{b}" for a, b in pairs}


def test_a_model_that_did_not_arrive_is_not_ok(travels):
    del travels["numpy"].quantities[MODEL_CELL]["travel:theano>numpy:output"]
    travels["numpy"].errors[f"{MODEL_CELL}|travel:theano>numpy"] = "ModelFileError: damaged"
    report = join(travels, MODEL)
    assert not report["ok"]
    (entry,) = report["missing"]
    assert (entry["backend"], entry["reason"]) == ("numpy", "ModelFileError: damaged")
    assert entry["quantity"] == "travel:theano>numpy"


def test_a_model_that_arrived_changed_is_not_ok(travels):
    travels["tf2"].quantities[MODEL_CELL]["travel:torch>tf2:output"][0, 0] += 1e-9
    report = join(travels, MODEL)
    (row,) = [row for row in report["rows"] if not row["ok"]]
    assert (row["quantity"], row["a"], row["b"]) == ("travel:torch>tf2", "torch", "tf2")


def test_trainings_agree_between_frameworks(travels):
    report = join(travels, MODEL)
    trained = [row for row in report["rows"] if row["quantity"].startswith("training:")]
    pairs = {("torch", "tf2"), ("torch", "theano"), ("tf2", "theano")}
    assert {(row["quantity"], row["a"], row["b"]) for row in trained} == {
        (f"training:{optimizer}", *pair) for optimizer in ("sgd", "smorms3") for pair in pairs
    }
    assert {row["dtype"] for row in trained} == {"float64"}
    shown = {(one["quantity"], one["dtype"], len(one["steps"])) for one in report["divergence"]}
    assert shown == {
        (f"training:{optimizer}", dtype, STEPS)
        for optimizer in ("sgd", "smorms3")
        for dtype in ("float64", "float32")
    }


@pytest.mark.parametrize("quantity", ["losses", "parameter table"])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_a_training_that_drifts_off_is_not_ok_in_float64(travels, quantity, dtype):
    (run,) = [
        run
        for run in training_runs(component=MODEL)
        if (run.optimizer, run.dtype) == ("smorms3", dtype)
    ]
    travels["tf2"].quantities[str(run)][quantity][-1] += 1e-6
    report = join(travels, MODEL)
    bad = [(row["quantity"], row["a"], row["b"]) for row in report["rows"] if not row["ok"]]
    wanted = [("training:smorms3", *pair) for pair in (("torch", "tf2"), ("tf2", "theano"))]
    assert bad == (wanted if dtype == "float64" else [])
    drifted = {
        (one["a"], one["b"])
        for one in report["divergence"]
        if one["worst"] > 0 and one["dtype"] == dtype and one["quantity"] == "training:smorms3"
    }
    assert drifted == {("torch", "tf2"), ("tf2", "theano")}


def test_a_training_that_stopped_is_not_ok(travels):
    run = training_runs("theano", MODEL)[0]
    del travels["theano"].quantities[str(run)]
    travels["theano"].errors[str(run)] = "ValueError: no"
    report = join(travels, MODEL)
    assert not report["ok"]
    (entry,) = report["missing"]
    assert (entry["backend"], entry["quantity"], entry["reason"]) == (
        "theano",
        "training:sgd",
        "ValueError: no",
    )


def test_nothing_compared_is_not_ok(results):
    assert not join(results, "no such component")["ok"]


def test_page_needs_no_network(results, tmp_path):
    del results["tf2"].quantities[CELL]
    write_page(join(results, COMPONENT), tmp_path / "parity.html")
    page = (tmp_path / "parity.html").read_text()
    assert "cosine_similarity: all pairs" in page
    assert "<script" not in page
    links = [part for part in page.split('href="')[1:] if not part.startswith("#")]
    assert not links
    assert 'src="' not in page
