"""The records of the layers that slide over space: convolutions and pools.

Where PyTorch's own arguments can say what a model file says, the layer is PyTorch's own; otherwise
a `Padded` one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch import nn

from pytorch_impl.interchange.record import Record, for_each_axis, of_rank
from pytorch_impl.layers.convolution import CONVOLUTIONS, TRANSPOSED_CONVOLUTIONS, Padded
from pytorch_impl.layers.pooling import (
    AVERAGE_POOLS,
    MAX_POOLS,
    MAX_UNPOOLS,
    GlobalAveragePool,
    GlobalMaxPool,
)

Ints = Sequence[int]
Pairs = Sequence[Ints]
ONE = (1, (1,), (1, 1))
ONE_PLACE = {"output_size": ONE, "return_indices": (False,)}
ZEROS = {"padding_mode": ("zeros",)}
AFFINE = {"weight": "weight", "bias": "bias"}


def _same_padding(kernel: Ints, dilation: Ints) -> list[list[int]]:
    """What padding="same" adds: the larger part of an odd number comes last."""
    totals = [step * (size - 1) for size, step in zip(kernel, dilation, strict=True)]
    return [[total // 2, total - total // 2] for total in totals]


def _read_convolution(module: Any) -> dict[str, Any]:
    if module.padding == "same":
        padding = _same_padding(module.kernel_size, module.dilation)
    elif module.padding == "valid":
        padding = [[0, 0] for _ in module.kernel_size]
    else:
        padding = [[size, size] for size in module.padding]
    options = {"stride": for_each_axis(module, "stride"), "padding": padding}
    return {**options, "dilation": for_each_axis(module, "dilation"), "groups": module.groups}


def _convolution(
    *,
    weight: Ints,
    bias: Any = None,
    stride: Ints,
    padding: Pairs,
    dilation: Ints,
    groups: int = 1,
) -> nn.Module:
    channels, group_channels, *kernel = weight
    kind = of_rank(CONVOLUTIONS, kernel, stride, padding, dilation)
    sizes = (groups * group_channels, channels, kernel, stride)
    options: dict[str, Any] = {"dilation": dilation, "groups": groups, "bias": bias is not None}
    if all(before == after for before, after in padding):
        return kind(*sizes, padding=[before for before, _ in padding], **options)
    if set(stride) == {1} and padding == _same_padding(kernel, dilation):
        return kind(*sizes, padding="same", **options)
    return Padded(kind(*sizes, **options), padding)


def _read_transposed(module: Any) -> dict[str, Any]:
    ends = zip(module.padding, module.output_padding, strict=True)
    padding = [[size, size - added] for size, added in ends]
    options = {"stride": for_each_axis(module, "stride"), "padding": padding}
    return {**options, "dilation": for_each_axis(module, "dilation")}


def _transposed_convolution(
    *, weight: Ints, bias: Any = None, stride: Ints, padding: Pairs, dilation: Ints
) -> nn.Module:
    in_channels, channels, *kernel = weight
    kind = of_rank(TRANSPOSED_CONVOLUTIONS, kernel, stride, padding, dilation)
    sizes = (in_channels, channels, kernel, stride)
    options: dict[str, Any] = {"dilation": dilation, "bias": bias is not None}
    added = [before - after for before, after in padding]
    most = map(max, stride, dilation)
    if all(0 <= size < limit for size, limit in zip(added, most, strict=True)):
        cut = [before for before, _ in padding]
        return kind(*sizes, padding=cut, output_padding=added, **options)
    return Padded(kind(*sizes, **options), padding)


def _read_pool(module: Any) -> dict[str, Any]:
    padding = [[size, size] for size in for_each_axis(module, "padding")]
    size, stride = for_each_axis(module, "kernel_size"), for_each_axis(module, "stride")
    return {"size": size, "stride": stride, "padding": padding}


def _read_average_pool(module: Any) -> dict[str, Any]:
    return {**_read_pool(module), "count_padding": module.count_include_pad}


def _pool(kinds: Sequence[type[nn.Module]]) -> Callable[..., nn.Module]:
    def build(*, size: Ints, stride: Ints, padding: Pairs, **options: Any) -> nn.Module:
        kind = of_rank(kinds, size, stride, padding)
        if "count_padding" in options:
            options["count_include_pad"] = options.pop("count_padding")
        sizes = (tuple(size), tuple(stride)) if len(padding) == 2 else (size[0], stride[0])
        ends = tuple(before for before, _ in padding)
        symmetric = all(before == after for before, after in padding)
        if not symmetric or any(2 * end > n for end, n in zip(ends, size, strict=True)):
            return Padded(kind(*sizes, **options), padding)
        return kind(*sizes, padding=ends if len(ends) == 2 else ends[0], **options)

    return build


def _global_pool(name: str, own: type[nn.Module], *adaptive: type[nn.Module]) -> Record:
    natives: dict[type[nn.Module], Callable[[Any], dict[str, Any]]] = {
        own: lambda module: {"keepdims": module.keepdims},
        **dict.fromkeys(adaptive, lambda module: {"keepdims": True}),
    }
    return Record(name, natives, own, ONE_PLACE)


RECORDS = (
    Record(
        "Convolution",
        dict.fromkeys(CONVOLUTIONS, _read_convolution),
        _convolution,
        ZEROS,
        AFFINE,
    ),
    Record(
        "TransposedConvolution",
        dict.fromkeys(TRANSPOSED_CONVOLUTIONS, _read_transposed),
        _transposed_convolution,
        {**ZEROS, "groups": (1,)},
        AFFINE,
    ),
    Record(
        "MaxPool",
        dict.fromkeys(MAX_POOLS, _read_pool),
        _pool(MAX_POOLS),
        {"ceil_mode": (False,), "dilation": ONE},
    ),
    Record("MaxUnpool", dict.fromkeys(MAX_UNPOOLS, _read_pool), _pool(MAX_UNPOOLS)),
    Record(
        "AveragePool",
        dict.fromkeys(AVERAGE_POOLS, _read_average_pool),
        _pool(AVERAGE_POOLS),
        {"ceil_mode": (False,), "divisor_override": (None,)},
    ),
    _global_pool(
        "GlobalAveragePool", GlobalAveragePool, nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d
    ),
    _global_pool("GlobalMaxPool", GlobalMaxPool, nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d),
)
