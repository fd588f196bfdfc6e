"""What a forward asks of shapes, and does to axes: sizes, joining, flattening, moving channels."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn

from numpy_infer.format.row import CHANNELS
from numpy_infer.format.shapes import product
from pytorch_impl.interchange.graph_entries import GraphEntries
from pytorch_impl.interchange.graph_values import Size, Sizes, Value, view
from pytorch_impl.interchange.record import UnsupportedError
from pytorch_impl.layers.combinations import Concatenate
from pytorch_impl.layers.shape import ChannelsFirst, ChannelsLast


def attribute(graph: GraphEntries, value: Any, name: str) -> Any:
    """The shape, which is the one attribute of a tensor that files can follow."""
    if isinstance(value, Value) and name == "shape":
        return size(graph, value)
    raise UnsupportedError(f"attribute {name} of a tensor")


def size(graph: GraphEntries, value: Any, axis: int | None = None, dim: int | None = None) -> Any:
    """All sizes of a tensor, or that of an axis."""
    axis = dim if axis is None else axis
    return Sizes(value) if axis is None else size_at(graph, Sizes(value), axis)


def item(graph: GraphEntries, holder: Any, key: Any) -> Any:
    """A size, or the last ones, of a shape."""
    if isinstance(holder, Sizes):
        if isinstance(key, slice):
            if key.stop is None and key.step is None and (key.start or 0) >= 0:
                return Sizes(holder.value, holder.start + (key.start or 0))
            raise UnsupportedError("a slice of a shape")
        return size_at(graph, holder, key)
    raise UnsupportedError("indexing")


def size_at(graph: GraphEntries, sizes: Sizes, axis: int) -> Any:
    """The size of an axis: a number where it is known."""
    shape = graph.shapes[sizes.value.place]
    if shape is None and axis < 0:
        raise UnsupportedError(f"size({axis}) of a tensor whose shape no input tells")
    axis = axis + sizes.start if axis >= 0 else axis + len(shape or ())
    known = None if shape is None else shape[axis]
    return Size(sizes.value, axis) if known is None else known


def join(
    graph: GraphEntries, tensors: Sequence[Any], dim: int = 0, axis: int | None = None
) -> Value:
    """Tensors one behind the other."""
    place = graph.axis(tensors[0], dim if axis is None else axis)
    return graph.append(Concatenate(place), list(tensors))


def flatten(graph: GraphEntries, input: Value, start_dim: int = 0, end_dim: int = -1) -> Value:
    """All axes behind the first as one."""
    return view(input, graph.append(nn.Flatten(start_dim, end_dim), [input]))


def reshape(graph: GraphEntries, input: Value, *sizes: Any, shape: Any = None) -> Value:
    """A view that is a Flatten, or none at all."""
    if shape is not None:
        sizes = shape
    elif len(sizes) == 1 and not isinstance(sizes[0], int | Size):
        sizes = sizes[0]
    if isinstance(sizes, Sizes) and sizes.start == 0:
        sizes = tuple(size_at(graph, sizes, axis) for axis in range(graph.rank(sizes.value)))
    before = graph.shapes[input.place]
    rows = sizes[0] == Size(input, 0) or _is_batch(sizes[0])
    if len(sizes) == 2:
        flat = None if before is None else product(before[1:])
        if (rows and sizes[1] in (-1, flat)) or (sizes[0] == -1 and sizes[1] == flat):
            return view(input, graph.append(nn.Flatten(), [input]))
    if before is not None and rows and tuple(sizes[1:]) == before[1:]:
        return input
    shown = ", ".join("n" if isinstance(one, Size) else str(one) for one in sizes)
    raise UnsupportedError(f"view or reshape to ({shown}), where files have Flatten alone")


def _is_batch(size: Any) -> bool:
    """Whether a size is that of the batch: no layer of files changes it."""
    return isinstance(size, Size) and size.axis == 0


def permute(graph: GraphEntries, input: Value, *dims: Any) -> Value:
    """The channels moved to place 1, or to the end."""
    order = tuple(dims[0]) if len(dims) == 1 and not isinstance(dims[0], int) else dims
    order = tuple(axis % len(order) for axis in order)
    count = len(order)
    first = order == (0, count - 1, *range(1, count - 1))
    last = order == (0, *range(2, count), 1)
    if first and last:  # three axes: which of them are channels?
        return _turn(graph, input, graph.lies[input.place] != CHANNELS)
    if not (first or last):
        raise UnsupportedError(f"permute{order}, where files move channels alone")
    return _turn(graph, input, first)


def transpose(graph: GraphEntries, input: Value, dim0: int, dim1: int) -> Value:
    """Two axes exchanged, where that moves the channels."""
    rank = graph.rank(input)
    order = [*range(rank)]
    order[dim0], order[dim1] = order[dim1], order[dim0]
    return permute(graph, input, order)


def movedim(graph: GraphEntries, input: Value, source: int, destination: int) -> Value:
    """An axis moved, where that moves the channels."""
    axes = (graph.axis(input, source), graph.axis(input, destination))
    if axes not in ((1, -1), (-1, 1)):
        raise UnsupportedError(f"movedim({source}, {destination})")
    return _turn(graph, input, axes == (-1, 1))


def _turn(graph: GraphEntries, input: Value, first: bool) -> Value:
    return view(input, graph.append(ChannelsFirst() if first else ChannelsLast(), [input]))


def same(graph: GraphEntries, input: Any) -> Any:
    """The tensor itself."""
    return input


def copy(graph: GraphEntries, input: Value) -> Value:
    """The same values in memory of their own."""
    return Value(input.place)


OPERATIONS: dict[Any, Callable[..., Any]] = {
    getattr: attribute,
    operator.getitem: item,
    "size": size,
    **dict.fromkeys((torch.cat, torch.concat, torch.concatenate), join),
    **dict.fromkeys((torch.flatten, "flatten"), flatten),
    **dict.fromkeys((torch.reshape, "reshape", "view"), reshape),
    **dict.fromkeys((torch.permute, "permute"), permute),
    **dict.fromkeys((torch.transpose, "transpose"), transpose),
    **dict.fromkeys((torch.movedim, "movedim"), movedim),
    "contiguous": same,
    **dict.fromkeys((torch.clone, "clone"), copy),
}
