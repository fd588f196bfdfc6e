"""Gradient flows for the tools, and what stands in a figure of one."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np


def layer_names(n: int) -> list[str]:
    """Names whose alphabetical order is not theirs."""
    return [f"block.{n - place}.projection" for place in range(n)]


def named_flows(values: np.ndarray, number: Callable[[Any], Any]) -> list[dict[str, Any]]:
    """(steps, layers), or (layers,) of one step, as flows of a package's own numbers."""
    names = layer_names(values.shape[-1])
    return [dict(zip(names, map(number, step), strict=True)) for step in np.atleast_2d(values)]


def read_bars(figure: Any, dtype: Any) -> dict[str, np.ndarray]:
    """Heights, centres and labels (their places in `layer_names`), marks and ranges."""
    (axes,) = figure.axes
    centres = [bar.get_x() + bar.get_width() / 2 for bar in axes.patches]
    labels = [label.get_text() for label in axes.get_xticklabels()]
    spans = [[low, high] for (_, low), (_, high) in segments(axes)]
    return {
        "heights": np.array([bar.get_height() for bar in axes.patches], dtype),
        "centres": np.array(centres, dtype),
        "ticks": axes.get_xticks().astype(dtype),
        "labels": np.array([layer_names(len(labels)).index(name) for name in labels]),
        "ranges": np.array(spans, dtype).reshape(-1, 2),
        **{name: marked(axes, name, len(labels)) for name in ("blocked", "not finite")},
    }


def segments(axes: Any) -> list[np.ndarray]:
    """The lines that `vlines` has drawn."""
    return [one for collection in axes.collections for one in collection.get_segments()]


def marked(axes: Any, name: str, n: int) -> np.ndarray:
    """At which of n places the marks of this name stand, (n,)."""
    places = [one.get_xdata() for one in axes.lines if one.get_label() == name]
    return np.isin(np.arange(n), np.concatenate([*places, []]))


def assert_legible(figure: Any) -> None:
    """Every name of a layer lies whole inside the figure, and on no other one."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    (axes,) = figure.axes
    labels = axes.get_xticklabels()
    assert not any(label.get_parse_math() for label in labels)
    boxes = [label.get_window_extent() for label in labels]
    for box in boxes:
        assert figure.bbox.x0 <= box.x0 < box.x1 <= figure.bbox.x1
        assert figure.bbox.y0 <= box.y0 < box.y1 <= axes.bbox.y0
    for left, right in pairwise(boxes):
        assert left.x1 < right.x0
    assert axes.bbox.height > 150  # pixels left for the bars


# Few and short, many and long, one among short ones; what others would read as a formula.
LONG_NAMES = [
    ["embedding", "encoder", "out"],
    [f"encoder.layers.{place}.self_attention.out_projection" for place in range(24)],
    [f"block.{place}" for place in range(97)],
    ["a", "b" * 150, "$x_1$ and $y$"],
]
