"""The gradient flow as plain numbers: which layers are blocked, and a plot.

    blocked    flow(layer) < share · max flow, or flow(layer) = 0, in each of several steps

Each framework measures the flow itself (`pytorch_impl/gradient_flow.py` and its twins). What is
done with the numbers belongs to no framework.

Source: a common way to debug deep networks, bars of the mean absolute gradient of each layer; a bar
that is almost zero for several steps belongs to a layer that is blocked.
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
    """The gradient flow as bars, one for each layer, in a figure of matplotlib.

    Layers that are blocked in every step, by the rule of `blocked_layers`, and layers whose
    gradient is not finite are marked. The figure grows with the number of layers and the length of
    their names.

    Args:
        flow: {layer: mean |gradient|} of one step; or a list of them, one for each step: then the
            bars show the last step, and a line spans the range over all steps.
        share: of the largest flow, below which a layer is blocked; in [0, 1).
    Returns:
        The figure: `.savefig("flow.png")` writes it.
    Raises:
        TypeError: a flow of another type. ValueError: a flow without layers, steps with different
            layers, a share out of range. ImportError: without matplotlib.
    Example:
        >>> figure = plot_gradient_flow({"encoder": 0.2, "head": 0.5})
        >>> len(figure.axes[0].patches)  # bars
        2
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
    shown, positions = np.where(finite, values, 0), np.arange(len(names))
    axes.bar(positions, shown[-1], color="tab:blue", alpha=0.6)
    if len(values) > 1:
        ends = shown.min(axis=0), shown.max(axis=0)
        axes.vlines(positions, *ends, color="black", label=f"range over {len(values)} steps")
    marks = [("blocked", blocked, "tab:red", "X"), ("not finite", ~finite[-1], "tab:purple", "D")]
    for label, marked, color, marker in marks:
        if marked.any():
            at_zero = positions[marked], np.zeros(marked.sum())
            axes.plot(*at_zero, marker, color=color, label=label, clip_on=False, zorder=3)
    axes.axhline(0, color="black", linewidth=1)
    axes.set_xlim(-1, len(names))
    axes.set_ylim(bottom=0)
    axes.set_xticks(positions, names, rotation=90, fontsize=8, parse_math=False)
    axes.set_ylabel("mean |gradient|")
    axes.set_title("gradient flow")
    axes.grid(alpha=0.4)
    axes.set_axisbelow(True)
    if axes.get_legend_handles_labels()[0]:
        figure.legend(loc="outside upper right", ncols=3)
    return figure


def blocked_layers(flows: Sequence[Flow], *, share: float = 1e-3, steps: int = 5) -> list[str]:
    """The layers whose flow was almost zero in each of the last steps.

        flow(layer) < share · max flow, or flow(layer) = 0

    When all flows are 0, all layers are blocked. NaN or infinity among the last steps is an error:
    the training is lost then, and no layer can be judged.

    Args:
        flows: {layer: mean |gradient|} for each step, the oldest first; at least `steps` of them.
        share: of the largest flow of a step, in [0, 1); with 0 only flows of exactly 0 count.
        steps: how many of the last steps have to agree, at least 1.
    Returns:
        The names of the blocked layers, in their order.
    Raises:
        TypeError: flows of another type. ValueError: fewer flows than steps, a flow without layers,
            steps with different layers, NaN or infinity, a share out of range.
    Example:
        >>> blocked_layers([{"encoder": 1e-6, "head": 0.5}] * 5)
        ['encoder']
    """
    names, values = _values("flows", flows)
    steps = check_count("steps", steps, most=len(values))
    last = values[-steps:]
    for step, layer in np.argwhere(~np.isfinite(last))[:1]:
        raise ValueError(
            f"flows: expected finite numbers, got {last[step, layer]} in {names[layer]}"
        )
    return [name for name, low in zip(names, _blocked(last, share), strict=True) if low]


def _values(argument: str, flows: Sequence[Flow]) -> tuple[list[str], np.ndarray]:
    """The names of the layers, and their flows as an array, (steps, layers)."""
    if not isinstance(flows, Sequence) or not all(isinstance(one, Mapping) for one in flows):
        raise TypeError(f"{argument}: expected {{layer: number}} for each step, got {flows!r:.99}")
    if not flows or not flows[0]:
        raise ValueError(f"{argument}: expected at least one layer in one step, got {flows!r:.99}")
    names = list(flows[0])
    for flow in flows:
        if flow.keys() != flows[0].keys():
            raise ValueError(f"{argument}: expected the layers {names} in each step, got {[*flow]}")
    return names, np.array([[float(flow[name]) for name in names] for flow in flows])


def _blocked(values: np.ndarray, share: float) -> np.ndarray:
    """Whether each layer is below its share of the largest finite flow in every step, (layers,)."""
    share = check_number("share", share, least=0)
    if share >= 1:
        raise ValueError(f"share: expected a number in [0, 1), got {share}")
    largest = values.max(axis=1, keepdims=True, where=np.isfinite(values), initial=0)
    blocked: np.ndarray = ((values < share * largest) | (values == 0)).all(axis=0)
    return blocked
