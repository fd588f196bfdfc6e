"""Blocked layers, from plain numbers."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from numpy_infer.gradient_flow import blocked_layers

BLOCKED, SMALL = 0.9e-3, 1.1e-3  # of a largest flow of 1, on both sides of the default share


def test_the_default_share_and_steps():
    flow = {"first": BLOCKED, "second": SMALL, "last": 1.0, "none": 0.0}
    assert blocked_layers([flow] * 5) == ["first", "none"]
    with pytest.raises(ValueError, match=r"^steps: expected .*, got 5"):
        blocked_layers([flow] * 4)
    awake = {**flow, "first": SMALL}
    assert blocked_layers([awake, *[flow] * 5]) == ["first", "none"]
    assert blocked_layers([flow] * 4 + [awake]) == ["none"]


def test_a_flow_of_anything_that_is_a_number():
    """A framework's own scalars become floats by `float`, as a fraction does."""
    assert blocked_layers([{"a": Fraction(1, 2000), "b": Fraction(1)}], steps=1) == ["a"]
    assert blocked_layers([{"a": np.float32(0), "b": np.array(1.0)}], steps=1) == ["a"]


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_not_finite_is_an_error(value):
    with pytest.raises(ValueError, match=f"^flows: expected finite numbers, got {value} in b"):
        blocked_layers([{"a": 0.5, "b": value}], steps=1)


@pytest.mark.parametrize(
    ("flows", "error"),
    [
        ([], ValueError),
        ([{}], ValueError),
        ([{"a": 1.0}, {"b": 1.0}], ValueError),
        ({"a": 1.0}, TypeError),
        ([1.0], TypeError),
    ],
)
def test_bad_flows(flows, error):
    with pytest.raises(error, match=r"^flows: expected .*, got "):
        blocked_layers(flows, steps=1)
