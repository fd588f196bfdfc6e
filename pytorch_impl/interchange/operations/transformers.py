"""PyTorch's modules of attention: each becomes several entries, as its forward computes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pytorch_impl.interchange.graph_entries import GraphEntries
from pytorch_impl.interchange.graph_values import Value
from pytorch_impl.interchange.operations.heads import append_attention
from pytorch_impl.interchange.operations.masks import FAR, marks_the_future
from pytorch_impl.interchange.operations.symbols import Constant, Mask, Unread
from pytorch_impl.interchange.record import Entry, UnsupportedError, expect
from pytorch_impl.interchange.weights import Weight
from pytorch_impl.layers.combinations import Add


def _padding_mask(mask: Any) -> Mask | None:
    """key_padding_mask, in which True marks padding."""
    if mask is None:
        return None
    if isinstance(mask, Value):
        mask = Mask(mask, boolean=True)
    if isinstance(mask, Mask) and mask.axes == "bt" and mask.boolean:
        return replace(mask, padding=not mask.padding)
    raise UnsupportedError("a key_padding_mask that is no comparison of an input with 0, of bools,")


def _is_causal(mask: Any, is_causal: bool) -> bool:
    """attn_mask, which may be that of a causal model alone."""
    if mask is None:
        if is_causal:
            raise UnsupportedError("is_causal without an attn_mask")
        return False
    marked = mask.tensor if isinstance(mask, Constant) else mask
    if isinstance(marked, Tensor) and marked.ndim == 2:
        left_out = marked if marked.dtype == torch.bool else marked < FAR
        if marks_the_future(left_out):
            return True
    raise UnsupportedError("an attn_mask that is not causal")


def multi_head(
    graph: GraphEntries,
    module: nn.MultiheadAttention,
    path: str,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
) -> Any:
    """An nn.MultiheadAttention: three projections, an Attention and a projection."""
    names = ("query", "key", "value", "key_padding_mask", "need_weights", "attn_mask")
    given = {**dict(zip(names, args, strict=False)), **kwargs}
    mask = _padding_mask(given.get("key_padding_mask"))
    causal = _is_causal(given.get("attn_mask"), bool(given.get("is_causal")))
    values = [given[name] for name in names[:3]]
    made = _attend_heads(graph, module, path, values, mask, causal)
    return made, Unread()


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
    made = append_attention(graph, inner, module.num_heads, causal, mask)
    out = module.out_proj
    own = {"weight": Weight(out.weight.detach().t())}
    if out.bias is not None:
        own["bias"] = Weight(out.bias.detach())
    return graph.append_entry(Entry("Projection", {}), own, [made], f"{path}.out_proj")


def transformer_layer(
    graph: GraphEntries,
    layer: nn.TransformerEncoderLayer,
    path: str,
    src: Value,
    src_mask: Any = None,
    src_key_padding_mask: Any = None,
    is_causal: bool = False,
) -> Value:
    """An nn.TransformerEncoderLayer: attention and two projections, each added to its input."""
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


def transformer_encoder(
    graph: GraphEntries,
    encoder: nn.TransformerEncoder,
    path: str,
    src: Value,
    mask: Any = None,
    src_key_padding_mask: Any = None,
    is_causal: bool | None = None,
) -> Value:
    """An nn.TransformerEncoder: its layers one after the other, and its normalization."""
    x = src
    for place, layer in enumerate(encoder.layers):
        if type(layer) is not nn.TransformerEncoderLayer:
            raise UnsupportedError(f"TransformerEncoder of {type(layer).__name__}")
        own = f"{path}.layers.{place}"
        x = transformer_layer(graph, layer, own, x, mask, src_key_padding_mask, bool(is_causal))
    if encoder.norm is not None:
        x = graph.append(encoder.norm, [x], f"{path}.norm")
    return x
