"""Model files: a model's arrays and what to build of them, in one safetensors file.

The metadata's entry `fourfold` is a JSON string: format version, component, configuration, the
user's own metadata, and a checksum of all of it. docs/model_files.md is the description.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from numpy_infer.format import safetensors_file
from numpy_infer.format.header import (
    KEY,
    METADATA,
    UNFIT,
    VERSION,
    check_arrays,
    check_json,
    checked_description,
    checksum,
    metadata_arrays,
    parted_metadata,
)
from numpy_infer.format.older_files import todays

if TYPE_CHECKING:
    from numpy_infer.support.net import Net

__all__ = [
    "KEY",
    "METADATA",
    "VERSION",
    "Model",
    "ModelFileError",
    "checksum",
    "load_model",
    "metadata_arrays",
    "read_arrays",
    "read_metadata",
    "read_model",
    "write_model",
]


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

    check_arrays(arrays)
    check_json(component, config)
    description = {"version": VERSION, "component": component, "config": dict(config)}
    values, own = parted_metadata(metadata or {})
    if values:
        description["metadata"] = values
    everything = {**arrays, **own}
    description["checksum"] = checksum(description, everything)
    text = json.dumps(description, allow_nan=False)
    check(component, json.loads(text)["config"], arrays)
    safetensors_file.write(path, {KEY: text}, everything, read_model)


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
    component, config, of_model, own = checked_description(description, arrays)
    return Model(component, config, of_model), own
