"""The file of a small world index, read and parted into points, lengths and graph."""

from __future__ import annotations

import os
from typing import Any, NamedTuple

import numpy as np

from numpy_infer.search.index_file import read_index
from numpy_infer.search.small_world_graph import SmallWorldGraph
from numpy_infer.support.checks import check_count, check_floating


class StoredIndex(NamedTuple):
    """What a file holds."""

    dim: int
    config: dict[str, Any]
    points: np.ndarray  # (n, dim · channels)
    lengths: np.ndarray | None  # (n,), of series that are not all whole
    graph: SmallWorldGraph


def read_small_world(path: str | os.PathLike[str], kind: str) -> StoredIndex:
    """The parts of an index in a file, not yet checked against its metric and degree.

    TypeError or ValueError for anything but a file of such parts.
    """
    config, arrays = read_index(path, kind, ("points", *SmallWorldGraph.NAMES), ("steps",))
    points, lengths = arrays.pop("points"), arrays.pop("steps", None)
    check_floating("points", points, ndim=2)
    channels = check_count("channels", config.get("channels", 1))
    if points.shape[1] % channels:
        raise ValueError(f"points: expected {channels} channels, got shape {points.shape}")
    graph = SmallWorldGraph(**arrays)
    return StoredIndex(points.shape[1] // channels, config, points, lengths, graph)
