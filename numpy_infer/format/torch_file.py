"""The tensors of a file that `torch.save` wrote, read and written without PyTorch.

A file is a zip archive of a pickle, `data.pkl`, and the bytes of each storage, `data/KEY`; before
PyTorch 1.6 it was several pickles, and the storages behind them. The pickle is read without running
code: it may name the functions that rebuild tensors, containers, and nothing else. Arrays are views
of the mapped file.
"""

from __future__ import annotations

import math
import struct
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from numpy_infer.format.array_pickle import (
    CONTAINERS,
    NUMPY,
    PickledArray,
    checked_shape,
    named,
    with_state,
)
from numpy_infer.format.halves import BFLOAT16
from numpy_infer.format.plain_pickle import Name, Reader
from numpy_infer.format.zip_file import Archive

# {torch's name of a dtype: NumPy's, and the name of its storages}
DTYPES: dict[str, tuple[np.dtype, str]] = {
    "float64": (np.dtype("<f8"), "Double"),
    "float32": (np.dtype("<f4"), "Float"),
    "float16": (np.dtype("<f2"), "Half"),
    "bfloat16": (BFLOAT16, "BFloat16"),
    "int64": (np.dtype("<i8"), "Long"),
    "int32": (np.dtype("<i4"), "Int"),
    "int16": (np.dtype("<i2"), "Short"),
    "int8": (np.dtype("i1"), "Char"),
    "uint8": (np.dtype("u1"), "Byte"),
    "bool": (np.dtype("?"), "Bool"),
    "complex64": (np.dtype("<c8"), "ComplexFloat"),
    "complex128": (np.dtype("<c16"), "ComplexDouble"),
}
STORAGES = {f"torch.{storage}Storage": dtype for dtype, storage in DTYPES.values()}
TORCH_DTYPES = {
    **{f"torch.{name}": dtype for name, (dtype, _) in DTYPES.items()},
    **{f"torch.uint{bits}": np.dtype(f"<u{bits // 8}") for bits in (16, 32, 64)},
}
UNTYPED = "torch.storage.UntypedStorage"
MAGIC = 0x1950A86A20F9469CFC6C  # the first pickle of a file before PyTorch 1.6
LEGACY_VERSION = 1001
MOST_SHARED = 16  # all tensors together, in sizes of the file


@dataclass
class Storage:
    """The memory of tensors: its key in the file, and how many numbers it has, or bytes."""

    dtype: np.dtype
    key: str
    count: int


@dataclass
class PickledTensor:
    """A tensor: some numbers of a storage."""

    storage: Storage
    dtype: np.dtype
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    def of(self, data: memoryview) -> np.ndarray:
        """The tensor's view of its storage's bytes."""
        count = len(data) // self.dtype.itemsize
        size = math.prod(self.shape)
        last = self.offset + sum(
            (n - 1) * step for n, step in zip(self.shape, self.strides, strict=True)
        )
        if size > count or (size and last >= count):
            raise ValueError(
                f"expected shape {self.shape} in a storage of {count} numbers, "
                f"got its end at {last + 1}"
            )
        if size == 0:
            return np.zeros(self.shape, self.dtype)
        strides = [step * self.dtype.itemsize for step in self.strides]
        begin = self.offset * self.dtype.itemsize
        return np.ndarray(self.shape, self.dtype, data, begin, strides)


KINDS = (PickledArray, PickledTensor)


def _tensor(
    storage: Any, offset: Any, shape: Any, strides: Any, *others: Any, dtype: Any = None
) -> PickledTensor:
    sizes, steps = checked_shape(shape), checked_shape(strides)
    if not isinstance(storage, Storage) or type(offset) is not int or not 0 <= offset < 2**60:
        raise ValueError(f"expected a storage and a place in it, got {offset!r:.99}")
    if len(sizes) != len(steps):
        raise ValueError(f"expected a stride for each axis of {sizes}, got {steps}")
    return PickledTensor(storage, storage.dtype if dtype is None else dtype, offset, sizes, steps)


def _tensor_with_dtype(
    storage: Any, offset: Any, shape: Any, strides: Any, grad: Any, hooks: Any, dtype: Any, *_: Any
) -> PickledTensor:
    if not isinstance(dtype, Name) or dtype.name not in TORCH_DTYPES:
        raise ValueError(f"expected a dtype of numbers, got {getattr(dtype, 'name', dtype)!r:.99}")
    return _tensor(storage, offset, shape, strides, dtype=TORCH_DTYPES[dtype.name])


def _parameter(tensor: Any, *others: Any) -> PickledTensor:
    if not isinstance(tensor, PickledTensor):
        raise ValueError(f"expected a tensor, got {type(tensor).__name__}")
    return tensor


def _size(sizes: Any) -> tuple[int, ...]:
    return checked_shape(sizes)


NAMES: dict[str, Callable[..., Any] | None] = {
    **CONTAINERS,
    **NUMPY,
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_tensor_v3": _tensor_with_dtype,
    "torch._utils._rebuild_parameter": _parameter,
    "torch._utils._rebuild_parameter_with_state": _parameter,
    "torch.Size": _size,
    "torch.storage.UntypedStorage": None,
    **dict.fromkeys(STORAGES),
    **dict.fromkeys(TORCH_DTYPES),
}


