"""A .npz file of arrays with a header of what JSON can say. Nothing in it can be code."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np


def write(path: str | Path, header: Any, arrays: Mapping[str, np.ndarray]) -> None:
    """Write a file that `read` reads; no array is called `header`.

    Raises:
        TypeError: a header that JSON cannot say. ValueError: arrays of objects. OSError: a file
            that cannot be written.
    """
    text = np.array(json.dumps(header))
    with Path(path).open("wb") as file:
        np.savez(file, allow_pickle=False, header=text, **arrays)


def read(path: str | Path) -> tuple[Any, dict[str, np.ndarray]]:
    """The header and the arrays of a file.

    Raises:
        KeyError: a file without a header. ValueError, EOFError, zipfile.BadZipFile: a damaged one.
            OSError: one that cannot be read.
    """
    with np.load(path, allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    return json.loads(str(arrays.pop("header"))), arrays
