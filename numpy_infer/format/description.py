"""What is in a model file, as data: `python -m numpy_infer describe` prints it."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from numpy_infer import model_file
from numpy_infer.format import network, safetensors_file
from numpy_infer.support.layer import Input, Layer


def describe(
    path: str | os.PathLike[str], input_shape: Sequence[int] | None = None
) -> dict[str, Any]:
    """A model file's contents, of types that JSON has; errors as from `read_model`.

    input_shape: of one row of input; each layer then has the shape of its `output`. ValueError
    when the model cannot run on it.
    """
    component, config, arrays = model_file.read_model(path)
    metadata, _ = safetensors_file.read(path)
    header = json.loads(metadata[model_file.KEY])
    if component == network.CHAIN:
        entries, owned = config["layers"], network.by_place(arrays, len(config["layers"]))
    else:
        entries, owned = [{"layer": component, "previous": [], "config": config}], [arrays]
    layers = [_layer(place, *both) for place, both in enumerate(zip(entries, owned, strict=True))]
    if input_shape is not None:
        outputs = _output_shapes(component, config, arrays, input_shape)
        layers = [one | {"output": shape} for one, shape in zip(layers, outputs, strict=True)]
    return {
        "file": os.fspath(path),
        "version": header["version"],
        "component": component,
        "infers": network.infers(component),
        "layers": layers,
        "dtype": next((str(array.dtype) for array in arrays.values()), None),
        "parameters": sum(array.size for array in arrays.values()),
        "bytes": sum(array.nbytes for array in arrays.values()),
        "checksum": "right" if "checksum" in header else "none",
    }


def _layer(
    place: int, entry: Mapping[str, Any], arrays: Mapping[str, np.ndarray]
) -> dict[str, Any]:
    return {
        "place": place,
        "layer": entry["layer"],
        "previous": entry["previous"],
        "config": entry["config"],
        "training": entry.get("training", {}),
        "arrays": {name: list(array.shape) for name, array in arrays.items()},
        "parameters": sum(array.size for array in arrays.values()),
    }


def _output_shapes(
    component: str,
    config: Mapping[str, Any],
    arrays: Mapping[str, np.ndarray],
    input_shape: Sequence[int],
) -> list[Any]:
    """The shape that each place gives for one row of zeros, its rows as None."""
    if component == network.CHAIN:
        layers = network.places(config, arrays)
    else:
        layers = network.build(component, config, arrays)[1:]
    dtype = next((array.dtype for array in arrays.values()), np.float32)
    try:
        return _shapes(layers, np.zeros((1, *input_shape), dtype))
    except TypeError:  # token ids
        return _shapes(layers, np.zeros((1, *input_shape), np.int64))


def _shapes(layers: Sequence[Layer], x: np.ndarray) -> list[Any]:
    """The shape of each layer's output; each stands after those that it is built on."""
    last = {one: layer for layer in layers for one in layer.previous}  # its last reader
    held: dict[Layer, Any] = {}
    shapes: dict[Layer, Any] = {}
    for layer in dict.fromkeys(layers):  # a dropout's place has the layer before it
        given = [x if isinstance(one, Input) else held[one] for one in layer.previous]
        value = x if isinstance(layer, Input) else layer.forward(*given)
        plain = isinstance(value, np.ndarray)
        shapes[layer] = [None, *value.shape[1:]] if plain else type(value).__name__
        held |= {layer: value}
        for one in layer.previous:
            if last[one] is layer:
                held.pop(one, None)
    return [shapes[layer] for layer in layers]
