"""The pytest plugin and `fourfold.parity`: what passes, what fails, and what a failure prints."""

import numpy as np
import pytest

import fourfold
from fourfold.ports.parity import Disagreement
from shared_tests.support.sources import ROOT

pytest_plugins = ["pytester"]

HEAD = """
import numpy as np
import pytest
import fourfold
from fourfold import Case

CASES = [Case("ordinary", {"x": np.arange(6.0).reshape(2, 3) + 1})]

def wrong(x):
    return np.where(x == 5, x / 2, np.sqrt(x))
"""


@pytest.fixture(autouse=True)
def path(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(ROOT))


def outcome(pytester, test):
    pytester.makepyfile(HEAD + test)
    return pytester.runpytest_subprocess("-p", "fourfold.pytest_plugin", "--strict-markers")


def test_a_marker_with_everything_is_a_test(pytester):
    found = outcome(
        pytester,
        """
@pytest.mark.parity({"numpy": "numpy:sqrt", "numpy:port": lambda x: x**0.5}, CASES)
def test_right():
    pass

@pytest.mark.parity({"numpy": "numpy:sqrt", "numpy:port": wrong}, CASES)
def test_wrong():
    pass
""",
    )
    found.assert_outcomes(passed=1, failed=1)
    found.stdout.fnmatch_lines(
        [
            "DO NOT AGREE: 2 comparisons, 2 out of tolerance, 0 missing",
            "  ordinary, value:output, float64: at [[]1, 1] numpy 2.2360*, numpy:port 2.5; "
            "error 0.108, tolerance 1e-12",
        ]
    )
    found.stdout.no_fnmatch_line("*array(*")
    found.stdout.no_fnmatch_line("*During handling*")
    found.stdout.no_fnmatch_line("*pytest_plugin.py:*")


def test_the_fixture_takes_what_markers_give(pytester):
    found = outcome(
        pytester,
        """
pytestmark = pytest.mark.parity(cases=CASES, reference=np.sqrt, dtypes=("float64",))

def test_right(parity):
    assert len(parity({"numpy": lambda x: x**0.5}).rows) == 1

@pytest.mark.parity(dtypes=("float32",), tolerances={"float32": 1.0})
def test_the_nearest_marker_wins(parity):
    assert {row.dtype for row in parity({"numpy": wrong}).rows} == {"float32"}

def test_the_call_wins(parity):
    assert parity({"numpy": wrong}, tolerances={"float64": 0.5})

def test_wrong(parity):
    parity({"numpy": wrong})

def test_without_the_fixture():
    pass
""",
    )
    found.assert_outcomes(passed=4, failed=1)


def test_a_test_that_compares_nothing_fails(pytester):
    found = outcome(
        pytester,
        """
def test_no_call(parity):
    pass

@pytest.mark.parity({"numpy": np.sqrt})
def test_no_cases():
    pass
""",
    )
    found.assert_outcomes(failed=2)
    found.stdout.fnmatch_lines(
        [
            "parity: expected a call of the fixture, got none",
            "parity: expected implementations and cases, or the fixture, got implementations",
        ]
    )


def test_the_decorator_makes_a_test_and_keeps_fixtures(pytester):
    found = outcome(
        pytester,
        """
@pytest.fixture
def port():
    return wrong

@fourfold.parity(CASES, np.sqrt)
def test_right():
    return {"numpy": lambda x: x**0.5}

@fourfold.parity(CASES, np.sqrt)
def test_wrong(port):
    return {"numpy": port}
""",
    )
    found.assert_outcomes(passed=1, failed=1)
    found.stdout.fnmatch_lines(["E * ordinary, value:output, float64: at [[]1, 1] reference 2.23*"])


def test_the_plugin_imports_no_framework_and_no_comparison_before_it_is_used(pytester):
    found = outcome(
        pytester,
        """
import sys

def test_it():
    assert not {"torch", "keras", "jax", "fourfold.ports.comparison"} & sys.modules.keys()
""",
    )
    found.assert_outcomes(passed=1)


def test_what_could_not_be_measured_is_named():
    @fourfold.parity(fourfold.Case("one", {"x": np.ones(3)}), np.sqrt)
    def test():
        return {"numpy": lambda y: y.no_such}

    with pytest.raises(Disagreement, match=r"missing: one, everything, float64: numpy: Attrib"):
        test()


def test_no_more_than_the_worst_five_are_named():
    cases = [fourfold.Case(f"case {i}", {"x": np.ones(3) * i}) for i in range(1, 8)]
    with pytest.raises(Disagreement) as caught:
        fourfold.parity(cases, np.sqrt)(lambda: {"numpy": lambda x: np.sqrt(x) + x})()
    lines = str(caught.value).splitlines()
    assert len(lines) == 7
    assert lines[1].startswith("  case 7, ")
    assert lines[-1] == "  and 9 more that differ"
