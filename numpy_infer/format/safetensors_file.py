"""The safetensors format: named arrays in one file that can hold no code.

    8 bytes     length of the header, little-endian
    header      JSON: {"__metadata__": {text: text}, name: {"dtype", "shape", "data_offsets"}}
    the rest    the arrays' bytes, end to end

Reading maps the file into memory and believes nothing that it says. Writing is atomic.

Source: the format's description at https://github.com/huggingface/safetensors.
"""

from __future__ import annotations

import json
import mmap
import os
import re
import stat
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

import numpy as np

from numpy_infer.format.atomic_file import replacing

DTYPES: dict[str, np.dtype] = {
    "F64": np.dtype("<f8"),
    "F32": np.dtype("<f4"),
    "F16": np.dtype("<f2"),
    "I64": np.dtype("<i8"),
    "I32": np.dtype("<i4"),
    "I16": np.dtype("<i2"),
    "I8": np.dtype("i1"),
    "U64": np.dtype("<u8"),
    "U32": np.dtype("<u4"),
    "U16": np.dtype("<u2"),
    "U8": np.dtype("u1"),
    "BOOL": np.dtype("?"),
}
LARGEST_HEADER = 2**21  # of a model file: parsed, it takes up to eighty times its length
LARGEST_AXIS = 2**48
TEXTS = re.compile(rb'"(?:[^"\\]|\\.)*"', re.DOTALL)
MOST_AXES = 32  # what the oldest NumPy can hold


def read(
    path: str | os.PathLike[str],
    dtypes: Mapping[str, np.dtype] = DTYPES,
    largest_header: int = LARGEST_HEADER,
) -> tuple[dict[str, str], dict[str, np.ndarray]]:
    """The metadata and the arrays, read-only views of the mapped file.

    dtypes: those that the arrays may have. largest_header: its bytes.
    ValueError that says what is wrong with the file, before any memory is taken for it. OSError
    when it cannot be opened. The file must not be cut while the arrays are in use; `write` never
    does, it puts a new file in its place.
    """
    with open(path, "rb", opener=regular_file) as file:
        size = os.fstat(file.fileno()).st_size
        if size < 8:
            raise ValueError(f"expected at least 8 bytes, got {size}")
        length = int.from_bytes(file.read(8), "little")
        most = min(size - 8, largest_header)
        if not 2 <= length <= most:
            raise ValueError(
                f"expected a header of 2..{most} bytes in "
                f"a file of {size}, got {length}: cut off, or no safetensors file"
            )
        text = file.read(length)
        if length > LARGEST_HEADER:
            _check_brackets(text)
        header = _parse(text)
        metadata = _checked_metadata(header.pop("__metadata__", {}))
        places = [(name, *_checked_entry(name, entry, dtypes)) for name, entry in header.items()]
        _check_places(places, size - 8 - length)
        data = mmap.mmap(file.fileno(), size, access=mmap.ACCESS_READ)
    arrays = {
        name: np.ndarray(shape, dtype, data, 8 + length + begin)
        for name, dtype, shape, begin, _ in places
    }
    return metadata, arrays


