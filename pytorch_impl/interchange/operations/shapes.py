"""What a forward asks of shapes, and does to axes: sizes, joining, flattening, moving channels."""

from __future__ import annotations

import itertools
import operator
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn

from numpy_infer.format.row import CHANNELS
from numpy_infer.format.shapes import product
from pytorch_impl.interchange.graph_entries import GraphEntries
from pytorch_impl.interchange.graph_values import Parts, Size, Sizes, Value, view
from pytorch_impl.interchange.record import UnsupportedError
from pytorch_impl.layers.combinations import Concatenate
from pytorch_impl.layers.shape import ChannelsFirst, ChannelsLast, Permute, Reshape, Slice


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
            start = key.start or 0
            if start < 0:  # counted from the end
                start += graph.rank(holder.value) - holder.start
            if key.stop is None and key.step is None and start >= 0:
                return Sizes(holder.value, holder.start + start)
            raise UnsupportedError("a slice of a shape")
        return size_at(graph, holder, key)
    if isinstance(holder, Parts):
        return _part(graph, holder, holder.bounds[key])
    return _indexed(graph, holder, key if isinstance(key, tuple) else (key,))


def _indexed(graph: GraphEntries, value: Value, key: tuple[Any, ...]) -> Value:
    """A slice along one axis, all others whole."""
    if Ellipsis in key:
        place = key.index(Ellipsis)
        more = graph.rank(value) - len(key) + 1
        key = (*key[:place], *[slice(None)] * more, *key[place + 1 :])
    parts = [(axis, one) for axis, one in enumerate(key) if one != slice(None)]
    if not parts:
        return value
    ((axis, one),) = parts if len(parts) == 1 else [(0, None)]
    if axis == 0 or not isinstance(one, slice) or one.step not in (None, 1):
        raise UnsupportedError("indexing other than a slice of one axis")
    return _part(graph, Parts(value, axis, ()), one.indices(_known(graph, value, axis))[:2])


def _part(graph: GraphEntries, parts: Parts, bounds: tuple[int, int]) -> Value:
    axis = graph.axis(parts.value, parts.axis)
    if axis not in (1, -1):
        raise UnsupportedError(f"a slice of axis {parts.axis}, where files have 1 and the last")
    return view(parts.value, graph.append(Slice(*bounds, axis=axis), [parts.value]))


