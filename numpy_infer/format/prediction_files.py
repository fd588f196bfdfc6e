"""Where the outputs of all batches go: joined in memory, into an .npy file or an .npz file."""

from __future__ import annotations

import os
import shutil
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any, BinaryIO

import numpy as np

from numpy_infer.format.atomic_file import replacing

Outputs = dict[str, np.ndarray]


def joined(parts: Iterator[Outputs], rows: int) -> Outputs:
    """The parts of all batches, `rows` rows together, in memory."""
    joined: Outputs = {}
    done = 0
    for part in parts:
        for name, one in part.items():
            if name not in joined:
                joined[name] = np.empty((rows, *one.shape[1:]), one.dtype)
            joined[name][done : done + len(one)] = one
        done += len(one)
    return joined


def _write_header(file: BinaryIO, rows: int, part: np.ndarray) -> None:
    shape, descr = (rows, *part.shape[1:]), np.lib.format.dtype_to_descr(part.dtype)
    header = {"descr": descr, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, header)


def written(parts: Iterator[Outputs], rows: int, output: str | os.PathLike[str]) -> np.ndarray:
    """The one output of all batches in an .npy file, which is mapped."""
    with replacing(output) as file:
        for part in parts:
            if part.keys() != {"output"}:
                raise ValueError(
                    f"output: expected a path ending in .npz for {', '.join(part)}, got {output!r}"
                )
            if file.tell() == 0:
                _write_header(file, rows, part["output"])
            # Not a memmap: a full disk is an error here, and the end of the process there.
            file.write(np.ascontiguousarray(part["output"]).data)
    mapped: np.ndarray = np.load(output, mmap_mode="r", allow_pickle=False)
    return mapped


def zipped(parts: Iterator[Outputs], rows: int, output: str | os.PathLike[str]) -> Any:
    """The outputs of all batches in an .npz file, by their names, which is opened."""
    folder = os.path.dirname(os.path.realpath(output))
    with replacing(output) as file, ExitStack() as stack:
        # A zip file takes one array after the other: until then each grows in a draft.
        drafts: dict[str, Any] = {}
        for part in parts:
            for name, one in part.items():
                if name not in drafts:
                    drafts[name] = stack.enter_context(tempfile.TemporaryFile(dir=folder))
                    _write_header(drafts[name], rows, one)
                drafts[name].write(np.ascontiguousarray(one).data)
        with zipfile.ZipFile(file, "w") as archive:
            for name, draft in drafts.items():
                draft.seek(0)
                with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                    shutil.copyfileobj(draft, member, 2**20)
    return np.load(output, allow_pickle=False)
