"""What is in a model file or an index, as data: `python -m numpy_infer describe` prints it."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from numpy_infer import model_file
from numpy_infer.format import network, safetensors_file
from numpy_infer.format.listing import GRAPH, LISTED, described
from numpy_infer.search import index_file
from numpy_infer.support.layer import Input, Layer


def describe(
    path: str | os.PathLike[str], input_shape: Sequence[int] | None = None
) -> dict[str, Any]:
    """A file's contents, of types that JSON has; errors as from `read_model`.

    input_shape: of one row of input; each layer then has the shape of its `output`. ValueError
    when the model cannot run on it, or the file holds no model but an index.
    """
    if _holds_index(path):
        if input_shape is not None:
            raise ValueError(f"input_shape: expected none for an index, got {[*input_shape]}")
        return _index(path)
    component, config, arrays = model_file.read_model(path)
    metadata, everything = safetensors_file.read(path)  # checked by the line above
    header = json.loads(metadata[model_file.KEY])
    layers = described(component, config, arrays)
    if input_shape is not None:
        outputs = _output_shapes(component, config, arrays, input_shape)
        layers = [one | {"output": shape} for one, shape in zip(layers, outputs, strict=True)]
    own = header.get("metadata", {}) | model_file.metadata_arrays(everything)
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
        "metadata": {name: _value(value) for name, value in own.items()},
    }


def _value(value: Any) -> Any:
    """A value of the user's metadata; of an array its shape and dtype."""
    return _about(value) if isinstance(value, np.ndarray) else value


def _about(array: np.ndarray) -> dict[str, Any]:
    return {"shape": list(array.shape), "dtype": str(array.dtype)}


def _holds_index(path: str | os.PathLike[str]) -> bool:
    try:
        metadata, _ = safetensors_file.read(path)
    except ValueError:  # what is wrong with it, the readers say
        return False
    return index_file.KEY in metadata and model_file.KEY not in metadata


def _index(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The contents of a file of an index, once it has been loaded as one."""
    from numpy_infer.neighbor_memory import NeighborMemory
    from numpy_infer.small_world_index import SmallWorldIndex

    metadata, arrays = safetensors_file.read(path)
    try:
        header = safetensors_file.parse_json(metadata[index_file.KEY], "the metadata")
    except ValueError as error:
        raise index_file.damaged(path, error) from error
    kind = header.get("kind")
    load = SmallWorldIndex.load if kind == "small_world_index" else NeighborMemory.load
    loaded: NeighborMemory | SmallWorldIndex = load(path)  # all checks
    return {
        "file": os.fspath(path),
        "version": header["version"],
        "index": kind,
        "vectors": len(loaded),
        "config": header["config"],
        "arrays": {name: _about(array) for name, array in arrays.items()},
        "bytes": sum(array.nbytes for array in arrays.values()),
        "checksum": "right",
    }


def _output_shapes(
    component: str,
    config: Mapping[str, Any],
    arrays: Mapping[str, np.ndarray],
    input_shape: Sequence[int],
) -> list[Any]:
    """The shape that each place gives for one row of zeros, its rows as None."""
    inputs = config["inputs"] if component == GRAPH else {}
    if len(inputs) > 1:
        raise ValueError(f"input_shape: expected none for {len(inputs)} inputs, got {input_shape}")
    if component in LISTED:
        layers = network.places(component, config, arrays)
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
