"""The report fails when a cell is missing, out of tolerance or of another dtype."""

import json

import numpy as np
import pytest

from shared_tests.definition import PACKAGES, cells
from shared_tests.measure import expected
from shared_tests.parity.join import Results, join
from shared_tests.parity.page import write_page
from shared_tests.parity.run import REFERENCE

COMPONENT = "distances"
CELL = "distances-cosine_similarity-all pairs-float32"


@pytest.fixture
def results():
    """What backends would leave that compute exactly what the reference does."""
    reference = {str(cell): expected(cell) for cell in cells(component=COMPONENT)}
    copies = {
        backend: {
            str(cell): {name: one.astype(cell.dtype) for name, one in reference[str(cell)].items()}
            for cell in cells(backend, COMPONENT)
        }
        for backend in PACKAGES
    }
    everything = {REFERENCE: reference, **copies}
    return {name: Results({}, {}, quantities) for name, quantities in everything.items()}


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
