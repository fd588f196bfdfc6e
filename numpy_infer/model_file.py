"""Model files: a model's arrays and what to build of them, in one safetensors file.

The metadata's entry `fourfold` is a JSON string: format version, component, configuration, the
user's own metadata, and a checksum of all of it. docs/model_files.md is the description.
"""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from numpy_infer.format import safetensors_file
from numpy_infer.format.older_files import todays

if TYPE_CHECKING:
    from numpy_infer.support.net import Net

VERSION = 1
KEY = "fourfold"
METADATA = "metadata."  # begins the names of the arrays that are the user's own
DTYPES = ("float32", "float64")
UNFIT = (TypeError, ValueError, RecursionError)  # the last where nesting is too deep to look into


class ModelFileError(ValueError):
    """A file that is no model: the message says which file, what is wrong with it, and where.

    Example:
        >>> try:
        ...     load_model(os.devnull)
        ... except ModelFileError as error:
        ...     print("refused")
        refused
    """


class Model(NamedTuple):
    """What a file holds: the arguments of `from_arrays` in each framework package."""

    component: str
    config: dict[str, Any]
    arrays: dict[str, np.ndarray]


def load_model(path: str | os.PathLike[str]) -> Net:
    """Read a model file as a net that NumPy can run.

    Args:
        path: of a file that `save_model` of any framework package, or `write_model`, has written.
    Returns:
        The `Net`: a list of layers, each behind those it is built on, that can be called. `net(x)`
        is the output, as `net[-1](x)`; of several outputs it is a dict by name. Several inputs are
        given by name: `net(image=x, text=t)`. `print(net)` shows its layers. The arrays stay in
        the file and are read when they are used.
    Raises:
        ModelFileError: anything but a whole model file.
        OSError: the file cannot be opened.
    Example:
        >>> from tempfile import TemporaryDirectory
        >>> config = {"in_features": 2, "out_features": 1, "bias": False}
        >>> arrays = {"weight": np.array([[3.0], [5.0]])}
        >>> with TemporaryDirectory() as folder:
        ...     write_model(f"{folder}/m", "sparse_projection.SparseProjection", config, arrays)
        ...     net = load_model(f"{folder}/m")
        >>> net[-1](np.array([[1.0, 2.0]])).tolist()
        [[13.0]]
    """
    from numpy_infer.format.network import build

    with _naming(path):
        return build(*_read(path))


def read_model(path: str | os.PathLike[str]) -> Model:
    """Read a model file as what a framework package builds its model of.

    Args:
        path: of the file.
    Returns:
        The `Model`: component, configuration, and the arrays that the configuration asks for, as
        read-only views of the file.
    Raises:
        ModelFileError: anything but a whole model file.
        OSError: the file cannot be opened.
    Example:
        >>> from tempfile import TemporaryDirectory
        >>> config = {"in_features": 2, "out_features": 1, "bias": False}
        >>> arrays = {"weight": np.array([[3.0], [5.0]])}
        >>> with TemporaryDirectory() as folder:
        ...     write_model(f"{folder}/m", "sparse_projection.SparseProjection", config, arrays)
        ...     read_model(f"{folder}/m").component
        'sparse_projection.SparseProjection'
    """
    from numpy_infer.format.network import check

    with _naming(path):
        model = _read(path)
        check(*model)
    return model


