"""Attention, positions, masks and recurrent layers of a forward, as it is written by hand or not.

What attention is made of (heads, scores, a mask) has no entry of its own: each is a `Symbol`, until
a product with the values makes an Attention of them.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pytorch_impl.interchange.graph_entries import GraphEntries
from pytorch_impl.interchange.graph_values import Size, Sizes, Symbol, Value, number
from pytorch_impl.interchange.operations.arithmetic import scaled
from pytorch_impl.interchange.operations.recurrent import (
    Half,
    Memory,
    States,
    joined,
    recurrent,
    states_item,
)
from pytorch_impl.interchange.operations.shapes import size_at
from pytorch_impl.interchange.record import Entry, UnsupportedError, expect
from pytorch_impl.interchange.weights import Weight
from pytorch_impl.layers.attention import Attention, MaskedAttention, MaskedMean, TimeStep
from pytorch_impl.layers.combinations import Add
from pytorch_impl.layers.pooling import GlobalAveragePool, GlobalMaxPool
from pytorch_impl.layers.shape import ChannelsFirst

# Modules of PyTorch that become several entries.
EXPANDED = (
    *(nn.GRU, nn.LSTM, nn.MultiheadAttention),
    *(nn.TransformerEncoderLayer, nn.TransformerEncoder),
)
FAR = -1e4  # what is added to a score is a mask from here on


@dataclass(frozen=True)
class Constant(Symbol):
    """A parameter or a buffer that the forward reads; times: whether it was cut to a length."""

    tensor: Tensor
    path: str
    cut: bool = False


@dataclass(frozen=True)
class Kind(Symbol):
    """The dtype or the device of a tensor."""


@dataclass(frozen=True)
class Positions(Symbol):
    """A table's row for each time: memory in the shape (positions, dim)."""

    table: Tensor
    path: str
    cut: bool


@dataclass(frozen=True)
class Mask(Symbol):
    """Which times count: where a value is not 0, or with `padding` where it is. axes: of it."""

    value: Value
    padding: bool = False
    axes: str = "bt"  # "bt1" as a factor, "b11t" or "b1t" beside scores
    additive: bool = False


@dataclass(frozen=True)
class Heads(Symbol):
    """Features in equal parts: axes "bthd" as viewed, "bhtd" moved, "bhdt" turned."""

    value: Value
    count: int
    axes: str = "bthd"


@dataclass(frozen=True)
class Turned(Symbol):
    """(batch, features, times) of a sequence."""

    value: Value


@dataclass(frozen=True)
class Scores(Symbol):
    """Products of queries and keys; shares: whether they have become shares by a softmax."""

    query: Value
    key: Value
    heads: int
    single: bool  # whether they have no axis of heads
    scale: float = 1.0
    mask: Mask | None = None
    causal: bool = False
    shares: bool = False


@dataclass(frozen=True)
class Masked(Symbol):
    """A sequence times a mask; total: whether it has been summed over time."""

    value: Value
    mask: Mask
    total: bool = False


@dataclass(frozen=True)
class Count(Symbol):
    """How many times a mask leaves, (batch, 1)."""

    mask: Mask


def unused(symbol: Symbol, by: str) -> str:
    """Why a symbol is an obstacle to a call."""
    if isinstance(symbol, Constant):
        kind = type(symbol.tensor).__name__
        return f"{kind} {symbol.path}, which no layer of files reads"
    if isinstance(symbol, Memory | Half):
        return f"{by} of a state of one direction, or of a memory,"
    names = {Mask: "a mask", Positions: "positions", States: "states of a recurrent layer"}
    what = names.get(type(symbol), "a part of attention")
    return f"{by} of {what}, where files have attention, masked means and sums with positions,"


