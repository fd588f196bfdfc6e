"""Arithmetic of a forward: of two tensors a combination, of a tensor and a number a ScaleShift."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from pytorch_impl.interchange.graph_entries import GraphEntries
from pytorch_impl.interchange.graph_values import Value, number
from pytorch_impl.interchange.record import UnsupportedError
from pytorch_impl.layers.activations import ScaleShift
from pytorch_impl.layers.combinations import Add, Maximum, Minimum, Multiply, Subtract


def add(graph: GraphEntries, x: Any, y: Any, *, alpha: float = 1) -> Value:
    """x + alpha · y, of tensors or of one and a number."""
    if alpha != 1:
        y = scaled(graph, y, alpha, 0)
    if isinstance(x, Value) and isinstance(y, Value):
        return graph.append(Add(), [x, y])
    return scaled(graph, y, 1, x) if isinstance(y, Value) else scaled(graph, x, 1, y)


def subtract(graph: GraphEntries, x: Any, y: Any, *, alpha: float = 1) -> Value:
    """x − alpha · y, of tensors or of one and a number."""
    if alpha != 1:
        y = scaled(graph, y, alpha, 0)
    if isinstance(x, Value) and isinstance(y, Value):
        return graph.append(Subtract(), [x, y])
    if isinstance(y, Value):
        return scaled(graph, y, -1, x)
    return scaled(graph, x, 1, -number(y))


def multiply(graph: GraphEntries, x: Any, y: Any) -> Value:
    """x · y, of tensors or of one and a number."""
    if isinstance(x, Value) and isinstance(y, Value):
        return graph.append(Multiply(), [x, y])
    return scaled(graph, y, x, 0) if isinstance(y, Value) else scaled(graph, x, y, 0)


def divide(graph: GraphEntries, x: Any, y: Any) -> Value:
    """x / y by a number."""
    if isinstance(y, Value):
        raise UnsupportedError("division by a tensor")
    return scaled(graph, x, 1 / number(y), 0)


def negative(graph: GraphEntries, input: Value) -> Value:
    """−x."""
    return scaled(graph, input, -1, 0)


def scaled(graph: GraphEntries, x: Any, scale: Any, shift: Any) -> Value:
    """x · scale + shift, of two numbers."""
    scale, shift = float(number(scale)), float(number(shift))
    if scale == 1 and shift == 0:
        return Value(x.place)
    return graph.append(ScaleShift(scale, shift), [x])


def maximum(graph: GraphEntries, input: Any, other: Any = None) -> Value:
    """The larger of two tensors, entry by entry."""
    return graph.append(Maximum(), _two(input, other))


def minimum(graph: GraphEntries, input: Any, other: Any = None) -> Value:
    """The smaller of two tensors, entry by entry."""
    return graph.append(Minimum(), _two(input, other))


def clamp(graph: GraphEntries, input: Value, min: Any = None, max: Any = None) -> Value:
    """min(max(x, min), max), or max(x, 0) where there is no upper bound."""
    if min is not None and max is not None:
        return graph.append(nn.Hardtanh(number(min), number(max)), [input])
    if min == 0 and max is None:
        return graph.append(nn.ReLU(), [input])
    raise UnsupportedError(f"clamp(min={min}, max={max})")


def _two(x: Any, y: Any) -> list[Value]:
    if not (isinstance(x, Value) and isinstance(y, Value)):
        raise UnsupportedError("a maximum or minimum of other than two tensors")
    return [x, y]


CHANGING = (
    *(operator.iadd, operator.isub, operator.imul, operator.itruediv),
    *("add_", "sub_", "mul_", "div_", "clamp_"),
)
OPERATIONS: dict[Any, Callable[..., Any]] = {
    **dict.fromkeys((operator.add, operator.iadd, torch.add, "add", "add_"), add),
    **dict.fromkeys((operator.sub, operator.isub, torch.sub, "sub", "sub_"), subtract),
    **dict.fromkeys((operator.mul, operator.imul, torch.mul, "mul", "mul_"), multiply),
    **dict.fromkeys((operator.truediv, operator.itruediv, torch.div, "div", "div_"), divide),
    **dict.fromkeys((operator.neg, torch.neg, "neg"), negative),
    **dict.fromkeys((torch.clamp, "clamp", "clamp_"), clamp),
    **dict.fromkeys((torch.maximum, torch.max, "maximum", "max"), maximum),
    **dict.fromkeys((torch.minimum, torch.min, "minimum", "min"), minimum),
}
