"""What is expected of a cell: computed once for what calls a reference with the same arrays."""

from dataclasses import replace

import numpy as np
import pytest

from fourfold import measure
from fourfold.definition import Case, Cell, Operation, SparseInput
from fourfold.measure import expected, keep_expected


@pytest.fixture
def start(monkeypatch):
    """A function after which nothing is known, as in a new process."""

    def forget():
        monkeypatch.setattr(measure, "_expected", {})

    forget()
    monkeypatch.setattr(measure, "_folder", None)
    return forget


def test_equal_arguments_are_computed_once_and_others_anew(start):
    calls = []

    def reference(x, power=2, offset=0.0):
        calls.append(1)
        return x**power + offset

    whole = Case("whole", {"x": np.array([1.0, 2.0, 3.0])})
    layer, function = (Operation(name, reference, ()) for name in ("Power", "power"))
    cases = {
        "the layer": Cell("power", layer, whole, "float64"),
        "the function": Cell("power", function, whole, "float64"),
        "whole numbers, rounded": Cell("power", function, whole, "float32"),
        "another entry": Cell(
            "power", function, replace(whole, inputs={"x": np.array([1.0, 2.0, 4.0])}), "float64"
        ),
        "another option": Cell("power", function, replace(whole, options={"power": 3}), "float64"),
        "a sparse form": Cell(
            "power",
            function,
            replace(whole, inputs={"x": SparseInput(np.arange(1.0, 4))}),
            "float64",
        ),
        "an entry without gradient": Cell(
            "power", function, replace(whole, flat={"x": 1}), "float64"
        ),
    }
    found, n_calls = {}, {}
    for name, cell in cases.items():
        before = len(calls)
        found[name] = expected(cell)
        n_calls[name] = len(calls) - before
    # One call for the values; two for each entry that is moved.
    assert list(n_calls.values()) == [7, 0, 0, 7, 7, 1, 5]
    slopes = np.cos([1.0, 2.0, 3.0]) + 0.25
    wanted = {"another entry": [2, 4, 8], "another option": [3, 12, 27]}
    wanted["an entry without gradient"] = [2, 0, 6]
    assert "gradient:x" not in found.pop("a sparse form")
    for name, quantities in found.items():
        gradient = slopes * wanted.get(name, [2, 4, 6])
        np.testing.assert_allclose(quantities["gradient:x"], gradient, rtol=1e-8)


def test_what_one_process_has_computed_another_reads(start, tmp_path):
    calls = []

    def reference(x):
        calls.append(1)
        return {"square": x**2, "whole": np.array([3, 5])}

    def cell(name, *numbers, operation="square"):
        case = Case(name, {"x": np.array(numbers)})
        return Cell("powers", Operation(operation, reference, ()), case, "float64")

    keep_expected(tmp_path / "kept")
    wanted = expected(cell("first", 1.0, 2.0))
    assert len(calls) == 5
    start()
    found = expected(cell("first", 1.0, 2.0))
    assert len(calls) == 5
    assert found.keys() == wanted.keys() == {"value:square", "value:whole", "gradient:x"}
    for name, array in found.items():
        np.testing.assert_array_equal(array, wanted[name], strict=True)
    # A reference without a name in its module is that of its case alone.
    for other in (
        cell("first", 1.0, 3.0),
        cell("second", 1.0, 2.0),
        cell("first", 1.0, 2.0, operation="other"),
    ):
        start()
        before = len(calls)
        expected(other)
        assert len(calls) == before + 5
    start()
    assert len(list((tmp_path / "kept").iterdir())) == 4


def test_a_loss_and_its_layer_are_one_for_every_process(start, tmp_path):
    keep_expected(tmp_path)
    for operation in ("loss", "Loss"):
        start()
        case = Case(operation, {"x": np.array([1.0, 2.0])})
        found = expected(Cell("halves", Operation(operation, half, ()), case, "float64"))
        np.testing.assert_array_equal(found["value:output"], [0.5, 1.0])
    assert len(list(tmp_path.iterdir())) == 1


def half(x):
    return x / 2
