"""Attention, positions, masks and recurrent layers of a forward, as it is written by hand or not.

An operation is a function, of `masks`, `means`, `heads` or this file, and a line of `OPERATIONS`.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from pytorch_impl.interchange.graph_entries import GraphEntries
from pytorch_impl.interchange.graph_values import Size, Symbol, Value
from pytorch_impl.interchange.operations.arithmetic import scaled
from pytorch_impl.interchange.operations.heads import (
    dropout,
    flatten,
    matmul,
    permute,
    scaled_dot_product,
    softmax,
    transpose,
    view,
)
from pytorch_impl.interchange.operations.masks import (
    FAR,
    as_mask,
    attribute,
    cast,
    causal_scores,
    compared,
    complement,
    fill,
    inverted,
    masked_scores,
    unsqueeze,
    widened,
)
from pytorch_impl.interchange.operations.means import clamp, reduced_over_time, sum_over_time
from pytorch_impl.interchange.operations.recurrent import States, joined, recurrent, states_item
from pytorch_impl.interchange.operations.symbols import (
    Constant,
    Count,
    Heads,
    Mask,
    Masked,
    Positions,
    Scores,
)
from pytorch_impl.interchange.operations.transformers import (
    multi_head,
    transformer_encoder,
    transformer_layer,
)
from pytorch_impl.interchange.record import Entry
from pytorch_impl.interchange.weights import Weight
from pytorch_impl.layers.attention import MaskedMean, TimeStep
from pytorch_impl.layers.pooling import GlobalAveragePool, GlobalMaxPool

# Modules of PyTorch that become several entries.
EXPANDED = (
    *(nn.GRU, nn.LSTM, nn.MultiheadAttention),
    *(nn.TransformerEncoderLayer, nn.TransformerEncoder),
)


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
        return multi_head(graph, module, path, args, kwargs)
    if type(module) is nn.TransformerEncoderLayer:
        return transformer_layer(graph, module, path, *args, **kwargs)
    if type(module) is nn.TransformerEncoder:
        return transformer_encoder(graph, module, path, *args, **kwargs)
    if len(args) != 1 or kwargs or not isinstance(args[0], Symbol):
        return None
    (x,) = args
    if isinstance(module, nn.Dropout | nn.Identity):
        return x
    if isinstance(module, nn.Softmax) and isinstance(x, Scores):
        return softmax(graph, x, module.dim)
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


def _add(graph: GraphEntries, x: Any, y: Any, *, alpha: float = 1) -> Any:
    if alpha != 1:
        return None
    for one, other in ((x, y), (y, x)):
        if isinstance(one, Scores) and not one.shares:
            if isinstance(other, Mask) and other.additive:
                return masked_scores(one, other)
            if isinstance(other, Constant):
                return causal_scores(one, other.tensor < FAR)
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
        return widened(holder, keys)
    if isinstance(holder, Value) and isinstance(key, tuple):
        whole = slice(None)
        if None in keys and (mask := as_mask(graph, holder)) is not None:
            return widened(mask, keys)
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


def _divide(graph: GraphEntries, x: Any, y: Any) -> Any:
    if isinstance(x, Scores) and isinstance(y, int | float) and not x.shares:
        return replace(x, scale=x.scale / y)
    if isinstance(x, Heads) and isinstance(y, int | float):
        return replace(x, value=scaled(graph, x.value, 1 / y, 0))
    if isinstance(x, Masked) and x.total and isinstance(y, Count) and x.mask == y.mask:
        return graph.append(MaskedMean(padding=x.mask.padding), [x.value, x.mask.value])
    return None


def _join(graph: GraphEntries, tensors: Any, dim: int = 0, axis: int | None = None) -> Any:
    return joined(list(tensors), dim if axis is None else axis)


def _squeeze(graph: GraphEntries, x: Any, dim: int | None = None) -> Any:
    single = isinstance(x, States) and x.module.num_layers == 1 and not x.module.bidirectional
    return states_item(graph, x, 0) if single and dim in (0, None) else None


TO, *CASTS = (cast(one) for one in (None, torch.float32, torch.float64, torch.bool))
EQUAL, DIFFERENT = compared(padding=True), compared(padding=False)
OPERATIONS: dict[Any, Callable[..., Any]] = {
    operator.getitem: _item,
    getattr: attribute,
    **dict.fromkeys((operator.add, operator.iadd, torch.add, "add", "add_"), _add),
    **dict.fromkeys((operator.sub, torch.sub, "sub"), complement),
    **dict.fromkeys((operator.mul, torch.mul, "mul"), _multiply),
    **dict.fromkeys((operator.truediv, torch.div, "div"), _divide),
    **dict.fromkeys((operator.eq, torch.eq, "eq"), EQUAL),
    **dict.fromkeys((operator.ne, torch.ne, "ne"), DIFFERENT),
    **dict.fromkeys((operator.invert, torch.logical_not, "logical_not"), inverted),
    **dict.fromkeys(("to", "type_as", "type"), TO),
    **dict(zip(("float", "double", "bool"), CASTS, strict=True)),
    **dict.fromkeys((torch.unsqueeze, "unsqueeze"), unsqueeze),
    **dict.fromkeys((torch.masked_fill, "masked_fill", "masked_fill_"), fill),
    **dict.fromkeys((torch.sum, "sum"), sum_over_time),
    **dict.fromkeys((torch.clamp, "clamp", "clamp_min"), clamp),
    **dict.fromkeys((torch.mean, "mean"), reduced_over_time(GlobalAveragePool)),
    **dict.fromkeys((torch.amax, "amax"), reduced_over_time(GlobalMaxPool)),
    **dict.fromkeys((torch.reshape, "reshape", "view"), view),
    **dict.fromkeys((torch.transpose, "transpose"), transpose),
    **dict.fromkeys((torch.permute, "permute"), permute),
    **dict.fromkeys((torch.flatten, "flatten"), flatten),
    **dict.fromkeys((torch.matmul, torch.bmm, operator.matmul, "matmul", "bmm"), matmul),
    **dict.fromkeys((torch.softmax, F.softmax, "softmax"), softmax),
    **dict.fromkeys((torch.cat, torch.concat, torch.concatenate), _join),
    **dict.fromkeys((torch.squeeze, "squeeze"), _squeeze),
    F.dropout: dropout,
    F.scaled_dot_product_attention: scaled_dot_product,
    "contiguous": lambda graph, x: x if isinstance(x, Symbol) else None,
}
# What makes an entry, or a mask, of a parameter or a buffer too.
READING = {_item, _add, EQUAL, DIFFERENT, inverted, TO, *CASTS, fill, scaled_dot_product}
WITH_CONSTANTS = {target for target, known in OPERATIONS.items() if known in READING}