def module(
    graph: GraphEntries,
    module: nn.Module,
    path: str,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
) -> Any:
    """What a module gives that is no single entry; None where it is none of these."""
    if isinstance(module, nn.RNNBase) and type(module) in (nn.GRU, nn.LSTM):
        return recurrent(graph, module, path, args, kwargs)
    if type(module) is nn.MultiheadAttention:
        return _multi_head(graph, module, path, args, kwargs)
    if type(module) is nn.TransformerEncoderLayer:
        return _encoder_layer(graph, module, path, *args, **kwargs)
    if type(module) is nn.TransformerEncoder:
        return _encoder(graph, module, path, *args, **kwargs)
    if len(args) != 1 or kwargs or not isinstance(args[0], Symbol):
        return None
    (x,) = args
    if isinstance(module, nn.Dropout | nn.Identity):
        return x
    if isinstance(module, nn.Softmax) and isinstance(x, Scores):
        return _softmax(graph, x, module.dim)
    if isinstance(module, nn.Embedding) and isinstance(x, Constant):
        count = x.tensor.shape[-1]
        rows = torch.arange(count).expand(x.tensor.shape)
        if torch.equal(x.tensor.cpu(), rows) and count <= module.num_embeddings:
            return Positions(module.weight.detach()[:count], path, x.cut)
    return None


