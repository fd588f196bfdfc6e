"""Means, sums and maxima over time, of all times or of those that a mask leaves."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from pytorch_impl.interchange.graph_entries import GraphEntries
from pytorch_impl.interchange.graph_values import Value
from pytorch_impl.interchange.operations.masks import as_mask
from pytorch_impl.interchange.operations.symbols import Count, Masked
from pytorch_impl.layers.pooling import GlobalAveragePool, GlobalMaxPool
from pytorch_impl.layers.shape import ChannelsFirst


def sum_over_time(graph: GraphEntries, x: Any, dim: Any = None, keepdim: bool = False) -> Any:
    """The sum of a masked sequence over time, or the number of times that a mask leaves."""
    dim = _single(dim)
    if isinstance(x, Masked) and dim in (1, -2) and not keepdim:
        return replace(x, total=True)
    mask = as_mask(graph, x)
    column = mask is not None and mask.axes == "bt1" and dim == 1 and not keepdim
    row = mask is not None and mask.axes == "bt" and dim in (1, -1) and keepdim
    return Count(replace(mask, axes="bt")) if mask is not None and (column or row) else None


def _single(dim: Any) -> Any:
    """A list of one axis as that axis."""
    return dim[0] if isinstance(dim, list | tuple) and len(dim) == 1 else dim


def clamp(graph: GraphEntries, x: Any, min: Any = None, max: Any = None) -> Any:
    """A count that is at least 1, so that a sequence of padding alone is not divided by 0."""
    whole = isinstance(x, Count) and max is None and isinstance(min, int | float) and 0 < min <= 1
    return x if whole else None


def reduced_over_time(kind: type[GlobalAveragePool | GlobalMaxPool]) -> Callable[..., Any]:
    """The mean or the maximum over time of a sequence, (batch, time, features)."""

    def reduce(graph: GraphEntries, x: Any, dim: Any = None, keepdim: bool = False) -> Any:
        over_time = _single(dim) in (1, -2) and isinstance(x, Value) and not keepdim
        if not over_time or graph.shapes[x.place] is None or graph.rank(x) != 3:
            return None
        return graph.append(kind(keepdims=False), [graph.append(ChannelsFirst(), [x])])

    return reduce
