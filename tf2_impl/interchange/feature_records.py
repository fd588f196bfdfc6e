"""The records of the layers with weights over one axis: dense, normalizations and embeddings."""

from __future__ import annotations

from typing import Any

import keras

# Keras names the class nowhere else.
from keras.src.applications.convnext import LayerScale

from tf2_impl.interchange.record import (
    Ints,
    Layers,
    Options,
    Record,
    UnsupportedError,
    attributes,
    built,
    expect,
    no_options,
    plain,
)
from tf2_impl.interchange.weight import affine as affine_weights
from tf2_impl.interchange.weight import batch_norm as batch_norm_weights
from tf2_impl.interchange.weight import dense as dense_weights
from tf2_impl.interchange.weight import embedding as embedding_weights
from tf2_impl.interchange.weight import group_norm as group_norm_weights
from tf2_impl.interchange.weight import layer_norm as layer_norm_weights
from tf2_impl.interchange.weight import layer_scale as layer_scale_weights
from tf2_impl.interchange.weight import padded_embedding as padded_embedding_weights
from tf2_impl.interchange.weight import rms_norm as rms_norm_weights
from tf2_impl.interchange.weight import standardization as standardization_weights
from tf2_impl.layers.embedding import Embedding
from tf2_impl.layers.normalization import Affine, BatchNorm, GroupNorm, L2Normalize

# Keras keeps the axes as numbers, or after a build as a list.
LAST = (-1, [-1])
UNQUANTIZED = {"lora_rank": (None,), "quantization_mode": (None,)}
BATCH_NORMS = (keras.layers.BatchNormalization, BatchNorm)
GROUP_NORMS = (keras.layers.GroupNormalization, GroupNorm)


def _projection(dtype: str, *, weight: Ints, bias: Any = None) -> Layers:
    features, units = weight
    return [built(keras.layers.Dense(units, use_bias=bias is not None, dtype=dtype), features)]


def _read_batch_norm(layer: Any, shape: Any) -> Options:
    rank = layer.input_spec.ndim if layer.input_spec else None
    expect(layer, "axis", layer.axis in (-1, rank and rank - 1))
    # Keras counts the share of the old. Rounded, because 1 − 0.9 is not 0.1.
    momentum = round(1 - float(layer.momentum), 15)
    return {"epsilon": float(layer.epsilon), "momentum": momentum}


def _batch_norm(
    dtype: str,
    *,
    rank: int | None,
    channels: bool,
    scale: Ints,
    shift: Any,
    mean: Any,
    variance: Any,
    epsilon: float,
    momentum: float,
) -> Layers:
    options = {"epsilon": epsilon, "momentum": round(1 - momentum, 15), "dtype": dtype}
    if rank == 2 or (channels and rank is not None):
        layer = keras.layers.BatchNormalization(**options)
        return [built(layer, *[None] * (rank - 2), *scale)]
    return [built(BatchNorm(-1 if channels else 1, **options), *scale)]


def _read_layer_norm(layer: Any, shape: Any) -> Options:
    expect(layer, "axis", layer.axis in LAST)
    return {"epsilon": float(layer.epsilon)}


def _layer_norm(dtype: str, *, scale: Ints, shift: Any, epsilon: float) -> Layers:
    return [built(keras.layers.LayerNormalization(epsilon=epsilon, dtype=dtype), *scale)]


def _read_group_norm(layer: Any, shape: Any) -> Options:
    if not layer.built:  # which tells -1 groups
        raise UnsupportedError(f"{type(layer).__name__} without weights, which a keras.Input gives")
    last = -1 if layer.input_spec.ndim is None else layer.input_spec.ndim - 1
    expect(layer, "axis", getattr(layer, "axis", -1) in (-1, last))
    return {"groups": int(layer.groups), "epsilon": float(layer.epsilon)}