def _storage(reference: Any) -> Storage:
    """The storage that a persistent id names: ("storage", class, key, device, count)."""
    if not isinstance(reference, tuple) or len(reference) < 5 or reference[0] != "storage":
        raise ValueError(f"expected a storage, got {reference!r:.99}")
    _, kind, key, _, count = reference[:5]
    name = kind.name if isinstance(kind, Name) else ""
    dtype = np.dtype("u1") if name == UNTYPED else STORAGES.get(name)
    if dtype is None or not isinstance(key, str) or type(count) is not int or count < 0:
        raise ValueError(f"expected a storage, got {name or kind!r:.99}")
    if len(reference) > 5 and reference[5] is not None:
        raise ValueError("expected whole storages, got a view of one")
    return Storage(dtype, key, count)


def read(archive: Archive) -> dict[str, np.ndarray]:
    """The arrays of an archive. ValueError that says what is wrong with it."""
    pickle = next((name for name in archive if name.endswith("/data.pkl")), "data.pkl")
    if pickle not in archive:
        raise ValueError("expected data.pkl in the archive: no file of torch.save")
    folder = pickle.removesuffix("data.pkl")
    order = f"{folder}byteorder"
    if order in archive and bytes(archive.read(order)) != b"little":
        raise ValueError("expected a file of a little-endian machine")
    text = archive.read(pickle)
    value = Reader(text, NAMES, _storage, with_state).read()
    kept: dict[str, memoryview] = {}

    def bytes_of(storage: Storage) -> memoryview:
        if storage.key not in kept:
            member = f"{folder}data/{storage.key}"
            if member not in archive:
                raise ValueError(f"storage {storage.key!r:.99}: expected its bytes, got none")
            kept[storage.key] = archive.read(member)
        return kept[storage.key]

    return _arrays(named(value, len(text), KINDS), bytes_of, archive.size)


def read_legacy(data: memoryview) -> dict[str, np.ndarray]:
    """The arrays of a file that PyTorch before 1.6 wrote."""
    reader = Reader(data, NAMES, _storage, with_state)
    magic, version, _ = reader.read(), reader.read(), reader.read()
    if magic != MAGIC or version != LEGACY_VERSION:
        raise ValueError(f"expected a file of torch.save, got version {version!r:.99}")
    begin = reader.place
    value = reader.read()
    length = reader.place - begin
    keys = reader.read()
    arrays = named(value, length, KINDS)
    storages = {
        one.storage.key: one.storage for one in arrays.values() if isinstance(one, PickledTensor)
    }
    places: dict[str, memoryview] = {}
    for key in keys if isinstance(keys, list) else [None]:
        if not isinstance(key, str) or key not in storages:
            raise ValueError(f"expected the storages of tensors, got {key!r:.99}")
        count = reader.number("q")
        places[key] = reader.take(max(count, 0) * storages[key].dtype.itemsize)

    def bytes_of(storage: Storage) -> memoryview:
        if storage.key not in places:
            raise ValueError(f"storage {storage.key!r:.99}: expected its bytes, got none")
        return places[storage.key]

    return _arrays(arrays, bytes_of, len(data))


def _arrays(
    found: Mapping[str, Any], bytes_of: Callable[[Storage], memoryview], size: int
) -> dict[str, np.ndarray]:
    arrays = {}
    for name, one in found.items():
        if isinstance(one, PickledTensor):
            data = bytes_of(one.storage)
            wanted = one.storage.count * one.storage.dtype.itemsize
            if len(data) != wanted:
                raise ValueError(
                    f"storage {one.storage.key!r:.99}: expected {wanted} bytes, got {len(data)}"
                )
            try:
                arrays[name] = one.of(data)
            except ValueError as error:
                raise ValueError(f"tensor {name!r:.99}: {error}") from error
        else:
            arrays[name] = one.array
    whole = sum(array.nbytes for array in arrays.values())
    if whole > MOST_SHARED * size:
        raise ValueError(f"expected tensors of the file's {size} bytes, got {whole} of shared ones")
    return arrays


def write(file: Any, arrays: Mapping[str, np.ndarray]) -> None:
    """Write an archive that `torch.load(path, weights_only=True)` reads as {name: tensor}."""
    storages = {dtype: name for name, dtype in STORAGES.items()}
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        body = [b"\x80\x02}("]
        for place, (name, array) in enumerate(arrays.items()):
            if array.dtype not in storages:
                raise ValueError(
                    f"array {name!r:.99}: expected a dtype of torch, got {array.dtype}"
                )
            module, _, kind = storages[array.dtype].partition(".")
            strides = [math.prod(array.shape[axis + 1 :]) for axis in range(array.ndim)]
            body += [
                _text(name),
                b"ctorch._utils\n_rebuild_tensor_v2\n((",
                _text("storage"),
                f"c{module}\n{kind}\n".encode(),
                *(_text(str(place)), _text("cpu"), _number(array.size), b"tQ", _number(0)),
                *(b"(", *map(_number, array.shape), b"t(", *map(_number, strides), b"t"),
                b"\x89ccollections\nOrderedDict\n)RtR",
            ]
        archive.writestr("archive/data.pkl", b"".join([*body, b"u."]))
        archive.writestr("archive/byteorder", b"little")
        for place, array in enumerate(arrays.values()):
            with archive.open(f"archive/data/{place}", "w", force_zip64=True) as member:
                member.write(np.ascontiguousarray(array).tobytes())
        archive.writestr("archive/version", b"3\n")


def _text(text: str) -> bytes:
    encoded = text.encode()
    return b"X" + struct.pack("<I", len(encoded)) + encoded


def _number(value: int) -> bytes:
    raw = value.to_bytes(9, "little")
    return b"\x8a\x09" + raw
