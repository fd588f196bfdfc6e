"""What a forward does to the size of space: F.pad and F.interpolate."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch import nn
from torch.nn import functional as F

from pytorch_impl.interchange.graph_entries import GraphEntries
from pytorch_impl.interchange.graph_values import Size, Sizes, Value
from pytorch_impl.interchange.operations.shapes import size_at
from pytorch_impl.interchange.record import UnsupportedError
from pytorch_impl.interchange.resampling import resampled
from pytorch_impl.interchange.space_records import pad as pad_module
from pytorch_impl.layers.shape import ChannelsFirst, ChannelsLast

MODES = {"constant": "constant", "reflect": "reflect", "replicate": "edge"}


def pad(
    graph: GraphEntries,
    input: Value,
    pad: Sequence[Any],
    mode: str = "constant",
    value: float | None = None,
) -> Value:
    """The last axes with so much added, or cut off; pad: the last axis first."""
    rank = graph.rank(input)
    if mode not in MODES or not all(isinstance(end, int) for end in pad):
        raise UnsupportedError(f"pad(mode={mode!r}) or of sizes that no input tells")
    pairs = [[*pad[start : start + 2]] for start in range(0, len(pad), 2)][::-1]
    pairs = [[0, 0]] * (rank - len(pairs)) + pairs
    batch, channels, *space = pairs
    if any(batch) or not space:
        raise UnsupportedError(f"pad of {rank} axes by {tuple(pad)}, which is not of space,")
    config: dict[str, Any] = {"mode": MODES[mode], "value": float(value or 0)}
    if any(channels):  # as the last axis of space
        last = graph.append(ChannelsLast(), [input])
        module = pad_module(padding=[*[[0, 0]] * len(space[1:]), channels], **config)
        input = graph.append(ChannelsFirst(), [graph.append(module, [last])])
    if not any(map(any, space)):
        return Value(input.place)
    return graph.append(pad_module(padding=space, **config), [input])


def interpolate(
    graph: GraphEntries,
    input: Value,
    size: Any = None,
    scale_factor: Any = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
    recompute_scale_factor: bool | None = None,
    antialias: bool = False,
) -> Value:
    """Another size of space, as nn.Upsample makes it."""
    if antialias:
        raise UnsupportedError("interpolate(antialias=True)")
    if isinstance(size, Sizes):
        size = [size_at(graph, size, axis) for axis in range(graph.rank(input) - 2)]
    if isinstance(size, list | tuple):
        size = tuple(size)
    if any(isinstance(one, Size) for one in (size if isinstance(size, tuple) else [size])):
        raise UnsupportedError("interpolate to a size that no input tells: give inputs={...},")
    module = nn.Upsample(size, scale_factor, mode, align_corners, recompute_scale_factor)
    return graph.append(resampled(module, graph.shapes[input.place]), [input])


OPERATIONS: dict[Any, Callable[..., Any]] = {F.pad: pad, F.interpolate: interpolate}
