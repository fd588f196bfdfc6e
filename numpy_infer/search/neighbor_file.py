"""The file of a neighbor memory, written, and read and checked."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from numpy_infer.search.index_file import read_index, write_index

DTYPES = ("float32", "float64")
UNIT = 1e-3  # the length of a stored vector is at most 1 + UNIT


def write_neighbors(
    path: str | os.PathLike[str],
    kind: str,
    config: Mapping[str, Any],
    defaults: Mapping[str, Any],
    arrays: Mapping[str, np.ndarray],
    load: Callable[[str], Any],
) -> None:
    """Write a file as `write_index` does, without the options that are as they are by default.

    Files that hold default options alone are those of versions that had no options.
    """
    changed = {name: value for name, value in config.items() if value != defaults[name]}
    write_index(path, kind, changed, arrays, load)


def read_neighbors(
    path: str | os.PathLike[str], kind: str, defaults: Mapping[str, Any]
) -> tuple[dict[str, Any], np.ndarray, np.ndarray | None]:
    """The configuration, the vectors, (n, dim), and their labels, (n,), or None without labels.

    TypeError or ValueError unless the vectors have length 1 at most, and all of them a label.
    """
    config, arrays = read_index(path, kind, ("vectors",), optional=("labels",))
    vectors, labels = arrays["vectors"], arrays.get("labels")
    if vectors.ndim != 2 or str(vectors.dtype) not in DTYPES:
        raise ValueError(f"vectors: expected a table, got {vectors.dtype}{vectors.shape}")
    if not config.keys() <= defaults.keys():
        raise ValueError(f"config: expected {', '.join(defaults)}, got {config!r:.99}")
    squares = np.einsum("ij,ij->i", vectors, vectors, dtype=np.float64)
    if not np.all(squares < (1 + UNIT) ** 2):
        raise ValueError("vectors: expected rows of length 1 at most, got others")
    if labels is not None:
        good = labels.dtype == np.int64 and labels.shape == vectors.shape[:1]
        if not (good and len(labels) and labels.min() >= 0):
            got = f"{labels.dtype}{labels.shape}"
            raise ValueError(f"labels: expected int64 from 0 up for each vector, got {got}")
    return config, vectors, labels
