"""The checks of plain values, in every package: what they take, return and refuse."""

import importlib
import json
import math

import numpy as np
import pytest

from shared_tests.repository import PACKAGES

NUMBERS = {
    "int": 3,
    "float": 3.0,
    "int64": np.int64(3),
    "uint8": np.uint8(3),
    "float32": np.float32(3),
    "float64": np.float64(3),
    "0-d float": np.array(3.0),
    "0-d int": np.array(3),
}
NO_NUMBERS = ["3", b"3", None, True, np.True_, 3j, np.complex64(3), [3], np.array([3]), object()]
UNBOUNDED = [math.nan, math.inf, -math.inf, 10**400, -(10**400), 10**5000, np.float32("nan")]
COUNTS = {"int": 3, "int64": np.int64(3), "uint8": np.uint8(3), "0-d": np.array(3)}
NO_COUNTS = [*NO_NUMBERS, 3.0, np.float64(3), np.array(3.0), math.nan]
TOO_MANY = [2**31, 2**40, 2**70, 10**5000, np.uint64(2**63)]


@pytest.fixture
def checks(backend_name):
    return importlib.import_module(f"{PACKAGES[backend_name]}.support.checks")


@pytest.mark.parametrize("kind", NUMBERS)
def test_a_number_becomes_a_float(checks, kind):
    number = checks.check_number("margin", NUMBERS[kind], above=0, least=0)
    assert type(number) is float
    assert number == 3


@pytest.mark.parametrize("value", NO_NUMBERS, ids=lambda value: type(value).__name__)
def test_what_is_no_number_is_refused(checks, value):
    kind = type(value).__name__
    with pytest.raises(TypeError, match=f"^margin: expected a number, got {kind}$"):
        checks.check_number("margin", value)


@pytest.mark.parametrize("value", UNBOUNDED, ids=lambda value: f"{value!r:.5}" if value < 1 else "")
def test_what_is_not_finite_is_refused(checks, value):
    with pytest.raises(ValueError, match=r"^margin: expected a finite number, got .{3,140}$"):
        checks.check_number("margin", value)


@pytest.mark.parametrize(
    ("bound", "wanted"),
    [({"above": 3}, "a number above 3"), ({"least": 4}, "a finite number of at least 4")],
)
def test_a_number_outside_its_bounds_is_refused(checks, bound, wanted):
    with pytest.raises(ValueError, match=f"^margin: expected {wanted}, got 3$"):
        checks.check_number("margin", 3, **bound)


@pytest.mark.parametrize("value", [True, np.True_, np.array(True)], ids=["bool", "bool_", "0-d"])
def test_a_flag_becomes_a_bool(checks, value):
    assert checks.check_flag("noisy", value) is True


@pytest.mark.parametrize("value", ["no", "", 0, 1, 1.0, None, [], np.int64(1), np.array([True])])
def test_what_is_no_flag_is_refused(checks, value):
    kind = type(value).__name__
    with pytest.raises(TypeError, match=f"^noisy: expected True or False, got {kind}$"):
        checks.check_flag("noisy", value)


@pytest.mark.parametrize("kind", COUNTS)
def test_a_count_becomes_an_int(checks, kind):
    count = checks.check_count("k", COUNTS[kind], most=3)
    assert type(count) is int
    assert count == 3


@pytest.mark.parametrize("value", NO_COUNTS, ids=lambda value: type(value).__name__)
def test_what_is_no_count_is_refused(checks, value):
    kind = type(value).__name__
    with pytest.raises(TypeError, match=f"^k: expected a whole number, got {kind}$"):
        checks.check_count("k", value)


def test_a_count_outside_its_bounds_is_refused(checks):
    with pytest.raises(ValueError, match=r"^k: expected a whole number of at least 1, got 0$"):
        checks.check_count("k", 0)
    with pytest.raises(ValueError, match=r"^k: expected a whole number in 1\.\.4, got 5$"):
        checks.check_count("k", np.int64(5), most=4)
    for value in TOO_MANY:  # an index of 32 bits, or one of 64, would overflow
        with pytest.raises(
            ValueError, match=r"^k: expected a whole number in 1\.\.2147483647, got"
        ):
            checks.check_count("k", value)


@pytest.mark.parametrize(
    "values",
    [[3, 4], (3, 4), [np.int64(3), np.array(4)], np.array([3, 4])],
    ids=["list", "tuple", "NumPy numbers", "array"],
)
def test_counts_become_a_list_of_ints(checks, values):
    assert json.dumps(checks.check_counts("channels", values)) == "[3, 4]"


@pytest.mark.parametrize(
    ("values", "error", "message"),
    [
        (3, TypeError, "a list, got int"),
        ("34", TypeError, "a list, got str"),
        ([], ValueError, "at least one whole number, got none"),
        ([3, 4.0], TypeError, "a whole number, got float"),
        (np.array([3.0]), TypeError, "a whole number, got float"),
        (np.array([[3]]), TypeError, "a whole number, got list"),
        ([3, 0], ValueError, "a whole number of at least 1, got 0"),
    ],
)
def test_what_are_no_counts_is_refused(checks, values, error, message):
    with pytest.raises(error, match=f"^channels: expected {message}$"):
        checks.check_counts("channels", values)


@pytest.mark.parametrize("value", [None, 10**5000, [], {}, object(), np.array(["mean"])], ids=type)
def test_what_is_no_text_is_no_choice(checks, value):
    kind = type(value).__name__
    with pytest.raises(ValueError, match=f"^reduction: expected one of mean, sum, got {kind}$"):
        checks.check_choice("reduction", value, ("mean", "sum"))


def test_another_text_is_no_choice(checks):
    checks.check_choice("reduction", np.str_("sum"), ("mean", "sum"))
    with pytest.raises(ValueError, match=r"^reduction: expected one of mean, sum, got 'max'$"):
        checks.check_choice("reduction", "max", ("mean", "sum"))
