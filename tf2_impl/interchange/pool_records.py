"""The records of pools: Keras's own where they can do what a model file says."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras

from tf2_impl.interchange.record import (
    Ints,
    Layers,
    Options,
    Pairs,
    Record,
    attributes,
    of_rank,
    read_padding,
    zeros,
)
from tf2_impl.layers.pooling import (
    AveragePool,
    GlobalAveragePool,
    GlobalMaxPool,
    MaxPool,
    MaxUnpool,
)

MAX_POOLS = (keras.layers.MaxPooling1D, keras.layers.MaxPooling2D)
AVERAGE_POOLS = (keras.layers.AveragePooling1D, keras.layers.AveragePooling2D)
GLOBAL_AVERAGE_POOLS = (keras.layers.GlobalAveragePooling1D, keras.layers.GlobalAveragePooling2D)
GLOBAL_MAX_POOLS = (keras.layers.GlobalMaxPooling1D, keras.layers.GlobalMaxPooling2D)
CHANNELS_LAST = {"data_format": ("channels_last",)}


def _read_pool(layer: Any, shape: Any) -> Options:
    sizes = layer.pool_size
    if isinstance(layer.padding, tuple):  # of this package's own layers
        padding = list(map(list, layer.padding))
    else:
        padding = read_padding(layer, sizes, [1] * len(sizes), shape)
    return {"size": list(sizes), "stride": list(layer.strides), "padding": padding}


def _read_average_pool(layer: Any, shape: Any) -> Options:
    return {**_read_pool(layer, shape), "count_padding": False}


def _max_pool(dtype: str, *, size: Ints, stride: Ints, padding: Pairs) -> Layers:
    if any(map(any, padding)):
        return [MaxPool(size, stride, padding, dtype=dtype)]
    return [of_rank(MAX_POOLS, len(size))(tuple(size), strides=tuple(stride), dtype=dtype)]


def _max_unpool(dtype: str, *, size: Ints, stride: Ints, padding: Pairs) -> Layers:
    return [MaxUnpool(size, stride, padding, dtype=dtype)]


def _average_pool(
    dtype: str, *, size: Ints, stride: Ints, padding: Pairs, count_padding: bool
) -> Layers:
    if any(map(any, padding)) and not count_padding:
        return [AveragePool(size, stride, padding, dtype=dtype)]
    pool = of_rank(AVERAGE_POOLS, len(size))(tuple(size), strides=tuple(stride), dtype=dtype)
    return [*zeros(padding, dtype), pool]


def _global_pool(name: str, native: tuple[type, ...], own: type, **options: Any) -> Record:
    def build(dtype: str, *, rank: int | None, keepdims: bool) -> Layers:
        kind: Callable[..., keras.Layer] = own if rank is None else of_rank(native, rank - 2)
        return [kind(keepdims=keepdims, dtype=dtype)]

    natives = dict.fromkeys((*native, own), attributes(keepdims=bool))
    return Record(name, natives, build, CHANNELS_LAST, placed=("rank",), **options)


RECORDS = (
    Record("MaxPool", dict.fromkeys((*MAX_POOLS, MaxPool), _read_pool), _max_pool, CHANNELS_LAST),
    Record("MaxUnpool", {MaxUnpool: _read_pool}, _max_unpool),
    Record(
        "AveragePool",
        dict.fromkeys((*AVERAGE_POOLS, AveragePool), _read_average_pool),
        _average_pool,
        CHANNELS_LAST,
    ),
    _global_pool(
        "GlobalAveragePool",
        GLOBAL_AVERAGE_POOLS,
        GlobalAveragePool,
        masked=(keras.layers.GlobalAveragePooling1D,),
    ),
    _global_pool("GlobalMaxPool", GLOBAL_MAX_POOLS, GlobalMaxPool),
)