def write(
    path: str | os.PathLike[str],
    metadata: Mapping[str, str],
    arrays: Mapping[str, np.ndarray],
    check: Callable[[str], Any] | None = None,
    dtypes: Mapping[str, np.dtype] = DTYPES,
    largest_header: int = LARGEST_HEADER,
) -> None:
    """Write a file, or leave the one that is there as it was.

    check: as `replacing` takes it, `read` when it is left out. dtypes, largest_header: as in
    `read`. ValueError for a dtype that the
    format does not have and for what `check` refuses, OSError when it cannot be written.
    """
    header: dict[str, Any] = {"__metadata__": dict(metadata)}
    offset = 0
    names = {dtype: name for name, dtype in dtypes.items()}
    for name, array in arrays.items():
        if array.dtype not in names:
            raise ValueError(f"arrays: expected one of {', '.join(dtypes)}, got {array.dtype}")
        end = offset + array.nbytes
        shape = list(array.shape)
        header[name] = {"dtype": names[array.dtype], "shape": shape, "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # so that the arrays are aligned
    if len(text) > largest_header:
        raise ValueError(
            f"arrays: expected a header of at most {largest_header} bytes, got {len(text)}"
        )
    with replacing(path, check or read) as file:
        file.write(len(text).to_bytes(8, "little"))
        file.write(text)
        for array in arrays.values():
            file.write(np.ascontiguousarray(array).data)


def regular_file(path: str, flags: int) -> int:
    # Without O_NONBLOCK a named pipe would wait for a writer.
    descriptor = os.open(path, flags | getattr(os, "O_NONBLOCK", 0))
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise ValueError("expected a regular file")
    return descriptor


def _check_brackets(text: bytes) -> None:
    """ValueError for a header with more brackets than arrays need.

    Each empty list or object costs twenty-five times its bytes once it is parsed, an array's entry
    ten times. Metadata is text, whose brackets are none.
    """
    bare = TEXTS.sub(b"", text)
    arrays = bare.count(b"{")
    if bare.count(b"[") > 2 * arrays or len(bare) < 12 * (arrays - 2):
        raise ValueError("expected a header of arrays, got more brackets than they need")


def _parse(text: bytes) -> dict[str, Any]:
    if text[:1] != b"{":
        raise ValueError(f"expected a header that begins with '{{', got {text[:1]!r}")
    try:
        return parse_json(text.decode(), "the header")
    except UnicodeDecodeError as error:
        raise ValueError(f"expected a header in UTF-8, got {error}") from None


def parse_json(text: str, what: str) -> dict[str, Any]:
    """A JSON object; ValueError for anything else, for keys given twice and for NaN."""
    try:
        value = json.loads(text, object_pairs_hook=_unique, parse_constant=_refuse)
        if "\\ud" in text.lower():  # half of a surrogate pair is no text, but JSON can say it
            json.dumps(value, ensure_ascii=False).encode()
    except RecursionError:
        raise ValueError(f"expected {what} nested less deeply") from None
    except ValueError as error:  # a UnicodeEncodeError too
        raise ValueError(f"expected {what} in JSON, got {error}") from None
    if not isinstance(value, dict):
        raise ValueError(f"expected {what} to be an object, got {type(value).__name__}")
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key that is given twice")
    return found


def _refuse(constant: str) -> NoReturn:
    raise ValueError(constant)


def _checked_metadata(metadata: Any) -> dict[str, str]:
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        raise ValueError("expected __metadata__ to hold text alone")
    return metadata


def _checked_entry(
    name: str, entry: Any, dtypes: Mapping[str, np.dtype]
) -> tuple[np.dtype, tuple[int, ...], int, int]:
    """dtype, shape, begin and end of an array."""
    if not isinstance(entry, dict) or entry.keys() != {"dtype", "shape", "data_offsets"}:
        raise ValueError(f"array {name!r:.99}: expected dtype, shape and data_offsets")
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or dtype not in dtypes:
        raise ValueError(
            f"array {name!r:.99}: expected one of {', '.join(dtypes)}, got {dtype!r:.99}"
        )
    if not _are_sizes(shape) or len(shape) > MOST_AXES or not all(n < LARGEST_AXIS for n in shape):
        raise ValueError(f"array {name!r:.99}: expected a shape, got {shape!r:.99}")
    if not _are_sizes(offsets) or len(offsets) != 2:
        raise ValueError(f"array {name!r:.99}: expected two data_offsets, got {offsets!r:.99}")
    size = dtypes[dtype].itemsize
    for axis in shape:
        size *= axis
    begin, end = offsets
    if end - begin != size:
        raise ValueError(
            f"array {name!r:.99}: expected {size} bytes for shape {shape!r:.99}, "
            f"got data_offsets {offsets}"
        )
    return dtypes[dtype], tuple(shape), begin, end


def _are_sizes(values: Any) -> bool:
    return isinstance(values, list) and all(type(n) is int and 0 <= n < 2**63 for n in values)


def _check_places(places: list[tuple[str, np.dtype, tuple[int, ...], int, int]], size: int) -> None:
    """The arrays fill the file: none overlap, no byte belongs to none."""
    reached = 0
    for name, _, _, begin, end in sorted(places, key=lambda place: place[3:]):
        if begin != reached:
            raise ValueError(
                f"array {name!r:.99}: expected to begin at byte {reached}, got {begin}"
            )
        reached = end
    if reached != size:
        raise ValueError(f"expected {reached} bytes of arrays, got {size}")
