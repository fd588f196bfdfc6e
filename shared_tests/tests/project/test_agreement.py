"""The strict comparison is strict."""

import math

import numpy as np
import pytest

from fourfold.agreement import assert_dtype, error, unit
from fourfold.definition import Case

A = np.array([1.0, -4.0, 2.0])


def test_error_is_relative_to_the_largest_entry():
    assert error(A + 1e-3, A) == pytest.approx(1e-3 / 4)


def test_error_is_absolute_for_small_entries():
    assert error(A * 1e-6, np.zeros(3)) == pytest.approx(4e-6)


@pytest.mark.parametrize(
    "other",
    [
        A[:, None],
        A.astype(int),
        np.array([1.0, np.nan, 2.0]),
        np.array([1.0, np.inf, 2.0]),
        A[:2],
    ],
)
def test_any_other_difference_is_infinite(other):
    assert error(other, A) == error(A, other) == math.inf


def test_nan_and_infinity_must_stand_in_the_same_places():
    special = np.array([np.nan, np.inf, -np.inf, 1.0])
    assert error(special, special) == 0
    assert error(special, special[::-1]) == math.inf
    assert error(np.array([np.inf]), np.array([-np.inf])) == math.inf


def test_integers_are_exact():
    assert error(np.array([3]), np.array([3])) == 0
    assert error(np.array([3]), np.array([4])) == math.inf


def test_empty_arrays_agree():
    assert error(np.zeros((0, 2)), np.zeros((0, 2))) == 0


def test_dtype_is_exact():
    assert_dtype(A, "float64", "x")
    with pytest.raises(AssertionError, match="float64, wanted float32"):
        assert_dtype(A, "float32", "x")
    with pytest.raises(AssertionError, match="int32, wanted int64"):
        assert_dtype(np.zeros(1, np.int32), "float32", "x")


CASE = Case("a case", {}).vanishes("gradient:*").cancels("value:loss")


def test_what_vanishes_is_compared_relative_to_its_largest_entry():
    size = unit(CASE, "gradient:x", 1e-9 * A)
    assert error(1.01e-9 * A, 1e-9 * A, size) == pytest.approx(0.01)
    assert error(np.zeros(3), 1e-9 * A, size) == 1
    assert unit(CASE, "value:output", 1e-9 * A) == 1


def test_zeros_are_exact_unless_rounding_cancels_them():
    zeros = np.zeros(3)
    assert error(1e-300 * A, zeros, unit(CASE, "value:output", zeros)) == math.inf
    assert error(-zeros, zeros, unit(CASE, "value:output", zeros)) == 0
    assert error(1e-17 * A, zeros, unit(CASE, "value:loss", zeros)) == pytest.approx(4e-17)
    assert unit(CASE, "value:output", np.zeros(3, int)) == 1
