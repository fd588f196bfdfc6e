"""Blocked layers and their plot, from plain numbers: NumPy alone, and a figure that takes notes."""

from __future__ import annotations

import sys
from fractions import Fraction
from types import ModuleType
from typing import Any
from unittest.mock import MagicMock

import numpy as np
import pytest

from numpy_infer.gradient_flow import blocked_layers, plot_gradient_flow

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
def test_what_is_not_finite_is_no_largest_flow(value, drawn):
    with pytest.raises(ValueError, match=f"^flows: expected finite numbers, got {value} in b"):
        blocked_layers([{"a": 0.5, "b": value}], steps=1)
    axes = drawn({"a": 0.5, "b": value, "c": BLOCKED / 2})
    assert marks(axes) == {"blocked": [2], "not finite": [1]}


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


@pytest.fixture
def drawn(monkeypatch):
    """plot_gradient_flow(...) with a matplotlib that notes what is drawn; returns its axes."""

    def axes_of(flow: Any, **options: Any) -> MagicMock:
        figure = MagicMock()
        axes = figure.return_value.add_subplot.return_value
        axes.get_legend_handles_labels.side_effect = lambda: (
            [1] * (axes.vlines.call_count + axes.plot.call_count),
            [],
        )
        module: Any = ModuleType("matplotlib.figure")
        module.Figure = figure
        monkeypatch.setitem(sys.modules, "matplotlib", ModuleType("matplotlib"))
        monkeypatch.setitem(sys.modules, "matplotlib.figure", module)
        assert plot_gradient_flow(flow, **options) is figure.return_value
        axes.legend = figure.return_value.legend
        return axes

    return axes_of


def marks(axes: MagicMock) -> dict[str, list[int]]:
    """{label: the places of the layers that are marked so}, each at height 0."""
    found = {}
    for call in axes.plot.call_args_list:
        places, heights = call.args[:2]
        assert not np.any(heights)
        found[call.kwargs["label"]] = places.tolist()
    return found


def test_the_bars_are_the_last_step_and_lines_span_all_steps(drawn):
    axes = drawn([{"a": 3.0, "b": 1.0}, {"a": 2.0, "b": 5.0}])
    places, heights = axes.bar.call_args.args
    assert (places.tolist(), heights.tolist()) == ([0, 1], [2.0, 5.0])
    places, low, high = axes.vlines.call_args.args
    assert (places.tolist(), low.tolist(), high.tolist()) == ([0, 1], [2.0, 1.0], [3.0, 5.0])
    assert axes.vlines.call_args.kwargs["label"] == "range over 2 steps"
    axes.legend.assert_called_once()


def test_one_step_has_bars_alone(drawn):
    axes = drawn({"a": 3.0, "b": 1.0})
    assert axes.bar.call_args.args[1].tolist() == [3.0, 1.0]
    axes.vlines.assert_not_called()
    axes.plot.assert_not_called()
    axes.legend.assert_not_called()  # nothing to explain
    places, names = axes.set_xticks.call_args.args
    assert (places.tolist(), names) == ([0, 1], ["a", "b"])
    assert axes.set_xticks.call_args.kwargs["parse_math"] is False  # a name may hold dollars
    axes.set_xlim.assert_called_once_with(-1, 2)
    axes.set_ylim.assert_called_once_with(bottom=0)


def test_blocked_layers_are_marked_by_the_default_share(drawn):
    flow = {"first": BLOCKED, "second": SMALL, "last": 1.0}
    assert marks(drawn(flow)) == {"blocked": [0]}
    assert marks(drawn(flow, share=0.5)) == {"blocked": [0, 1]}
    assert marks(drawn([flow, {**flow, "first": SMALL}])) == {}
