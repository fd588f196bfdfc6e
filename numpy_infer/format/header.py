"""The description in a model file's header: what it says, what it may say, and its checksum."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from numpy_infer.format import safetensors_file

VERSION = 1
KEY = "fourfold"
METADATA = "metadata."  # begins the names of the arrays that are the user's own
DTYPES = ("float32", "float64")
UNFIT = (TypeError, ValueError, RecursionError)  # the last where nesting is too deep to look into


def parted_metadata(metadata: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The user's metadata as what stands in the header, and as arrays under their names."""
    if not isinstance(metadata, Mapping) or not all(isinstance(name, str) for name in metadata):
        raise TypeError(f"metadata: expected values by their names, got {metadata!r:.99}")
    values, arrays = {}, {}
    for name, value in metadata.items():
        if isinstance(value, np.ndarray):
            if value.dtype not in safetensors_file.DTYPES.values():
                raise TypeError(f"metadata[{name!r:.99}]: expected numbers, got {value.dtype}")
            arrays[METADATA + name] = value
            continue
        wanted = f"metadata[{name!r:.99}]: expected an array or what JSON can say"
        try:
            same = json.loads(json.dumps(value, allow_nan=False)) == value
        except UNFIT as error:
            raise type(error)(f"{wanted}, got: {error}") from error
        if not same:  # a tuple comes back as a list, a number as a key comes back as text
            raise TypeError(f"{wanted} and gives back unchanged, got {value!r:.99}")
        values[name] = value
    return values, arrays


def check_json(component: str, config: Mapping[str, Any]) -> None:
    """TypeError or ValueError, with the layer, for a configuration that JSON cannot say."""
    parts: list[tuple[str, Any]] = []
    if component in ("chain", "graph") and isinstance(config.get("layers"), list):
        for place, entry in enumerate(config["layers"]):
            name = entry.get("layer") if isinstance(entry, dict) else None
            parts.append((f"layer {place} ({name!s:.99}): ", entry))
    for where, part in [*parts, ("", dict(config))]:
        try:
            json.dumps(part, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise type(error)(f"{where}config: expected what JSON can say, got: {error}") from error


def checked_description(
    description: dict[str, Any], arrays: dict[str, np.ndarray]
) -> tuple[str, dict[str, Any], dict[str, np.ndarray], dict[str, Any]]:
    """Component, configuration, the model's arrays and the user's metadata, as they are checked."""
    version = description.get("version")
    if version != VERSION or type(version) is not int:
        raise ValueError(f"version: expected {VERSION}, got {version!r:.99}")
    if description.keys() - {"checksum", "metadata"} != {"version", "component", "config"}:
        keys = ", ".join(map(repr, description))
        raise ValueError(f"metadata: expected version, component and config, got {keys:.99}")
    component, config = description["component"], description["config"]
    if not isinstance(component, str) or not isinstance(config, dict):
        raise ValueError("metadata: expected the component as text and its config as an object")
    own = {name: array for name, array in arrays.items() if not name.startswith(METADATA)}
    check_arrays(own)
    values = description.get("metadata", {})
    if not isinstance(values, dict):
        raise ValueError(f"metadata: expected values by their names, got {values!r:.99}")
    others = metadata_arrays(arrays)
    if twice := values.keys() & others.keys():
        raise ValueError(f"metadata: expected each name once, got {min(twice)!r:.99} twice")
    if "checksum" in description:
        stated = description.pop("checksum")
        if stated != (found := checksum(description, arrays)):
            raise ValueError(f"checksum: expected {found}, got {stated!r:.99}: the file is damaged")
    return component, config, own, {**values, **others}


def metadata_arrays(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Of a file's arrays those of the user's metadata, by the names that the user gave them.

    Args:
        arrays: {name in the file: array}.
    Returns:
        {name: array}, the same arrays.
    Example:
        >>> metadata_arrays({"1.weight": np.zeros(2), "metadata.vectors": np.ones(2)})
        {'vectors': array([1., 1.])}
    """
    return {
        name.removeprefix(METADATA): array
        for name, array in arrays.items()
        if name.startswith(METADATA)
    }


def check_arrays(arrays: Mapping[str, np.ndarray]) -> None:
    """TypeError or ValueError unless all are float32 or all float64, and none is empty."""
    dtypes = {str(array.dtype) for array in arrays.values()}
    if len(dtypes) > 1 or not dtypes <= set(DTYPES):
        names = ", ".join(sorted(dtypes))
        raise TypeError(f"arrays: expected float32 or float64 throughout, got {names}")
    for name, array in arrays.items():
        if array.size == 0:
            raise ValueError(f"array {name!r:.99}: expected at least one entry, got {array.shape}")


def checksum(description: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> str:
    """CRC-32 of the description and, by name, each array's name, type, shape and bytes.

    Args:
        description: version, component, config and the user's metadata, as in the file's header.
        arrays: {name: array}, of any dtype.
    Returns:
        Eight hexadecimal digits.
    Raises:
        TypeError, ValueError: a description that JSON cannot say.
    Example:
        >>> checksum({"version": 1}, {"weight": np.zeros(2)})
        'c2fad9a8'
    """
    text = json.dumps(description, sort_keys=True, allow_nan=False)
    found = zlib.crc32(text.encode())
    for name in sorted(arrays):
        array = arrays[name]
        found = zlib.crc32(f"{name} {array.dtype} {array.shape}".encode(), found)
        found = zlib.crc32(np.ascontiguousarray(array).data, found)
    return f"{found:08x}"
