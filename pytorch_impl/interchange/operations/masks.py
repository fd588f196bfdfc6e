"""Masks of a forward: comparisons of an input with 0, their axes, and scores without keys."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from pytorch_impl.interchange.graph_entries import GraphEntries
from pytorch_impl.interchange.graph_values import Symbol, Value, number
from pytorch_impl.interchange.operations.symbols import Constant, Kind, Mask, Positions, Scores

FAR = -1e4  # what is added to a score is a mask from here on


def compared(padding: bool) -> Callable[..., Any]:
    """x == 0, or x != 0: a mask of padding, or of what counts."""

    def compare(graph: GraphEntries, x: Any, y: Any) -> Any:
        if isinstance(y, bool) or y != 0:
            return None
        if isinstance(x, Constant):
            return replace(x, tensor=(x.tensor == 0) == padding)
        if (mask := as_mask(graph, x)) is None:
            return None
        return replace(mask, padding=mask.padding != padding, boolean=True)

    return compare


def as_mask(graph: GraphEntries, x: Any) -> Mask | None:
    """A mask, which an input of (batch, time) is too: of bools, unless it is cast to numbers."""
    if isinstance(x, Value) and graph.entries[x.place]["layer"] == "Input":
        shape = graph.shapes[x.place]
        return Mask(x, boolean=True) if shape is not None and len(shape) == 2 else None
    return x if isinstance(x, Mask) else None


def inverted(graph: GraphEntries, x: Any) -> Any:
    """The other times of a mask."""
    if isinstance(x, Constant):
        return replace(x, tensor=~x.tensor)
    mask = as_mask(graph, x)
    return None if mask is None else replace(mask, padding=not mask.padding, boolean=True)


def cast(dtype: torch.dtype | None = None) -> Callable[..., Any]:
    """To this dtype, or to the dtype or the tensor among the arguments of the call."""

    def convert(graph: GraphEntries, x: Any, *others: Any, **options: Any) -> Any:
        wanted = dtype
        for one in (*others, *options.values()):
            if isinstance(one, torch.dtype):
                wanted = one
            elif isinstance(one, Value) or (isinstance(one, Kind) and one.name == "dtype"):
                # The dtype of what a forward computes is not known, only that it is of numbers.
                whole = isinstance(x, Constant) and x.tensor.is_floating_point()
                wanted = None if whole else torch.float32
            elif isinstance(one, Constant) or (isinstance(one, str) and "Tensor" in one):
                return None
        if isinstance(x, Constant):
            return x if wanted is None else replace(x, tensor=x.tensor.to(wanted))
        mask = as_mask(graph, x)
        if mask is None or wanted is None:
            return mask
        return replace(mask, boolean=wanted == torch.bool)

    return convert


def attribute(graph: GraphEntries, x: Any, name: str) -> Any:
    """The dtype or the device of a tensor, to which a mask is cast."""
    known = name in ("dtype", "device") and isinstance(x, Value | Symbol)
    return Kind(name) if known else None


def unsqueeze(graph: GraphEntries, x: Any, dim: int) -> Any:
    """A mask with an axis of size 1 more; positions with one for the batch."""
    if isinstance(x, Positions):
        return x if dim == 0 else None
    if (mask := as_mask(graph, x)) is None:
        return None
    axes = list(mask.axes)
    axes.insert(dim if dim >= 0 else dim + len(axes) + 1, "1")
    return replace(mask, axes="".join(axes))


def widened(mask: Mask, keys: Sequence[Any]) -> Any:
    """mask[:, None, None, :] and the like."""
    left, axes = list(mask.axes), ""
    for one in keys:
        if one is None:
            axes += "1"
        elif one == slice(None) and left:
            axes += left.pop(0)
        else:
            return None
    return replace(mask, axes=axes + "".join(left))


def complement(graph: GraphEntries, x: Any, y: Any, *, alpha: float = 1) -> Any:
    """1 − mask."""
    if isinstance(y, Mask) and x == 1 and not y.additive:
        return replace(y, padding=not y.padding)
    return None


def masked_scores(scores: Scores, mask: Mask) -> Any:
    """Scores without the keys that a mask marks or leaves out."""
    wanted = "b1t" if scores.single else "b11t"
    if mask.axes != wanted or scores.mask is not None:
        return None
    return replace(scores, mask=mask)


def causal_scores(scores: Scores, left_out: Tensor) -> Any:
    """Scores without the keys behind the query, where a constant marks those and no others."""
    square = left_out.reshape(left_out.shape[-2:]) if left_out.numel() else left_out
    if square.ndim != 2 or square.shape[0] != square.shape[1]:
        return None
    return replace(scores, causal=True) if marks_the_future(square) else None


def marks_the_future(left_out: Tensor) -> bool:
    """Whether (queries, keys) is true for the keys behind each query, and for no others."""
    return torch.equal(left_out.cpu(), torch.ones(left_out.shape).triu(1).bool())


def fill(graph: GraphEntries, x: Any, mask: Any, value: Any) -> Any:
    """Scores without the keys that a mask marks, which are filled with a very negative number."""
    if not (isinstance(x, Scores) and not x.shares and number(value) <= FAR):
        return None
    if isinstance(mask, Constant):
        return causal_scores(x, mask.tensor.bool())
    # What a mask marks is filled, and so left out.
    return (
        masked_scores(x, replace(mask, padding=not mask.padding))
        if isinstance(mask, Mask)
        else None
    )
