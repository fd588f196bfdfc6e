"""The records of what changes the size of space: paddings and croppings."""

from __future__ import annotations

from typing import Any

import keras

from tf2_impl.interchange.record import (
    ZERO_PADDINGS,
    Layers,
    Options,
    Pairs,
    Record,
)
from tf2_impl.layers.space import Pad

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
)
