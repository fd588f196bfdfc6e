"""The records of what changes the size of space: paddings, croppings and resampling."""

from __future__ import annotations

from typing import Any

import keras

from tf2_impl.interchange.record import (
    ZERO_PADDINGS,
    Ints,
    Layers,
    Options,
    Pairs,
    Record,
    attributes,
    plain,
)
from tf2_impl.layers.space import Pad, Resize, Upsample

UPSAMPLINGS = (
    keras.layers.UpSampling1D,
    keras.layers.UpSampling2D,
    keras.layers.UpSampling3D,
)
# Of Keras's Resizing: its nearest entries are others than PyTorch's.
LINEAR = {
    "interpolation": ("bilinear",),
    "antialias": (False,),
    "crop_to_aspect_ratio": (False,),
    "pad_to_aspect_ratio": (False,),
    "data_format": ("channels_last",),
}
CROPPINGS = (keras.layers.Cropping1D, keras.layers.Cropping2D, keras.layers.Cropping3D)


def read_zeros(layer: Any, shape: Any) -> Options:
    """The options of Keras's paddings with zeros."""
    pairs = layer.padding if isinstance(layer.padding[0], tuple) else [layer.padding]
    return {"padding": list(map(list, pairs)), "mode": "constant", "value": 0.0}


def _read_cropping(layer: Any, shape: Any) -> Options:
    pairs = layer.cropping if isinstance(layer.cropping[0], tuple) else [layer.cropping]
    padding = [[-before, -after] for before, after in pairs]
    return {"padding": padding, "mode": "constant", "value": 0.0}


def _read_pad(layer: Any, shape: Any) -> Options:
    return {"padding": layer.padding, "mode": layer.mode, "value": layer.value}


def _pad(dtype: str, *, padding: Pairs, mode: str, value: float) -> Layers:
    if mode == "constant" and value == 0 and max(map(max, padding)) <= 0:
        cut = tuple((-before, -after) for before, after in padding)
        kind = CROPPINGS[len(cut) - 1]
        return [kind(cut if len(cut) > 1 else cut[0], dtype=dtype)]
    return [Pad(padding, mode, value, dtype=dtype)]


def _read_upsampling(layer: Any, shape: Any) -> Options:
    scale = [layer.size] if isinstance(layer.size, int) else list(layer.size)
    mode = "nearest" if getattr(layer, "interpolation", "nearest") == "nearest" else "linear"
    return {"scale": scale, "mode": mode, "corners": False}


def _upsample(dtype: str, *, scale: Ints, mode: str, corners: bool) -> Layers:
    if mode == "nearest":
        kind = UPSAMPLINGS[len(scale) - 1]
        return [kind(tuple(scale) if len(scale) > 1 else scale[0], dtype=dtype)]
    return [Upsample(scale, mode, corners, dtype=dtype)]


def _read_resizing(layer: Any, shape: Any) -> Options:
    return {"size": [layer.height, layer.width], "mode": "linear", "corners": False}


RECORDS = (
    Record(
        "Pad",
        {
            **dict.fromkeys((*ZERO_PADDINGS, keras.layers.ZeroPadding3D), read_zeros),
            **dict.fromkeys(CROPPINGS, _read_cropping),
            Pad: _read_pad,
        },
        _pad,
        {"data_format": ("channels_last",)},
    ),
    Record(
        "Upsample",
        {
            **dict.fromkeys(UPSAMPLINGS, _read_upsampling),
            Upsample: attributes(scale=list, mode=str, corners=bool),
        },
        _upsample,
        {"interpolation": ("nearest", "bilinear"), "data_format": ("channels_last",)},
    ),
    Record(
        "Resize",
        {
            keras.layers.Resizing: _read_resizing,
            Resize: attributes(size=list, mode=str, corners=bool),
        },
        plain(Resize),
        LINEAR,
    ),
)
