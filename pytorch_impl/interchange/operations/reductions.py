"""What a forward reduces over all places: the mean and the maximum."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from pytorch_impl.interchange.graph_entries import GraphEntries
from pytorch_impl.interchange.graph_values import Value
from pytorch_impl.interchange.record import UnsupportedError
from pytorch_impl.layers.pooling import GlobalAveragePool, GlobalMaxPool


def mean(graph: GraphEntries, input: Value, dim: Any = None, keepdim: bool = False) -> Value:
    """The mean over all places."""
    _over_space(graph, input, dim, "mean")
    return graph.append(GlobalAveragePool(keepdims=keepdim), [input])


def amax(graph: GraphEntries, input: Value, dim: Any = None, keepdim: bool = False) -> Value:
    """The largest over all places."""
    _over_space(graph, input, dim, "amax")
    return graph.append(GlobalMaxPool(keepdims=keepdim), [input])


def _over_space(graph: GraphEntries, input: Value, dim: Any, name: str) -> None:
    """UnsupportedError unless the axes are those of space, all of them."""
    rank = graph.rank(input)
    dims = dim if isinstance(dim, list | tuple) else [dim]
    if None in dims or sorted(axis % rank for axis in dims) != [*range(2, rank)]:
        raise UnsupportedError(f"{name}(dim={dim}) of {rank} axes, which is not over space,")


OPERATIONS: dict[Any, Callable[..., Any]] = {
    **dict.fromkeys((torch.mean, "mean"), mean),
    **dict.fromkeys((torch.amax, "amax"), amax),
}
