"""What is expected of a cell: computed once for what calls a reference with the same arrays."""

from dataclasses import replace

import numpy as np

from fourfold.definition import Case, Cell, Operation, SparseInput
from fourfold.measure import expected


def test_equal_arguments_are_computed_once_and_others_anew():
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
