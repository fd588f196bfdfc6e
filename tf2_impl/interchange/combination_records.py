"""The records of what makes one tensor of several, or a part of one, and of a scale and a shift."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from tf2_impl.interchange.record import (
    Layers,
    Options,
    Record,
    attributes,
    expect,
    no_options,
    plain,
)
from tf2_impl.layers.activations import ScaleShift
from tf2_impl.layers.shape import Slice


def _read_rescaling(layer: Any, shape: Any) -> Options:
    numbers = {"scale": layer.scale, "shift": layer.offset}
    expect(layer, "scale", isinstance(layer.scale, int | float))
    expect(layer, "offset", isinstance(layer.offset, int | float))
    # TensorFlow keeps them in float32, so those are the numbers of a layer in float64.
    double = layer.compute_dtype == "float64"
    return {key: float(np.float32(one) if double else one) for key, one in numbers.items()}


def _read_axis(layer: Any, shape: Any) -> Options:
    rank = None if shape is None else len(shape)
    expect(layer, "axis", layer.axis in (-1, 1) or layer.axis + 1 == rank)
    return {"axis": -1 if layer.axis + 1 == rank else layer.axis}


def _read_slice(layer: Any, shape: Any) -> Options:
    return {"start": layer.start, "stop": layer.stop, **_read_axis(layer, shape)}


def _slice(dtype: str, *, channels: bool, start: int, stop: int, axis: int) -> Layers:
    return [Slice(start, stop, -1 if channels else axis, dtype=dtype)]


def _concatenate(dtype: str, *, channels: bool, axis: int) -> Layers:
    return [keras.layers.Concatenate(-1 if channels else axis, dtype=dtype)]


RECORDS = (
    Record("Slice", {Slice: _read_slice}, _slice, placed=("channels",), in_order=True),
    Record(
        "ScaleShift",
        {keras.layers.Rescaling: _read_rescaling, ScaleShift: attributes(scale=float, shift=float)},
        plain(ScaleShift),
    ),
    Record("Add", {keras.layers.Add: no_options}, plain(keras.layers.Add)),
    Record("Multiply", {keras.layers.Multiply: no_options}, plain(keras.layers.Multiply)),
    Record("Maximum", {keras.layers.Maximum: no_options}, plain(keras.layers.Maximum)),
    Record("Minimum", {keras.layers.Minimum: no_options}, plain(keras.layers.Minimum)),
    Record("Average", {keras.layers.Average: no_options}, plain(keras.layers.Average)),
    Record("Subtract", {keras.layers.Subtract: no_options}, plain(keras.layers.Subtract)),
    Record(
        "Concatenate",
        {keras.layers.Concatenate: _read_axis},
        _concatenate,
        placed=("channels",),
        in_order=True,
    ),
)