def _group_norm(
    dtype: str, *, channels: bool, scale: Ints, shift: Any, groups: int, epsilon: float
) -> Layers:
    layer = GroupNorm(groups, epsilon=epsilon, axis=-1 if channels else 1, dtype=dtype)
    return [built(layer, *scale)]


def _read_standardization(layer: Any, shape: Any) -> Options:
    if layer.mean is None:
        raise UnsupportedError("Normalization without a mean, which a keras.Input or adapt() gives")
    expect(layer, "axis", layer._keep_axis == (len(layer._build_input_shape) - 1,))
    return {"fixed": True}


def _affine(dtype: str, *, channels: bool, scale: Ints, shift: Any = None, fixed: bool) -> Layers:
    options: Options = {"use_bias": shift is not None, "fixed": fixed, "dtype": dtype}
    return [built(Affine(axis=-1 if channels else 1, **options), *scale)]


def _read_rms_norm(layer: Any, shape: Any) -> Options:
    expect(layer, "axis", layer.axis in LAST)
    return {"epsilon": float(layer.epsilon)}


def _rms_norm(dtype: str, *, scale: Ints, epsilon: float) -> Layers:
    return [built(keras.layers.RMSNormalization(epsilon=epsilon, dtype=dtype), *scale)]


def _read_unit_norm(layer: Any, shape: Any) -> Options:
    expect(layer, "axis", layer.axis in LAST)
    return {"epsilon": 1e-12}  # Keras has no option: the floor is in its source


def _embedding(dtype: str, *, table: Ints, padding: bool) -> Layers:
    kind = Embedding if padding else keras.layers.Embedding
    return [built(kind(*table, dtype=dtype), None)]


RECORDS = (
    Record(
        "Projection",
        {keras.layers.Dense: no_options},
        _projection,
        UNQUANTIZED,
        {keras.layers.Dense: dense_weights},
    ),
    Record(
        "BatchNorm",
        dict.fromkeys(BATCH_NORMS, _read_batch_norm),
        _batch_norm,
        {"renorm": (False,), "synchronized": (False,)},
        dict.fromkeys(BATCH_NORMS, batch_norm_weights),
        ("rank", "channels"),
        masked=(keras.layers.BatchNormalization,),
    ),
    Record(
        "LayerNorm",
        {keras.layers.LayerNormalization: _read_layer_norm},
        _layer_norm,
        {"rms_scaling": (False,)},
        {keras.layers.LayerNormalization: layer_norm_weights},
    ),
    Record(
        "GroupNorm",
        dict.fromkeys(GROUP_NORMS, _read_group_norm),
        _group_norm,
        weights=dict.fromkeys(GROUP_NORMS, group_norm_weights),
        placed=("channels",),
        in_order=True,
    ),
    Record(
        "RMSNorm",
        {keras.layers.RMSNormalization: _read_rms_norm},
        _rms_norm,
        weights={keras.layers.RMSNormalization: rms_norm_weights},
    ),
    Record(
        "Affine",
        {
            Affine: attributes(fixed=bool),
            LayerScale: lambda layer, shape: {"fixed": False},
            keras.layers.Normalization: _read_standardization,
        },
        _affine,
        {"invert": (False,)},
        {
            Affine: affine_weights,
            LayerScale: layer_scale_weights,
            keras.layers.Normalization: standardization_weights,
        },
        ("channels",),
    ),
    Record(
        "L2Normalize",
        {
            keras.layers.UnitNormalization: _read_unit_norm,
            L2Normalize: attributes(epsilon=float),
        },
        plain(L2Normalize),
    ),
    Record(
        "Embedding",
        {
            keras.layers.Embedding: lambda layer, shape: {"padding": False},
            Embedding: lambda layer, shape: {"padding": True},
        },
        _embedding,
        UNQUANTIZED,
        {
            keras.layers.Embedding: embedding_weights,
            Embedding: padded_embedding_weights,
        },
    ),
)
