"""From a layer's entry in a model file to one of PyTorch's layers.

Where PyTorch's own arguments can say what the entry says, it is PyTorch's own layer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import nn

from pytorch_impl.interchange.components import make_component
from pytorch_impl.interchange.from_native import PLAIN, SOFTPLUS_THRESHOLD, Entry, same_padding
from pytorch_impl.layers.convolution import CONVOLUTIONS, TRANSPOSED_CONVOLUTIONS, Padded
from pytorch_impl.layers.normalization import BatchNorm
from pytorch_impl.layers.pooling import AVERAGE_POOLS, MAX_POOLS, MAX_UNPOOLS
from pytorch_impl.layers.recurrent import GRU

Pairs = Sequence[Sequence[int]]


def layer(entry: Entry, shapes: Mapping[str, Sequence[int]], dtype: torch.dtype) -> nn.Module:
    """The module of an entry, whose weights are yet to be set; shapes: of its arrays.

    ValueError or TypeError for what is not in the vocabulary.
    """
    if "." in entry.layer:
        return make_component(entry.layer, entry.config, dtype)
    if entry.layer not in LOADED:
        raise ValueError(f"layer: expected one of {', '.join(LOADED)}, got {entry.layer!r}")
    sizes = {name.replace(".", "_"): tuple(shape) for name, shape in shapes.items()}
    try:
        with torch.device("meta"):  # spends no time and no random numbers on weights
            module = LOADED[entry.layer](**sizes, **entry.config, **entry.training).to(dtype)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"arrays: expected those of a {entry.layer} with {entry.config}, got {sizes}: {error}"
        ) from error
    module.to_empty(device=torch.get_default_device())
    if isinstance(module, BatchNorm):
        module.reset_running_stats()
    return module


def _load_plain(kind: Callable[..., nn.Module], options: Mapping[str, str]) -> Callable:
    def load(**config: Any) -> nn.Module:
        if config.keys() != options.keys():
            raise ValueError(f"config: expected {list(options)}, got {list(config)}")
        return kind(**{own: config[key] for key, own in options.items()})

    return load


def _of_rank(kinds: Sequence[Callable[..., nn.Module]], *options: Sequence) -> Callable:
    """The 1-d or the 2-d class, by the length that all options have."""
    ranks = set(map(len, options))
    if len(ranks) > 1 or not ranks <= {1, 2}:
        raise ValueError(f"options: expected all for 1 axis or all for 2, got {options}")
    return kinds[ranks.pop() - 1]


def _projection(*, weight: Sequence[int], bias: Any = None) -> nn.Module:
    in_features, out_features = weight
    return nn.Linear(in_features, out_features, bias=bias is not None)


def _convolution(
    *,
    weight: Sequence[int],
    bias: Any = None,
    stride: Sequence[int],
    padding: Pairs,
    dilation: Sequence[int],
) -> nn.Module:
    channels, in_channels, *kernel = weight
    kind = _of_rank(CONVOLUTIONS, kernel, stride, padding, dilation)
    sizes = (in_channels, channels, kernel, stride)
    options: dict[str, Any] = {"dilation": dilation, "bias": bias is not None}
    if all(before == after for before, after in padding):
        return kind(*sizes, padding=[before for before, _ in padding], **options)
    if set(stride) == {1} and padding == same_padding(kernel, dilation):
        return kind(*sizes, padding="same", **options)
    return Padded(kind(*sizes, **options), padding)


def _transposed_convolution(
    *,
    weight: Sequence[int],
    bias: Any = None,
    stride: Sequence[int],
    padding: Pairs,
    dilation: Sequence[int],
) -> nn.Module:
    in_channels, channels, *kernel = weight
    kind = _of_rank(TRANSPOSED_CONVOLUTIONS, kernel, stride, padding, dilation)
    sizes = (in_channels, channels, kernel, stride)
    options: dict[str, Any] = {"dilation": dilation, "bias": bias is not None}
    added = [before - after for before, after in padding]
    most = map(max, stride, dilation)
    if all(0 <= size < limit for size, limit in zip(added, most, strict=True)):
        cut = [before for before, _ in padding]
        return kind(*sizes, padding=cut, output_padding=added, **options)
    return Padded(kind(*sizes, **options), padding)


def _pool(
    kinds: Sequence[Callable[..., nn.Module]],
    size: Sequence[int],
    stride: Sequence[int],
    padding: Pairs,
    **options: Any,
) -> nn.Module:
    kind = _of_rank(kinds, size, stride, padding)
    sizes = (tuple(size), tuple(stride)) if len(padding) == 2 else (size[0], stride[0])
    native = all(
        before == after and 2 * after <= n for (before, after), n in zip(padding, size, strict=True)
    )
    if not native:
        return Padded(kind(*sizes, **options), padding)
    ends = tuple(before for before, _ in padding)
    return kind(*sizes, padding=ends if len(ends) == 2 else ends[0], **options)


def _max_pool(*, size: Sequence[int], stride: Sequence[int], padding: Pairs) -> nn.Module:
    return _pool(MAX_POOLS, size, stride, padding)


def _max_unpool(*, size: Sequence[int], stride: Sequence[int], padding: Pairs) -> nn.Module:
    return _pool(MAX_UNPOOLS, size, stride, padding)


def _average_pool(
    *, size: Sequence[int], stride: Sequence[int], padding: Pairs, count_padding: bool
) -> nn.Module:
    return _pool(AVERAGE_POOLS, size, stride, padding, count_include_pad=count_padding)


def _batch_norm(
    *, scale: Sequence[int], shift: Any, mean: Any, variance: Any, epsilon: float, momentum: float
) -> nn.Module:
    return BatchNorm(*scale, eps=epsilon, momentum=momentum)


def _layer_norm(*, scale: Sequence[int], shift: Any, epsilon: float) -> nn.Module:
    return nn.LayerNorm(scale, eps=epsilon)


def _embedding(*, table: Sequence[int], padding: bool) -> nn.Module:
    vocabulary, dim = table
    return nn.Embedding(vocabulary, dim, padding_idx=0 if padding else None)


def _gru(
    *,
    input_weight: Sequence[int],
    hidden_weight: Sequence[int],
    input_bias: Any = None,
    direction: str,
    return_sequences: bool,
    **others: Any,
) -> nn.Module:
    return GRU(
        input_weight[0],
        hidden_weight[0],
        bias=input_bias is not None,
        direction=direction,
        return_sequences=return_sequences,
    )


def _gelu(*, approximate: bool) -> nn.Module:
    return nn.GELU("tanh" if approximate else "none")


def _dropout(*, rate: float) -> nn.Module:
    return nn.Dropout(rate)


def _softplus() -> nn.Module:
    return nn.Softplus(threshold=SOFTPLUS_THRESHOLD)


LOADED: dict[str, Callable[..., nn.Module]] = {
    "Projection": _projection,
    "Convolution": _convolution,
    "TransposedConvolution": _transposed_convolution,
    "MaxPool": _max_pool,
    "MaxUnpool": _max_unpool,
    "AveragePool": _average_pool,
    "BatchNorm": _batch_norm,
    "LayerNorm": _layer_norm,
    "Embedding": _embedding,
    "GRU": _gru,
    "Dropout": _dropout,
    "GELU": _gelu,
    "Softplus": _softplus,
    **{name: _load_plain(kind, options) for name, (kind, options) in PLAIN.items()},
}
