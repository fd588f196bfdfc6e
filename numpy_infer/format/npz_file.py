"""Arrays in .npz archives: no pickles, and nothing that costs more than the file's own size."""

from __future__ import annotations

import ast
import zipfile
from collections.abc import Mapping
from typing import Any

import numpy as np

from numpy_infer.format.array_pickle import array_of, checked_shape, number_dtype
from numpy_infer.format.halves import BFLOAT16
from numpy_infer.format.zip_file import Archive

LONGEST_NAME = 2**16 - 5  # bytes, before ".npy"
LONGEST_HEADER = 10_000  # characters: what NumPy itself takes for safe


def read(archive: Archive) -> dict[str, np.ndarray]:
    """The arrays of an archive. ValueError that says what is wrong with it."""
    arrays = {}
    for member in archive:
        name = member.removesuffix(".npy")
        try:
            arrays[name] = parsed(archive.read(member))
        except ValueError as error:
            raise ValueError(f"array {name!r:.99}: {error}") from error
    return arrays


def parsed(data: memoryview) -> np.ndarray:
    """The array in the bytes of an .npy file."""
    if bytes(data[:6]) != b"\x93NUMPY" or len(data) < 12:
        raise ValueError("expected the beginning of an .npy file")
    width = 2 if data[6] == 1 else 4
    begin = 8 + width + int.from_bytes(data[8 : 8 + width], "little")
    text = bytes(data[8 + width : min(begin, 8 + width + LONGEST_HEADER + 1)])
    if len(text) > LONGEST_HEADER:
        raise ValueError(f"expected a header of at most {LONGEST_HEADER} characters")
    try:
        header = ast.literal_eval(text.decode("latin-1").strip())
    except (SyntaxError, ValueError, MemoryError, RecursionError) as error:
        raise ValueError("expected a header of an .npy file") from error
    if not isinstance(header, dict) or header.keys() != {"descr", "fortran_order", "shape"}:
        raise ValueError("expected descr, fortran_order and shape in the header")
    kind = header["descr"]
    dtype = BFLOAT16 if kind == BFLOAT16.descr else number_dtype(kind)
    shape, order = checked_shape(header["shape"]), "F" if header["fortran_order"] else "C"
    return array_of(data[begin:], dtype, shape, order)


def write(file: Any, arrays: Mapping[str, np.ndarray]) -> None:
    """Write an archive that `numpy.load` reads."""
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for name, array in arrays.items():
            if len(name.encode()) > LONGEST_NAME:
                raise ValueError(f"weights: expected a name that .npz can hold, got {name!r:.99}")
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, np.asanyarray(array), allow_pickle=False)