def operation(
    graph: GraphEntries, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    """What a function or method gives that is no single entry; None where it is none of these."""
    known = OPERATIONS.get(target)
    return None if known is None else known(graph, *args, **kwargs)


# Positions.


def _add(graph: GraphEntries, x: Any, y: Any, *, alpha: float = 1) -> Any:
    if alpha != 1:
        return None
    for one, other in ((x, y), (y, x)):
        if isinstance(one, Scores) and not one.shares:
            if isinstance(other, Mask) and other.additive:
                return _masked(one, other)
            if isinstance(other, Constant):
                return _causal(one, other.tensor < FAR)
        if isinstance(one, Value) and isinstance(other, Constant | Positions):
            found = _positions(graph, one, other)
            if found is not None:
                return found
    return None


def _positions(graph: GraphEntries, x: Value, y: Constant | Positions) -> Value | None:
    shape = graph.shapes[x.place]
    table = y.table if isinstance(y, Positions) else y.tensor
    if isinstance(y, Constant):
        if not table.is_floating_point() or table.ndim not in (2, 3):
            return None
        table = table.detach().reshape(table.shape[-2:]) if len(table) == 1 else table.detach()
    if shape is None or len(shape) != 3 or table.ndim != 2 or shape[2] != table.shape[1]:
        return None
    if not y.cut and shape[1] != len(table):
        return None
    own = {"table": Weight(table)}
    return graph.append_entry(Entry("PositionEmbedding", {}), own, [x], y.path)


def _item(graph: GraphEntries, holder: Any, key: Any) -> Any:
    if isinstance(holder, States):
        return states_item(graph, holder, key)
    if type(holder) is tuple:
        return holder[key]
    keys = key if isinstance(key, tuple) else (key,)
    if isinstance(holder, Constant):
        return _cut(holder, keys)
    if isinstance(holder, Mask):
        return _widened(holder, keys)
    if isinstance(holder, Value) and isinstance(key, tuple):
        whole = slice(None)
        if None in keys and (mask := _as_mask(graph, holder)) is not None:
            return _widened(mask, keys)
        step = keys[:1] == (whole,) and len(keys) > 1 and type(keys[1]) is int
        if step and all(one in (whole, Ellipsis) for one in keys[2:]) and graph.rank(holder) == 3:
            return graph.append(TimeStep(keys[1]), [holder])
    return None


def _cut(constant: Constant, keys: Sequence[Any]) -> Any:
    """A constant cut to the length of a sequence."""
    cut, plain = False, []
    for one in keys:
        if isinstance(one, slice) and isinstance(one.stop, Size) and not (one.start or one.step):
            cut, one = True, slice(None)
        plain.append(one)
    if any(isinstance(one, Size | Symbol | Value) for one in plain):
        return None
    return replace(constant, tensor=constant.tensor[tuple(plain)], cut=cut or constant.cut)


# Masks.


def _compare(padding: bool) -> Callable[..., Any]:
    def compare(graph: GraphEntries, x: Any, y: Any) -> Any:
        if isinstance(y, bool) or y != 0:
            return None
        if isinstance(x, Constant):
            return replace(x, tensor=(x.tensor == 0) == padding)
        if (mask := _as_mask(graph, x)) is None:
            return None
        return replace(mask, padding=mask.padding != padding)

    return compare


def _as_mask(graph: GraphEntries, x: Any) -> Mask | None:
    """A mask, which an input of (batch, time) is too."""
    if isinstance(x, Value) and graph.entries[x.place]["layer"] == "Input":
        shape = graph.shapes[x.place]
        return Mask(x) if shape is not None and len(shape) == 2 else None
    return x if isinstance(x, Mask) else None


def _not(graph: GraphEntries, x: Any) -> Any:
    if isinstance(x, Constant):
        return replace(x, tensor=~x.tensor)
    mask = _as_mask(graph, x)
    return None if mask is None else replace(mask, padding=not mask.padding)


def _cast(graph: GraphEntries, x: Any, *others: Any, **options: Any) -> Any:
    """To another dtype: of a mask nothing changes."""
    return x if isinstance(x, Constant) else _as_mask(graph, x)


def _attribute(graph: GraphEntries, x: Any, name: str) -> Any:
    """The dtype or the device of a tensor, to which a mask is cast."""
    known = name in ("dtype", "device") and isinstance(x, Value | Symbol)
    return Kind() if known else None


def _unsqueeze(graph: GraphEntries, x: Any, dim: int) -> Any:
    if isinstance(x, Positions):
        return x if dim == 0 else None
    if (mask := _as_mask(graph, x)) is None:
        return None
    axes = list(mask.axes)
    axes.insert(dim if dim >= 0 else dim + len(axes) + 1, "1")
    return replace(mask, axes="".join(axes))


def _widened(mask: Mask, keys: Sequence[Any]) -> Any:
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


def _complement(graph: GraphEntries, x: Any, y: Any, *, alpha: float = 1) -> Any:
    """1 − mask."""
    if isinstance(y, Mask) and x == 1 and not y.additive:
        return replace(y, padding=not y.padding)
    return None


def _masked(scores: Scores, mask: Mask) -> Any:
    """Scores without the keys that a mask marks or leaves out."""
    wanted = "b1t" if scores.single else "b11t"
    if mask.axes != wanted or scores.mask is not None:
        return None
    return replace(scores, mask=mask)


def _causal(scores: Scores, left_out: Tensor) -> Any:
    """Scores without the keys behind the query, where a constant marks those and no others."""
    square = left_out.reshape(left_out.shape[-2:]) if left_out.numel() else left_out
    if square.ndim != 2 or square.shape[0] != square.shape[1]:
        return None
    return replace(scores, causal=True) if _marks_the_future(square) else None


def _marks_the_future(left_out: Tensor) -> bool:
    """Whether (queries, keys) is true for the keys behind each query, and for no others."""
    return torch.equal(left_out.cpu(), torch.ones(left_out.shape).triu(1).bool())


def _fill(graph: GraphEntries, x: Any, mask: Any, value: Any) -> Any:
    if not (isinstance(x, Scores) and not x.shares and number(value) <= FAR):
        return None
    if isinstance(mask, Constant):
        return _causal(x, mask.tensor.bool())
    # What a mask marks is filled, and so left out.
    return _masked(x, replace(mask, padding=not mask.padding)) if isinstance(mask, Mask) else None


# Means over time.


def _multiply(graph: GraphEntries, x: Any, y: Any) -> Any:
    for one, other in ((x, y), (y, x)):
        if isinstance(one, Scores) and isinstance(other, int | float) and not one.shares:
            return replace(one, scale=one.scale * other)
        if isinstance(one, Heads) and isinstance(other, int | float):
            return replace(one, value=scaled(graph, one.value, other, 0))
        if isinstance(one, Mask) and isinstance(other, int | float) and other <= FAR:
            # (1 − mask) · −10000: what is marked by now is left out.
            return replace(one, padding=not one.padding, additive=True)
        if isinstance(one, Value) and isinstance(other, Mask) and other.axes == "bt1":
            return Masked(one, replace(other, axes="bt"))
    return None


def _sum(graph: GraphEntries, x: Any, dim: Any = None, keepdim: bool = False) -> Any:
    dim = _single(dim)
    if isinstance(x, Masked) and dim in (1, -2) and not keepdim:
        return replace(x, total=True)
    mask = _as_mask(graph, x)
    column = mask is not None and mask.axes == "bt1" and dim == 1 and not keepdim
    row = mask is not None and mask.axes == "bt" and dim in (1, -1) and keepdim
    return Count(replace(mask, axes="bt")) if mask is not None and (column or row) else None


def _single(dim: Any) -> Any:
    """A list of one axis as that axis."""
    return dim[0] if isinstance(dim, list | tuple) and len(dim) == 1 else dim


def _clamp(graph: GraphEntries, x: Any, min: Any = None, max: Any = None) -> Any:
    whole = isinstance(x, Count) and max is None and isinstance(min, int | float) and 0 < min <= 1
    return x if whole else None


def _divide(graph: GraphEntries, x: Any, y: Any) -> Any:
    if isinstance(x, Scores) and isinstance(y, int | float) and not x.shares:
        return replace(x, scale=x.scale / y)
    if isinstance(x, Heads) and isinstance(y, int | float):
        return replace(x, value=scaled(graph, x.value, 1 / y, 0))
    if isinstance(x, Masked) and x.total and isinstance(y, Count) and x.mask == y.mask:
        return graph.append(MaskedMean(padding=x.mask.padding), [x.value, x.mask.value])
    return None


def _reduce(kind: type[GlobalAveragePool | GlobalMaxPool]) -> Callable[..., Any]:
    def reduce(graph: GraphEntries, x: Any, dim: Any = None, keepdim: bool = False) -> Any:
        over_time = _single(dim) in (1, -2) and isinstance(x, Value) and not keepdim
        if not over_time or graph.shapes[x.place] is None or graph.rank(x) != 3:
            return None
        return graph.append(kind(keepdims=False), [graph.append(ChannelsFirst(), [x])])

    return reduce


# Heads.


def _view(graph: GraphEntries, x: Any, *sizes: Any, shape: Any = None) -> Any:
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


def _transpose(graph: GraphEntries, x: Any, dim0: int, dim1: int) -> Any:
    if isinstance(x, Heads):
        axes = list(x.axes)
        axes[dim0], axes[dim1] = axes[dim1], axes[dim0]
        return _moved(x, "".join(axes))
    return None


def _permute(graph: GraphEntries, x: Any, *dims: Any) -> Any:
    order = dims[0] if len(dims) == 1 and not isinstance(dims[0], int) else dims
    return _moved(x, "".join(x.axes[one] for one in order)) if isinstance(x, Heads) else None


def _moved(x: Heads, axes: str) -> Heads | None:
    return replace(x, axes=axes) if axes in ("bthd", "bhtd", "bhdt") else None


def _flatten(graph: GraphEntries, x: Any, start_dim: int = 0, end_dim: int = -1) -> Any:
    joined = isinstance(x, Heads) and x.axes == "bthd" and start_dim in (2, -2)
    return x.value if joined and end_dim in (3, -1) else None


def _matmul(graph: GraphEntries, x: Any, y: Any) -> Any:
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
    return _attention(graph, [query, scores.key, value], scores.heads, scores.causal, scores.mask)


def _attention(
    graph: GraphEntries, given: list[Value], heads: int, causal: bool, mask: Mask | None
) -> Value:
    if mask is None:
        return graph.append(Attention(heads, causal=causal), given)
    layer = MaskedAttention(heads, causal=causal, padding=mask.padding)
    return graph.append(layer, [*given, mask.value])


def _softmax(
    graph: GraphEntries, x: Any, dim: int | None = None, _stacklevel: int = 3, dtype: Any = None
) -> Any:
    if not isinstance(x, Scores) or dtype is not None or dim not in (-1, 2 if x.single else 3):
        return None
    return replace(x, shares=True)


def _dropout(graph: GraphEntries, input: Any, *others: Any, **options: Any) -> Any:
    """What attention drops in training is not in a file."""
    return input if isinstance(input, Symbol) else None


def _scaled_dot_product(
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
        scores = _masked(scores, attn_mask)
    elif isinstance(attn_mask, Constant):
        mask = attn_mask.tensor
        scores = _causal(scores, ~mask if mask.dtype == torch.bool else mask < FAR)
    elif attn_mask is not None:
        return None
    if scores is None:
        return None
    made = _attend(graph, scores, values[2])
    return Heads(made, heads, "bhtd") if isinstance(query, Heads) else made


# Modules.


def _padding_mask(mask: Any) -> Mask | None:
    """key_padding_mask, in which True marks padding."""
    if mask is None:
        return None
    if isinstance(mask, Value):
        mask = Mask(mask)
    if isinstance(mask, Mask) and mask.axes == "bt" and not mask.additive:
        return replace(mask, padding=not mask.padding)
    raise UnsupportedError("a key_padding_mask that is no comparison of an input with 0,")


def _is_causal(mask: Any, is_causal: bool) -> bool:
    """attn_mask, which may be that of a causal model alone."""
    if mask is None:
        if is_causal:
            raise UnsupportedError("is_causal without an attn_mask")
        return False
    marked = mask.tensor if isinstance(mask, Constant) else mask
    if isinstance(marked, Tensor) and marked.ndim == 2:
        left_out = marked if marked.dtype == torch.bool else marked < FAR
        if _marks_the_future(left_out):
            return True
    raise UnsupportedError("an attn_mask that is not causal")


def _multi_head(
    graph: GraphEntries,
    module: nn.MultiheadAttention,
    path: str,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
) -> Any:
    names = ("query", "key", "value", "key_padding_mask", "need_weights", "attn_mask")
    given = {**dict(zip(names, args, strict=False)), **kwargs}
    mask = _padding_mask(given.get("key_padding_mask"))
    causal = _is_causal(given.get("attn_mask"), bool(given.get("is_causal")))
    values = [given[name] for name in names[:3]]
    made = _attend_heads(graph, module, path, values, mask, causal)
    return made, Unread()


class Unread(Symbol):
    """The shares of an nn.MultiheadAttention, which no file has."""


def _attend_heads(
    graph: GraphEntries,
    module: nn.MultiheadAttention,
    path: str,
    values: list[Any],
    mask: Mask | None,
    causal: bool,
) -> Value:
    expect(module, "batch_first", module.batch_first)
    expect(module, "add_zero_attn", not module.add_zero_attn)
    expect(module, "bias_k", module.bias_k is None)
    if not all(isinstance(one, Value) for one in values):
        raise UnsupportedError("MultiheadAttention of more than tensors")
    width, bias = module.embed_dim, module.in_proj_bias
    if module.in_proj_weight is None:
        weights = [module.q_proj_weight, module.k_proj_weight, module.v_proj_weight]
    else:
        weights = list(module.in_proj_weight.split(width))
    inner = []
    for name, value, weight, part in zip(
        ("query", "key", "value"), values, weights, range(3), strict=True
    ):
        own = {"weight": Weight(weight.detach().t())}
        if bias is not None:
            own["bias"] = Weight(bias.detach()[part * width : (part + 1) * width])
        inner.append(graph.append_entry(Entry("Projection", {}), own, [value], f"{path}.{name}"))
    made = _attention(graph, inner, module.num_heads, causal, mask)
    out = module.out_proj
    own = {"weight": Weight(out.weight.detach().t())}
    if out.bias is not None:
        own["bias"] = Weight(out.bias.detach())
    return graph.append_entry(Entry("Projection", {}), own, [made], f"{path}.out_proj")


def _encoder_layer(
    graph: GraphEntries,
    layer: nn.TransformerEncoderLayer,
    path: str,
    src: Value,
    src_mask: Any = None,
    src_key_padding_mask: Any = None,
    is_causal: bool = False,
) -> Value:
    causal = _is_causal(src_mask, is_causal)
    mask = _padding_mask(src_key_padding_mask)

    def attend(x: Value) -> Value:
        made = _attend_heads(graph, layer.self_attn, f"{path}.self_attn", [x] * 3, mask, causal)
        return graph.append(layer.dropout1, [made], f"{path}.dropout1")

    def feed(x: Value) -> Value:
        x = graph.append(layer.linear1, [x], f"{path}.linear1")
        x = graph.append(_activation(layer.activation), [x], f"{path}.activation")
        x = graph.append(layer.dropout, [x], f"{path}.dropout")
        x = graph.append(layer.linear2, [x], f"{path}.linear2")
        return graph.append(layer.dropout2, [x], f"{path}.dropout2")

    def norm(x: Value, name: str) -> Value:
        return graph.append(getattr(layer, name), [x], f"{path}.{name}")

    if layer.norm_first:
        x = graph.append(Add(), [src, attend(norm(src, "norm1"))])
        return graph.append(Add(), [x, feed(norm(x, "norm2"))])
    x = norm(graph.append(Add(), [src, attend(src)]), "norm1")
    return norm(graph.append(Add(), [x, feed(x)]), "norm2")


def _activation(function: Any) -> nn.Module:
    known = {F.relu: nn.ReLU, F.gelu: nn.GELU, torch.relu: nn.ReLU}
    if isinstance(function, nn.Module):
        return function
    if function not in known:
        raise UnsupportedError(f"TransformerEncoderLayer(activation={function!r})")
    return known[function]()


def _encoder(
    graph: GraphEntries,
    encoder: nn.TransformerEncoder,
    path: str,
    src: Value,
    mask: Any = None,
    src_key_padding_mask: Any = None,
    is_causal: bool | None = None,
) -> Value:
    x = src
    for place, layer in enumerate(encoder.layers):
        if type(layer) is not nn.TransformerEncoderLayer:
            raise UnsupportedError(f"TransformerEncoder of {type(layer).__name__}")
        own = f"{path}.layers.{place}"
        x = _encoder_layer(graph, layer, own, x, mask, src_key_padding_mask, bool(is_causal))
    if encoder.norm is not None:
        x = graph.append(encoder.norm, [x], f"{path}.norm")
    return x


def _join(graph: GraphEntries, tensors: Any, dim: int = 0, axis: int | None = None) -> Any:
    return joined(list(tensors), dim if axis is None else axis)


def _squeeze(graph: GraphEntries, x: Any, dim: int | None = None) -> Any:
    single = isinstance(x, States) and x.module.num_layers == 1 and not x.module.bidirectional
    return states_item(graph, x, 0) if single and dim in (0, None) else None


OPERATIONS: dict[Any, Callable[..., Any]] = {
    operator.getitem: _item,
    getattr: _attribute,
    **dict.fromkeys((operator.add, operator.iadd, torch.add, "add", "add_"), _add),
    **dict.fromkeys((operator.sub, torch.sub, "sub"), _complement),
    **dict.fromkeys((operator.mul, torch.mul, "mul"), _multiply),
    **dict.fromkeys((operator.truediv, torch.div, "div"), _divide),
    **dict.fromkeys((operator.eq, torch.eq, "eq"), _compare(True)),
    **dict.fromkeys((operator.ne, torch.ne, "ne"), _compare(False)),
    **dict.fromkeys((operator.invert, torch.logical_not, "logical_not"), _not),
    **dict.fromkeys(("to", "float", "double", "bool", "type_as", "type"), _cast),
    **dict.fromkeys((torch.unsqueeze, "unsqueeze"), _unsqueeze),
    **dict.fromkeys((torch.masked_fill, "masked_fill", "masked_fill_"), _fill),
    **dict.fromkeys((torch.sum, "sum"), _sum),
    **dict.fromkeys((torch.clamp, "clamp", "clamp_min"), _clamp),
    **dict.fromkeys((torch.mean, "mean"), _reduce(GlobalAveragePool)),
    **dict.fromkeys((torch.amax, "amax"), _reduce(GlobalMaxPool)),
    **dict.fromkeys((torch.reshape, "reshape", "view"), _view),
    **dict.fromkeys((torch.transpose, "transpose"), _transpose),
    **dict.fromkeys((torch.permute, "permute"), _permute),
    **dict.fromkeys((torch.flatten, "flatten"), _flatten),
    **dict.fromkeys((torch.matmul, torch.bmm, operator.matmul, "matmul", "bmm"), _matmul),
    **dict.fromkeys((torch.softmax, F.softmax, "softmax"), _softmax),
    **dict.fromkeys((torch.cat, torch.concat, torch.concatenate), _join),
    **dict.fromkeys((torch.squeeze, "squeeze"), _squeeze),
    F.dropout: _dropout,
    F.scaled_dot_product_attention: _scaled_dot_product,
    "contiguous": lambda graph, x: x if isinstance(x, Symbol) else None,
}
# What makes an entry of a parameter or a buffer.
WITH_CONSTANTS = {
    *(operator.getitem, operator.add, operator.iadd, torch.add, "add", "add_"),
    *(operator.eq, torch.eq, "eq", operator.ne, torch.ne, "ne", operator.invert),
    *("to", "bool", torch.masked_fill, "masked_fill", F.scaled_dot_product_attention),
}
