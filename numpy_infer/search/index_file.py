"""Files of the indexes: their arrays in one safetensors file, with what they are and a checksum.

The metadata's entry `fourfold_index` is a JSON string: format version, kind of index, its
configuration, and the checksum of all of it that model files have too.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from numpy_infer.format import safetensors_file
from numpy_infer.model_file import ModelFileError, checksum

VERSION = 1
KEY = "fourfold_index"


class Index(NamedTuple):
    """What a file holds."""

    config: dict[str, Any]
    arrays: dict[str, np.ndarray]


def write_index(
    path: str | os.PathLike[str],
    kind: str,
    config: Mapping[str, Any],
    arrays: Mapping[str, np.ndarray],
    load: Callable[[str], Any],
) -> None:
    """Write a file: at every moment the path holds the old one or the new one, whole.

    load: what is to read it. ValueError when that refuses what was written, and then the old file
    stays; OSError when it cannot be written.
    """
    description: dict[str, Any] = {"version": VERSION, "kind": kind, "config": dict(config)}
    description["checksum"] = checksum(description, arrays)
    text = json.dumps(description, allow_nan=False)
    safetensors_file.write(path, {KEY: text}, arrays, load)


def read_index(
    path: str | os.PathLike[str],
    kind: str,
    names: tuple[str, ...],
    optional: tuple[str, ...] = (),
) -> Index:
    """The configuration and the arrays, read-only views of the file, of these names.

    optional: names of arrays that a file may have.

    ValueError for anything but a whole file of this kind; OSError when it cannot be opened. What
    the configuration and the arrays say is for the caller to check.
    """
    metadata, arrays = safetensors_file.read(path)
    if KEY not in metadata:
        raise ValueError(f"expected {KEY!r} in the metadata: the file holds no index")
    description = safetensors_file.parse_json(metadata[KEY], f"the metadata's {KEY!r}")
    if description.keys() != {"version", "kind", "config", "checksum"}:
        keys = ", ".join(map(repr, description))
        raise ValueError(f"metadata: expected version, kind, config and checksum, got {keys:.99}")
    stated = description.pop("checksum")
    for key, wanted in (("version", VERSION), ("kind", kind)):
        found = description[key]
        if found != wanted or type(found) is not type(wanted):
            raise ValueError(f"{key}: expected {wanted!r}, got {found!r:.99}")
    if not isinstance(description["config"], dict):
        raise ValueError(f"config: expected an object, got {description['config']!r:.99}")
    if arrays.keys() - set(optional) != set(names):
        raise ValueError(f"arrays: expected {', '.join(names)}, got {', '.join(arrays):.99}")
    if stated != (right := checksum(description, arrays)):
        raise ValueError(f"checksum: expected {right}, got {stated!r:.99}: the file is damaged")
    return Index(description["config"], arrays)


def damaged(path: str | os.PathLike[str], error: Exception) -> ModelFileError:
    """The error of a file that is no index."""
    return ModelFileError(f"{os.fspath(path)}: {error}")