def read_arrays(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """Read the arrays of any safetensors file, one of another tool too.

    Args:
        path: of the file.
    Returns:
        {name: array}, read-only views of the file.
    Raises:
        ModelFileError: the file is damaged, or is no safetensors file.
        OSError: the file cannot be opened.
    Example:
        >>> from tempfile import TemporaryDirectory
        >>> config = {"in_features": 2, "out_features": 1, "bias": False}
        >>> arrays = {"weight": np.array([[3.0], [5.0]])}
        >>> with TemporaryDirectory() as folder:
        ...     write_model(f"{folder}/m", "sparse_projection.SparseProjection", config, arrays)
        ...     read_arrays(f"{folder}/m")["weight"].tolist()
        [[3.0], [5.0]]
    """
    with _naming(path):
        return safetensors_file.read(path)[1]


def read_metadata(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read what `save_model` or `write_model` was given as metadata: labels, settings, thresholds.

    Args:
        path: of a model file.
    Returns:
        {name: value}: what JSON can say, and arrays as read-only views of the file; empty when
        the file was written without metadata.
    Raises:
        ModelFileError: anything but a whole model file.
        OSError: the file cannot be opened.
    Example:
        >>> from tempfile import TemporaryDirectory
        >>> config = {"layers": [{"layer": "Input", "previous": [], "config": {}},
        ...                      {"layer": "ReLU", "previous": [0], "config": {}}]}
        >>> with TemporaryDirectory() as folder:
        ...     write_model(f"{folder}/m", "chain", config, {}, {"labels": ["cat", "dog"]})
        ...     read_metadata(f"{folder}/m")
        {'labels': ['cat', 'dog']}
    """
    with _naming(path):
        return _contents(path)[1]


def write_model(
    path: str | os.PathLike[str],
    component: str,
    config: Mapping[str, Any],
    arrays: Mapping[str, np.ndarray],
    metadata: Mapping[str, Any] | None = None,
) -> None:
    """Write a model file: at every moment the path holds the old file or the new one, whole.

    Args:
        path: of the file. What was there is replaced.
        component: `file.Class` of a component, "chain" or "graph".
        config: the constructor arguments that all packages share, as JSON can say them.
        arrays: {name: array} in the canonical layout, all float32 or all float64.
        metadata: {name: value} of the user's own, for `read_metadata`: what JSON can say, and
            arrays of any numbers.
    Raises:
        TypeError: a configuration or metadata that JSON cannot say, or arrays of another dtype.
        ValueError: what `read_model` would refuse.
        OSError: the file cannot be written.
    Example:
        >>> from tempfile import TemporaryDirectory
        >>> config = {"in_features": 2, "out_features": 1, "bias": False}
        >>> arrays = {"weight": np.array([[3.0], [5.0]])}
        >>> with TemporaryDirectory() as folder:
        ...     write_model(f"{folder}/m", "sparse_projection.SparseProjection", config, arrays)
        ...     os.listdir(folder)
        ['m']
    """
    from numpy_infer.format.network import check

    _check_arrays(arrays)
    _check_json(component, config)
    description = {"version": VERSION, "component": component, "config": dict(config)}
    values, own = _parted(metadata or {})
    if values:
        description["metadata"] = values
    everything = {**arrays, **own}
    description["checksum"] = checksum(description, everything)
    text = json.dumps(description, allow_nan=False)
    check(component, json.loads(text)["config"], arrays)
    safetensors_file.write(path, {KEY: text}, everything, read_model)


def _parted(metadata: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The user's metadata as what stands in the header, and as arrays under their names."""
    if not isinstance(metadata, Mapping) or not all(isinstance(name, str) for name in metadata):
        raise TypeError(f"metadata: expected values by their names, got {metadata!r:.99}")
    values, arrays = {}, {}
    for name, value in metadata.items():
        if isinstance(value, np.ndarray):
            if value.dtype not in safetensors_file.NAMES:
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


def _check_json(component: str, config: Mapping[str, Any]) -> None:
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


@contextmanager
def _naming(path: str | os.PathLike[str]) -> Iterator[None]:
    """What does not fit becomes a ModelFileError that names the file."""
    try:
        yield
    except ModelFileError:
        raise
    except UNFIT as error:
        raise ModelFileError(f"{os.fspath(path)}: {error}") from error


def _read(path: str | os.PathLike[str]) -> Model:
    model, _ = _contents(path)
    return Model(model.component, *todays(*model))


def _contents(path: str | os.PathLike[str]) -> tuple[Model, dict[str, Any]]:
    """The model, as the version that wrote it says it, and the user's metadata."""
    metadata, arrays = safetensors_file.read(path)
    if KEY not in metadata:
        raise ValueError(f"expected {KEY!r} in the metadata: the file holds arrays, no model")
    description = safetensors_file.parse_json(metadata[KEY], f"the metadata's {KEY!r}")
    return _checked(description, arrays)


def _checked(
    description: dict[str, Any], arrays: dict[str, np.ndarray]
) -> tuple[Model, dict[str, Any]]:
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
    _check_arrays(own)
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
    return Model(component, config, own), {**values, **others}


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


def _check_arrays(arrays: Mapping[str, np.ndarray]) -> None:
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
