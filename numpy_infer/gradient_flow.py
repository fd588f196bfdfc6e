"""The gradient flow as plain numbers: which layers are blocked, and a plot.

    blocked    flow(layer) < share · max flow, or flow(layer) = 0, in each of several steps

The flow itself is each framework's own affair (`pytorch_impl/gradient_flow.py` and its twins). What
is done with its numbers belongs to no framework, and is here once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from numpy_infer.support.checks import check_count, check_number

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Flow = Mapping[str, Any]  # {layer: a number, or a tensor of one}


def plot_gradient_flow(flow: Flow | Sequence[Flow], *, share: float = 1e-3) -> Figure:
    """The flow as bars, the layers side by side: `plot_gradient_flow(flow).savefig("flow.png")`.

    flow: of one step, or of several: then the bars are the last step's, and a line spans what a
    layer had over all of them. Layers that are blocked in every step, as `blocked_layers` says
    it, and those whose gradient is not finite are marked. The figure, of matplotlib, grows with
    the number of layers and the length of their names. ValueError for a flow without layers, for
    steps with different layers, and for a share outside [0, 1). ImportError without matplotlib.
    """
    names, values = _values("flow", [flow] if isinstance(flow, Mapping) else flow)
    blocked = _blocked(values, share)
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        hint = "plot_gradient_flow needs matplotlib: install it, or fourfold[plots]"
        raise ImportError(hint) from error
    longest = max(map(len, names))
    size = max(6.4, 1.5 + 0.25 * len(names)), 4 + 0.08 * longest  # inches
    axes = (figure := Figure(size, layout="constrained")).add_subplot()
    finite = np.isfinite(values)
    shown, places = np.where(finite, values, 0), np.arange(len(names))
    axes.bar(places, shown[-1], color="tab:blue", alpha=0.6)
    if len(values) > 1:
        ends = shown.min(axis=0), shown.max(axis=0)
        axes.vlines(places, *ends, color="black", label=f"range over {len(values)} steps")
    marks = [("blocked", blocked, "tab:red", "X"), ("not finite", ~finite[-1], "tab:purple", "D")]
    for label, marked, color, marker in marks:
        if marked.any():
            at_zero = places[marked], np.zeros(marked.sum())
            axes.plot(*at_zero, marker, color=color, label=label, clip_on=False, zorder=3)
    axes.axhline(0, color="black", linewidth=1)
    axes.set_xlim(-1, len(names))
    axes.set_ylim(bottom=0)
    axes.set_xticks(places, names, rotation=90, fontsize=8, parse_math=False)
    axes.set_ylabel("mean |gradient|")
    axes.set_title("gradient flow")
    axes.grid(alpha=0.4)
    axes.set_axisbelow(True)
    if axes.get_legend_handles_labels()[0]:
        figure.legend(loc="outside upper right", ncols=3)
    return figure


def blocked_layers(flows: Sequence[Flow], *, share: float = 1e-3, steps: int = 5) -> list[str]:
    """The layers whose flow was below `share` of the largest layer's in each of the last `steps`.

    flows: of successive steps, the oldest first. A flow of exactly 0 is always below: when all
    are 0, all are blocked. With a share of 0 these are the only ones. NaN or infinity among the
    last steps is an error, for then the training is lost and no layer can be judged. ValueError
    for fewer flows than steps, for a flow without layers, for steps with different layers, and
    for a share outside [0, 1).
    """
    names, values = _values("flows", flows)
    steps = check_count("steps", steps, most=len(values))
    last = values[-steps:]
    for step, place in np.argwhere(~np.isfinite(last))[:1]:
        raise ValueError(
            f"flows: expected finite numbers, got {last[step, place]} in {names[place]}"
        )
    return [name for name, one in zip(names, _blocked(last, share), strict=True) if one]


def _values(argument: str, flows: Sequence[Flow]) -> tuple[list[str], np.ndarray]:
    """The layers and what they had, (steps, layers)."""
    if not isinstance(flows, Sequence) or not all(isinstance(one, Mapping) for one in flows):
        raise TypeError(f"{argument}: expected {{layer: number}} for each step, got {flows!r:.99}")
    if not flows or not flows[0]:
        raise ValueError(f"{argument}: expected at least one layer in one step, got {flows!r:.99}")
    names = list(flows[0])
    for one in flows:
        if one.keys() != flows[0].keys():
            raise ValueError(f"{argument}: expected the layers {names} in each step, got {[*one]}")
    return names, np.array([[float(one[name]) for name in names] for one in flows])


def _blocked(values: np.ndarray, share: float) -> np.ndarray:
    """Which layers are below their share of the largest finite one in every step, (layers,)."""
    share = check_number("share", share, least=0)
    if share >= 1:
        raise ValueError(f"share: expected a number in [0, 1), got {share}")
    largest = values.max(axis=1, keepdims=True, where=np.isfinite(values), initial=0)
    blocked: np.ndarray = ((values < share * largest) | (values == 0)).all(axis=0)
    return blocked
