"""The file that a task leaves: one line of JSON, then the bytes of every array.

An .npz file holds each array in a file of its own. The report's tens of thousands of small arrays
take twenty-five times as long to write and to read in that way.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np


def save(path: Path, header: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> None:
    """Write arrays, none of objects, and a header that JSON can hold."""
    layouts = [(name, array.dtype.str, array.shape) for name, array in arrays.items()]
    with path.open("wb") as file:
        file.write(json.dumps({"header": header, "arrays": layouts}).encode() + b"\n")
        for array in arrays.values():
            file.write(array.tobytes())


def load(path: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The header and the arrays, which cannot be written to.

    Raises:
        OSError: no file. ValueError: one that was cut off, or is another's.
    """
    line, _, data = path.read_bytes().partition(b"\n")
    described = json.loads(line)
    arrays, start = {}, 0
    for name, dtype, shape in described["arrays"]:
        count = int(np.prod(shape))
        stop = start + count * np.dtype(dtype).itemsize
        if stop > len(data):
            raise ValueError(f"arrays: expected {stop} bytes or more, got {len(data)}")
        arrays[name] = np.frombuffer(data[start:stop], dtype).reshape(shape)
        start = stop
    return described["header"], arrays