def chunk(graph: GraphEntries, input: Value, chunks: int, dim: int = 0) -> Parts:
    """An axis in so many parts, the last of them smaller where it does not divide."""
    return split(graph, input, -(-_known(graph, input, dim) // chunks), dim)


def split(graph: GraphEntries, tensor: Value, split_size: Any, dim: int = 0) -> Parts:
    """An axis in parts of this size, or of these sizes."""
    size = _known(graph, tensor, dim)
    if isinstance(split_size, int):
        ends = [*range(split_size, size, split_size), size]
    else:
        ends = [*itertools.accumulate(split_size)]
    return Parts(tensor, dim, tuple(zip([0, *ends[:-1]], ends, strict=True)))


def unsqueeze(graph: GraphEntries, input: Value, dim: int) -> Value:
    """An axis of size 1 more."""
    shape = _sizes(graph, input)
    place = dim % (len(shape) + 1)
    return _as_rows(graph, input, [*shape[:place], 1, *shape[place:]])


def squeeze(graph: GraphEntries, input: Value, dim: Any = None) -> Value:
    """Without the axes of size 1, or without those of the given ones that have it."""
    shape = _sizes(graph, input)
    dims = range(1, len(shape)) if dim is None else [dim] if isinstance(dim, int) else dim
    left_out = {axis % len(shape) for axis in dims}
    kept = [n for axis, n in enumerate(shape) if n != 1 or axis not in left_out]
    return _as_rows(graph, input, kept)


def expand_as(graph: GraphEntries, input: Value, other: Value) -> Value:
    """The same tensor, which what takes it together with the other one repeats by itself."""
    expanded = Value(input.place)
    expanded.combined_with = graph.shapes[other.place]
    return expanded


def stack(graph: GraphEntries, tensors: Any, dim: int = 0) -> Value:
    """Tensors along a new axis."""
    return join(graph, [unsqueeze(graph, one, dim) for one in _each(graph, tensors)], dim)


def _each(graph: GraphEntries, tensors: Any) -> list[Value]:
    if isinstance(tensors, Parts):
        return [_part(graph, tensors, one) for one in tensors.bounds]
    return list(tensors)


def _sizes(graph: GraphEntries, value: Value) -> list[int | None]:
    graph.rank(value)
    return list(graph.shapes[value.place] or ())


def _known(graph: GraphEntries, value: Value, axis: int) -> int:
    size = _sizes(graph, value)[axis]
    if size is None:
        raise UnsupportedError("parts of an axis whose size no input tells: give inputs={...},")
    return size


def _as_rows(graph: GraphEntries, input: Value, shape: Sequence[int | None]) -> Value:
    """A Reshape, which has one size at most that is not known; shape: with the batch."""
    sizes = [-1 if n is None else n for n in shape[1:]]
    if not sizes or sizes.count(-1) > 1:
        raise UnsupportedError("another shape of sizes that no input tells: give inputs={...},")
    return view(input, graph.append(Reshape(sizes), [input]))


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
    values = _each(graph, tensors)
    place = graph.axis(values[0], dim if axis is None else axis)
    return graph.append(Concatenate(place), values)


def flatten(graph: GraphEntries, input: Value, start_dim: int = 0, end_dim: int = -1) -> Value:
    """All axes behind the first as one."""
    shape = graph.shapes[input.place]
    if shape is None or (start_dim, end_dim % len(shape)) == (1, len(shape) - 1):
        return view(input, graph.append(nn.Flatten(start_dim, end_dim), [input]))
    start, end = start_dim % len(shape), end_dim % len(shape)
    if start == 0:
        raise UnsupportedError(f"flatten(start_dim={start_dim}), which takes the batch,")
    joined = product(shape[start : end + 1])
    return _as_rows(graph, input, [*shape[:start], joined, *shape[end + 1 :]])


def reshape(graph: GraphEntries, input: Value, *sizes: Any, shape: Any = None) -> Value:
    """Each row in another shape."""
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
    known = all(isinstance(one, int) for one in sizes[1:])
    if not rows and before is not None and sizes[0] == -1 and known:
        rows = product(before[1:]) == product(sizes[1:])
    if rows and known and len(sizes) > 1:
        return _as_rows(graph, input, [None, *sizes[1:]])
    shown = ", ".join("n" if isinstance(one, Size) else str(one) for one in sizes)
    raise UnsupportedError(f"view or reshape to ({shown}), where files keep the batch")


def _is_batch(size: Any) -> bool:
    """Whether a size is that of the batch: no layer of files changes it."""
    return isinstance(size, Size) and size.axis == 0


def permute(graph: GraphEntries, input: Value, *dims: Any) -> Value:
    """The axes in another order, the batch first."""
    order = tuple(dims[0]) if len(dims) == 1 and not isinstance(dims[0], int) else dims
    order = tuple(axis % len(order) for axis in order)
    count = len(order)
    first = order == (0, count - 1, *range(1, count - 1))
    last = order == (0, *range(2, count), 1)
    if first and last:  # three axes: which of them are channels?
        return _turn(graph, input, graph.lies[input.place] != CHANNELS)
    if order[0] != 0:
        raise UnsupportedError(f"permute{order}, which moves the batch,")
    if not (first or last):
        return view(input, graph.append(Permute(order[1:]), [input]))
    return _turn(graph, input, first)


def transpose(graph: GraphEntries, input: Value, dim0: int, dim1: int) -> Value:
    """Two axes exchanged."""
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
    **dict.fromkeys((torch.chunk, "chunk"), chunk),
    **dict.fromkeys((torch.split, "split"), split),
    **dict.fromkeys((torch.unsqueeze, "unsqueeze"), unsqueeze),
    **dict.fromkeys((torch.squeeze, "squeeze"), squeeze),
    torch.stack: stack,
    "expand_as": expand_as,
    "contiguous": same,
    **dict.fromkeys((torch.clone, "clone"), copy),
}
