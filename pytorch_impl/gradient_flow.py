"""How much gradient reaches each layer: the mean of |gradient| over each weight, biases left out.

    flow(W) = Σ |∂loss/∂W| / (number of entries of W)

One bar for each weight. A layer that blocks the way back has almost none for several steps, and
so have the layers before it.

Source: seed topic, the flow of the gradient.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from pytorch_impl.checks import check_count, check_number
from pytorch_impl.precision import widened

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from torch.utils.tensorboard import SummaryWriter

Flow = Mapping[str, float]


def gradient_flow(model: nn.Module) -> dict[str, float]:
    """{layer: mean |gradient|} of a model after `backward`, in the order of its parameters.

    A weight that got no gradient counts as 0: it is blocked. A sparse gradient counts over the
    whole table. Frozen parameters are left out, and so is every bias: what is called shift or
    beta, or has the word bias in its own name (bias, input_bias, bias_ih_l0). `encoder.weight` is
    the layer `encoder`; any other name is whole, so a GRU has a bar for each of its weights.
    All means move to the host at once. TypeError for what is no module, ValueError for a model
    without a weight that is trained.
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"model: expected an nn.Module, got {type(model).__name__}")
    found = {
        name.removesuffix(".weight"): _mean_magnitude(parameter)
        for name, parameter in model.named_parameters()
        if parameter.requires_grad and not _is_bias(name)
    }
    if not found:
        raise ValueError("model: expected a trained weight that is no bias, got none")
    device = next(iter(found.values())).device
    means = torch.stack([one.to(device) for one in found.values()])
    return dict(zip(found, means.tolist(), strict=True))


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


def write_gradient_flow(writer: SummaryWriter, flow: Flow, step: int) -> None:
    """A TensorBoard scalar `gradient_flow/LAYER` for each layer, at a step of the training.

    ValueError for a flow without layers.
    """
    names, values = _values("flow", [flow])
    for name, value in zip(names, values[0], strict=True):
        writer.add_scalar(f"gradient_flow/{name}", value, step)


def _mean_magnitude(parameter: nn.Parameter) -> Tensor:
    gradient = parameter.grad
    if gradient is None:
        return widened(parameter.detach()).new_zeros(())
    if gradient.is_sparse:
        # The rows of an id that came several times add up before their sizes are taken.
        return widened(gradient.detach()).coalesce().values().abs().sum() / parameter.numel()
    return widened(gradient.detach()).abs().mean()


def _is_bias(name: str) -> bool:
    own = name.split(".")[-1]
    return own in ("beta", "shift") or "bias" in own.split("_")


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
    return ((values < share * largest) | (values == 0)).all(axis=0)
