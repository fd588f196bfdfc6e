"""Attention as it is written by hand: features viewed as heads, scores, shares and products."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import torch

from pytorch_impl.interchange.graph_entries import GraphEntries
from pytorch_impl.interchange.graph_values import Size, Sizes, Symbol, Value
from pytorch_impl.interchange.operations.arithmetic import scaled
from pytorch_impl.interchange.operations.masks import FAR, causal_scores, masked_scores
from pytorch_impl.interchange.operations.shapes import size_at
from pytorch_impl.interchange.operations.symbols import Constant, Heads, Mask, Scores
from pytorch_impl.interchange.record import UnsupportedError
from pytorch_impl.layers.attention import Attention, MaskedAttention


def view(graph: GraphEntries, x: Any, *sizes: Any, shape: Any = None) -> Any:
    """Features viewed as heads, (batch, time, heads, width), or heads as features again."""
    if shape is not None:
        sizes = tuple(shape)
    if len(sizes) == 1 and isinstance(sizes[0], list | tuple) and not isinstance(sizes[0], Size):
        sizes = tuple(sizes[0])
    if isinstance(x, Heads) and x.axes == "bthd" and len(sizes) == 3:
        width = graph.shapes[x.value.place][2]  # type: ignore[index]
        return x.value if sizes[2] in (width, -1) else None
    if not isinstance(x, Value) or len(sizes) != 4 or isinstance(sizes[0], Sizes):
        return None
    known = graph.shapes[x.place]
    if known is None or len(known) != 3 or known[2] is None:
        return None
    # (batch, time, heads, width), where one of the last two may be −1.
    batch = isinstance(sizes[0], Size) and sizes[0].axis == 0
    times = sizes[1] == -1 or sizes[1] == size_at(graph, Sizes(x), 1)
    times = times or (isinstance(sizes[1], Size) and sizes[1].axis == 1)
    heads, width = sizes[2:]
    heads = known[2] // width if heads == -1 and isinstance(width, int) else heads
    if not (batch and times and isinstance(heads, int) and heads > 0):
        return None
    return Heads(x, heads) if width in (-1, known[2] // heads) else None


def transpose(graph: GraphEntries, x: Any, dim0: int, dim1: int) -> Any:
    """Heads with two axes exchanged."""
    if isinstance(x, Heads):
        axes = list(x.axes)
        axes[dim0], axes[dim1] = axes[dim1], axes[dim0]
        return _moved(x, "".join(axes))
    return None


def permute(graph: GraphEntries, x: Any, *dims: Any) -> Any:
    """Heads with their axes in another order."""
    order = dims[0] if len(dims) == 1 and not isinstance(dims[0], int) else dims
    return _moved(x, "".join(x.axes[one] for one in order)) if isinstance(x, Heads) else None


def _moved(x: Heads, axes: str) -> Heads | None:
    return replace(x, axes=axes) if axes in ("bthd", "bhtd", "bhdt") else None


def flatten(graph: GraphEntries, x: Any, start_dim: int = 0, end_dim: int = -1) -> Any:
    """Heads as features again."""
    joined = isinstance(x, Heads) and x.axes == "bthd" and start_dim in (2, -2)
    return x.value if joined and end_dim in (3, -1) else None


def matmul(graph: GraphEntries, x: Any, y: Any) -> Any:
    """Products of queries and keys, or of shares and values: an Attention."""
    if isinstance(x, Heads) and isinstance(y, Heads) and (x.axes, y.axes) == ("bhtd", "bhdt"):
        return Scores(x.value, y.value, x.count, single=False) if x.count == y.count else None
    if isinstance(x, Value) and isinstance(y, Value):
        entry = graph.entries[y.place]
        if entry["layer"] in ("ChannelsFirst", "ChannelsLast") and graph.rank(y) == 3:
            key = Value(entry["previous"][0])
            return Scores(x, key, 1, single=True)
    if isinstance(x, Scores) and x.shares:
        if isinstance(y, Heads) and y.axes == "bhtd" and y.count == x.heads and not x.single:
            return Heads(_attend(graph, x, y.value), x.heads, "bhtd")
        if isinstance(y, Value) and x.single:
            return _attend(graph, x, y)
    return None


def _attend(graph: GraphEntries, scores: Scores, value: Value) -> Value:
    width = (graph.shapes[scores.query.place] or (None, None, None))[2]
    if width is None:
        raise UnsupportedError("attention of features whose number no input tells,")
    query = scores.query
    factor = scores.scale * math.sqrt(width / scores.heads)
    if not math.isclose(factor, 1, rel_tol=1e-12):
        query = scaled(graph, query, factor, 0)
    return append_attention(
        graph, [query, scores.key, value], scores.heads, scores.causal, scores.mask
    )


def append_attention(
    graph: GraphEntries, given: list[Value], heads: int, causal: bool, mask: Mask | None
) -> Value:
    """The Attention of queries, keys and values, with a mask where there is one."""
    if mask is None:
        return graph.append(Attention(heads, causal=causal), given)
    layer = MaskedAttention(heads, causal=causal, padding=mask.padding)
    return graph.append(layer, [*given, mask.value])


def softmax(
    graph: GraphEntries, x: Any, dim: int | None = None, _stacklevel: int = 3, dtype: Any = None
) -> Any:
    """Scores as shares of the keys."""
    if not isinstance(x, Scores) or dtype is not None or dim not in (-1, 2 if x.single else 3):
        return None
    return replace(x, shares=True)


def dropout(graph: GraphEntries, input: Any, *others: Any, **options: Any) -> Any:
    """What attention drops in training is not in a file."""
    return input if isinstance(input, Symbol) else None


def scaled_dot_product(
    graph: GraphEntries,
    query: Any,
    key: Any,
    value: Any,
    attn_mask: Any = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Any:
    """An Attention whose function scales and masks the scores itself."""
    parts = (query, key, value)
    if all(isinstance(one, Heads) and one.axes == "bhtd" for one in parts):
        heads, values = query.count, [one.value for one in parts]
    elif all(isinstance(one, Value) and graph.rank(one) == 3 for one in parts):
        heads, values = 1, list(parts)
    else:
        return None
    width = (graph.shapes[values[0].place] or (None, None, None))[2]
    if width is None or enable_gqa:
        return None
    own = 1 / math.sqrt(width / heads) if scale is None else scale
    scores: Any = Scores(values[0], values[1], heads, isinstance(query, Value), own)
    scores = replace(scores, causal=is_causal, shares=True)
    if isinstance(attn_mask, Mask):
        whole = attn_mask.boolean or attn_mask.additive
        scores = masked_scores(scores, attn_mask) if whole else None
    elif isinstance(attn_mask, Constant):
        mask = attn_mask.tensor
        scores = causal_scores(scores, ~mask if mask.dtype == torch.bool else mask < FAR)
    elif attn_mask is not None:
        return None
    if scores is None:
        return None
    made = _attend(graph, scores, values[2])
    return Heads(made, heads, "bhtd") if isinstance(query, Heads) else made
