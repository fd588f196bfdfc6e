"""The plot of a gradient flow: what matplotlib draws."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from numpy_infer.gradient_flow import plot_gradient_flow

BLOCKED, SMALL = 0.9e-3, 1.1e-3  # of a largest flow of 1, on both sides of the default share


def axes_of(flow: Any, **options: Any) -> Any:
    (axes,) = plot_gradient_flow(flow, **options).axes
    return axes


def marks(axes: Any) -> dict[str, list[int]]:
    """{label: the layers that are marked so}, each at height 0."""
    found = {}
    for line in axes.lines:
        if not line.get_label().startswith("_"):  # the line at 0 has no label of its own
            layers, heights = line.get_data()
            assert not np.any(heights)
            found[line.get_label()] = layers.tolist()
    return found


def bars(axes: Any) -> list[float]:
    return [bar.get_height() for bar in axes.patches]


def test_the_bars_are_the_last_step_and_lines_span_all_steps():
    axes = axes_of([{"a": 3.0, "b": 1.0}, {"a": 2.0, "b": 5.0}])
    assert bars(axes) == [2.0, 5.0]
    (spans,) = axes.collections
    assert [one.tolist() for one in spans.get_segments()] == [[[0, 2], [0, 3]], [[1, 1], [1, 5]]]
    assert spans.get_label() == "range over 2 steps"
    assert len(axes.figure.legends) == 1


def test_one_step_has_bars_alone():
    axes = axes_of({"a": 3.0, "$b": 1.0})
    assert bars(axes) == [3.0, 1.0]
    assert not axes.collections
    assert marks(axes) == {}
    assert not axes.figure.legends  # nothing to explain
    assert axes.get_xticks().tolist() == [0, 1]
    names = axes.get_xticklabels()
    assert [one.get_text() for one in names] == ["a", "$b"]
    assert not any(one.get_parse_math() for one in names)  # a name may hold dollars
    assert axes.get_xlim() == (-1, 2)
    assert axes.get_ylim()[0] == 0


def test_blocked_layers_are_marked_by_the_default_share():
    flow = {"first": BLOCKED, "second": SMALL, "last": 1.0}
    assert marks(axes_of(flow)) == {"blocked": [0]}
    assert marks(axes_of(flow, share=0.5)) == {"blocked": [0, 1]}
    assert marks(axes_of([flow, {**flow, "first": SMALL}])) == {}


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_not_finite_is_marked_and_no_largest_flow(value):
    axes = axes_of({"a": 0.5, "b": value, "c": BLOCKED / 2})
    assert marks(axes) == {"blocked": [2], "not finite": [1]}
