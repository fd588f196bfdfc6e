"""Files of weights alone, of every format that is read: which one a file has shows in its bytes."""

from __future__ import annotations

import mmap
import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from numpy_infer.format import (
    array_pickle,
    keras_file,
    npz_file,
    safetensors_file,
    torch_file,
)
from numpy_infer.format.array_pickle import NUMBERS
from numpy_infer.format.atomic_file import replacing
from numpy_infer.format.halves import BFLOAT16
from numpy_infer.format.header import KEY
from numpy_infer.format.safetensors_file import regular_file
from numpy_infer.format.zip_file import Archive

DTYPES = {
    **safetensors_file.DTYPES,
    "BF16": BFLOAT16,
    "C64": np.dtype("<c8"),
}
LARGEST_HEADER = 2**25  # 300,000 arrays
LEGACY_TORCH = b"\x80\x02\x8a\x0a" + torch_file.MAGIC.to_bytes(10, "little")
WRITTEN = (".safetensors", ".npz", ".pt", ".pth")


def read(path: str | os.PathLike[str]) -> tuple[dict[str, np.ndarray], bool]:
    """The arrays of a file, and whether it is a model file, whose layout is canonical.

    ValueError for what is wrong with it, OSError when it cannot be opened, ImportError where h5py
    is needed and missing.
    """
    with open(path, "rb", opener=regular_file) as file:
        start = file.read(16)
        if start[:4] == b"PK\x03\x04":
            return _archive(path), False
        if start[:8] == b"\x89HDF\r\n\x1a\n":
            return keras_file.read(path), False
        if start[:1] == b"\x80" and start[8:9] != b"{":
            data = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
            legacy = start[: len(LEGACY_TORCH)] == LEGACY_TORCH
            return torch_file.read_legacy(data) if legacy else array_pickle.read(data), False
    metadata, arrays = safetensors_file.read(path, DTYPES, LARGEST_HEADER)
    return arrays, KEY in metadata


def check_numbers(arrays: Mapping[str, np.ndarray]) -> None:
    """ValueError for an array of text or of objects."""
    for name, array in arrays.items():
        if array.dtype != BFLOAT16 and array.dtype.kind not in NUMBERS:
            raise ValueError(f"weights: expected numbers in {name:.99}, got {array.dtype}")


def _archive(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """The arrays of a zip archive: of NumPy's, or of PyTorch's."""
    archive = Archive(path)
    if any(name.endswith("data.pkl") for name in archive):
        return torch_file.read(archive)
    return npz_file.read(archive)


def write(path: str | os.PathLike[str], arrays: Mapping[str, np.ndarray]) -> None:
    """Write a file of the format that its name's ending says.

    ValueError for an ending that is not written, or arrays that its format cannot hold.
    """
    name = os.fspath(path)
    if not name.endswith(WRITTEN):
        hint = "; a Keras model's own save_weights writes it" if name.endswith(".h5") else ""
        raise ValueError(f"path: expected an ending of {', '.join(WRITTEN)}, got {name}{hint}")
    check_numbers(arrays)
    if name.endswith(".safetensors"):
        safetensors_file.write(path, {}, arrays, read, DTYPES, LARGEST_HEADER)
        return
    writer: Any = npz_file.write if name.endswith(".npz") else torch_file.write
    with replacing(path, read) as file:
        writer(file, arrays)
