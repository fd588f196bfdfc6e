"""From one of PyTorch's layers to its entry in a model file.

docs/model_files.md lists the entries.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

from torch import Tensor, nn

from pytorch_impl.interchange.components import component_name
from pytorch_impl.interchange.weights import WEIGHTS
from pytorch_impl.layers.activations import TopKGating
from pytorch_impl.layers.convolution import CONVOLUTIONS, TRANSPOSED_CONVOLUTIONS, Padded
from pytorch_impl.layers.normalization import BatchNorm, L2Normalize
from pytorch_impl.layers.pooling import (
    AVERAGE_POOLS,
    MAX_POOLS,
    MAX_UNPOOLS,
    GlobalAveragePool,
    GlobalMaxPool,
)
from pytorch_impl.layers.recurrent import GRU
from pytorch_impl.layers.shape import ChannelsFirst, ChannelsLast

# Beyond its threshold softplus is x itself: at 20, PyTorch's own, float64 is off by 2e-9.
SOFTPLUS_THRESHOLD = 40
# Layers whose options, if any, are attributes: {name: (class, {option: attribute})}.
PLAIN: dict[str, tuple[type[nn.Module], dict[str, str]]] = {
    "GlobalAveragePool": (GlobalAveragePool, {"keepdims": "keepdims"}),
    "GlobalMaxPool": (GlobalMaxPool, {"keepdims": "keepdims"}),
    "L2Normalize": (L2Normalize, {"epsilon": "epsilon"}),
    "Flatten": (nn.Flatten, {}),
    "ChannelsFirst": (ChannelsFirst, {}),
    "ChannelsLast": (ChannelsLast, {}),
    "ReLU": (nn.ReLU, {}),
    "Sigmoid": (nn.Sigmoid, {}),
    "Tanh": (nn.Tanh, {}),
    "SiLU": (nn.SiLU, {}),
    "SELU": (nn.SELU, {}),
    "LeakyReLU": (nn.LeakyReLU, {"slope": "negative_slope"}),
    "ELU": (nn.ELU, {"alpha": "alpha"}),
    "Softmax": (nn.Softmax, {"axis": "dim"}),
    "LogSoftmax": (nn.LogSoftmax, {"axis": "dim"}),
    "TopKGating": (TopKGating, {"k": "k"}),
}
ONE = (1, (1,), (1, 1))
CONVOLUTION = {"groups": (1,), "padding_mode": ("zeros",)}
MAX_POOL = {"ceil_mode": (False,), "dilation": ONE}
ADAPTIVE_MAX_POOL = {"output_size": ONE, "return_indices": (False,)}
# The values of their options with which PyTorch's layers are in the vocabulary.
ACCEPTED: dict[type[nn.Module], dict[str, tuple[Any, ...]]] = {
    nn.Conv1d: CONVOLUTION,
    nn.Conv2d: CONVOLUTION,
    nn.ConvTranspose1d: CONVOLUTION,
    nn.ConvTranspose2d: CONVOLUTION,
    nn.MaxPool1d: MAX_POOL,
    nn.MaxPool2d: MAX_POOL,
    nn.AvgPool1d: {"ceil_mode": (False,)},
    nn.AvgPool2d: {"ceil_mode": (False,), "divisor_override": (None,)},
    nn.AdaptiveAvgPool1d: {"output_size": ONE},
    nn.AdaptiveAvgPool2d: {"output_size": ONE},
    nn.AdaptiveMaxPool1d: ADAPTIVE_MAX_POOL,
    nn.AdaptiveMaxPool2d: ADAPTIVE_MAX_POOL,
    nn.Embedding: {"padding_idx": (None, 0), "max_norm": (None,), "scale_grad_by_freq": (False,)},
    nn.Flatten: {"start_dim": (1,), "end_dim": (-1,)},
    nn.Softmax: {"dim": (-1, 1)},
    nn.LogSoftmax: {"dim": (-1, 1)},
    nn.Softplus: {"beta": (1,), "threshold": (20, SOFTPLUS_THRESHOLD)},
}


class Entry(NamedTuple):
    """What a model file says of a layer, but for its place and its weights."""

    layer: str
    config: dict[str, Any]
    training: Mapping[str, Any] = MappingProxyType({})


class UnsupportedError(ValueError):
    """A layer, or an option of one, that is not in the vocabulary: the message is its name."""


def entry(module: nn.Module) -> Entry:
    """The entry of a layer or a component; UnsupportedError for any other module."""
    component = component_name(module)
    if component is not None:
        return Entry(component, dict(module.config))
    if isinstance(module, Padded):
        own = entry(module.layer)
        return own._replace(config={**own.config, "padding": list(map(list, module.padding))})
    kind = type(module)
    if kind not in SAVED:
        hint = " (returns a tuple, layers.GRU does not)" if kind is nn.GRU else ""
        raise UnsupportedError(kind.__name__ + hint)
    for option, accepted in ACCEPTED.get(kind, {}).items():
        expect(module, option, getattr(module, option) in accepted)
    for name, _ in module.named_parameters(recurse=False):
        expect(module, name, name in WEIGHTS[kind].values())  # a weight norm has others
    return SAVED[kind](module)


def expect(module: nn.Module, option: str, accepted: bool) -> None:
    """UnsupportedError unless this option of a module is accepted."""
    if not accepted:
        value = getattr(module, option)
        shown = type(value).__name__ if isinstance(value, Tensor) else repr(value)
        raise UnsupportedError(f"{type(module).__name__}({option}={shown})")


def same_padding(kernel: Sequence[int], dilation: Sequence[int]) -> list[list[int]]:
    """What padding="same" adds: the larger part of an odd number comes last."""
    totals = [step * (size - 1) for size, step in zip(kernel, dilation, strict=True)]
    return [[total // 2, total - total // 2] for total in totals]


def _axes(module: Any, option: str) -> list[int]:
    """An option of a convolution or pool as one number for each spatial axis."""
    value = getattr(module, option)
    rank = 1 if type(module).__name__.endswith("1d") else 2
    return [value] * rank if isinstance(value, int) else list(value)


def _save_convolution(module: Any) -> Entry:
    if module.padding == "same":
        padding = same_padding(module.kernel_size, module.dilation)
    elif module.padding == "valid":
        padding = [[0, 0] for _ in module.kernel_size]
    else:
        padding = [[size, size] for size in module.padding]
    options = {"stride": _axes(module, "stride"), "padding": padding}
    return Entry("Convolution", {**options, "dilation": _axes(module, "dilation")})


def _save_transposed(module: Any) -> Entry:
    ends = zip(module.padding, module.output_padding, strict=True)
    padding = [[size, size - added] for size, added in ends]
    options = {"stride": _axes(module, "stride"), "padding": padding}
    return Entry("TransposedConvolution", {**options, "dilation": _axes(module, "dilation")})


def _pool_options(module: Any) -> dict[str, Any]:
    padding = [[size, size] for size in _axes(module, "padding")]
    return {
        "size": _axes(module, "kernel_size"),
        "stride": _axes(module, "stride"),
        "padding": padding,
    }


def _save_average_pool(module: Any) -> Entry:
    options = {**_pool_options(module), "count_padding": module.count_include_pad}
    return Entry("AveragePool", options)


def _save_batch_norm(module: Any) -> Entry:
    expect(module, "track_running_stats", module.track_running_stats)
    expect(module, "momentum", module.momentum is not None and 0 <= module.momentum <= 1)
    return Entry("BatchNorm", {"epsilon": module.eps}, {"momentum": module.momentum})


def _save_layer_norm(module: Any) -> Entry:
    expect(module, "normalized_shape", len(module.normalized_shape) == 1)
    return Entry("LayerNorm", {"epsilon": module.eps})


def _save_embedding(module: Any) -> Entry:
    return Entry("Embedding", {}, {"padding": module.padding_idx == 0})


def _save_gru(module: Any) -> Entry:
    options = {"direction": module.direction, "return_sequences": module.return_sequences}
    return Entry("GRU", options)


def _save_dropout(module: Any) -> Entry:
    expect(module, "p", module.p < 1)
    return Entry("Dropout", {}, {"rate": module.p})


def _save_plain(name: str, options: Mapping[str, str]) -> Callable[[nn.Module], Entry]:
    return lambda module: Entry(name, {key: getattr(module, own) for key, own in options.items()})


SAVED: dict[type[nn.Module], Callable[[nn.Module], Entry]] = {
    nn.Linear: _save_plain("Projection", {}),
    **dict.fromkeys(CONVOLUTIONS, _save_convolution),
    **dict.fromkeys(TRANSPOSED_CONVOLUTIONS, _save_transposed),
    **dict.fromkeys(MAX_POOLS, lambda module: Entry("MaxPool", _pool_options(module))),
    **dict.fromkeys(MAX_UNPOOLS, lambda module: Entry("MaxUnpool", _pool_options(module))),
    **dict.fromkeys(AVERAGE_POOLS, _save_average_pool),
    **dict.fromkeys(
        (nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d),
        lambda module: Entry("GlobalAveragePool", {"keepdims": True}),
    ),
    **dict.fromkeys(
        (nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d),
        lambda module: Entry("GlobalMaxPool", {"keepdims": True}),
    ),
    **dict.fromkeys((nn.BatchNorm1d, nn.BatchNorm2d, BatchNorm), _save_batch_norm),
    nn.LayerNorm: _save_layer_norm,
    nn.Embedding: _save_embedding,
    GRU: _save_gru,
    nn.Dropout: _save_dropout,
    nn.GELU: lambda module: Entry("GELU", {"approximate": module.approximate == "tanh"}),
    nn.Softplus: _save_plain("Softplus", {}),
    **{kind: _save_plain(name, options) for name, (kind, options) in PLAIN.items()},
}
