"""Pickled arrays: NumPy arrays in containers of any depth, read without running code."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from numpy_infer.format.plain_pickle import Reader
from numpy_infer.format.safetensors_file import LARGEST_AXIS, MOST_AXES

MOST_DEEP = 16  # containers in containers
LONGEST_NAMES = 16  # all names together, in sizes of the pickle
NUMBERS = "biufc"


@dataclass
class PickledDtype:
    """A dtype, before the pickle has told its byte order."""

    dtype: np.dtype


@dataclass
class PickledArray:
    """An array, before the pickle has told its state."""

    array: np.ndarray = field(default_factory=lambda: np.zeros(0))


def number_dtype(text: Any) -> np.dtype:
    """The dtype of numbers that a file names. ValueError for every other."""
    try:
        found = np.dtype(text) if isinstance(text, str) and len(text) < 16 else None
    except (TypeError, ValueError, SyntaxError):
        found = None
    if found is None or found.kind not in NUMBERS:
        raise ValueError(f"expected a dtype of numbers, got {text!r:.99}")
    return found


def checked_shape(shape: Any) -> tuple[int, ...]:
    """The sizes of axes that a file gives. ValueError for anything else."""
    sizes = tuple(shape) if isinstance(shape, list | tuple) else (-1,)
    if len(sizes) > MOST_AXES or not all(type(n) is int and 0 <= n < LARGEST_AXIS for n in sizes):
        raise ValueError(f"expected a shape, got {shape!r:.99}")
    return sizes


def array_of(data: Any, dtype: np.dtype, shape: Any, order: str = "C") -> np.ndarray:
    """A read-only array of these bytes. ValueError when they are too few or too many."""
    sizes = checked_shape(shape)
    raw = data.encode("latin-1") if isinstance(data, str) else data
    wanted = math.prod(sizes) * dtype.itemsize
    if not isinstance(raw, bytes | memoryview) or len(raw) != wanted:
        size = len(raw) if isinstance(raw, bytes | memoryview) else type(raw).__name__
        raise ValueError(f"expected {wanted} bytes for shape {sizes}, got {size}")
    return np.frombuffer(raw, dtype).reshape(sizes, order="F" if order == "F" else "C")


def _dtype(text: Any, *flags: Any) -> PickledDtype:
    return PickledDtype(number_dtype(text))


def _empty(kind: Any, shape: Any, code: Any) -> PickledArray:
    return PickledArray()


def _from_buffer(data: Any, dtype: PickledDtype, shape: Any, order: Any) -> PickledArray:
    return PickledArray(array_of(data, dtype.dtype, shape, order))


def _scalar(dtype: PickledDtype, data: Any) -> PickledArray:
    return PickledArray(array_of(data, dtype.dtype, ()))


def _encoded(text: Any, encoding: Any = "latin1") -> bytes:
    """Bytes, as protocols before 3 say them."""
    if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
        raise ValueError(f"expected bytes as latin1, got {encoding!r:.99}")
    return text.encode("latin-1")


def with_state(value: Any, state: Any) -> Any:
    """A dtype with its byte order, an array with its shape, dtype and bytes."""
    if isinstance(value, PickledDtype):
        if value.dtype.itemsize > 1 and isinstance(state, tuple) and state[1] in ("<", ">"):
            value.dtype = value.dtype.newbyteorder(state[1])
        return value
    if isinstance(value, PickledArray):
        _, shape, dtype, fortran, data = state
        value.array = array_of(data, dtype.dtype, shape, "F" if fortran else "C")
        return value
    raise ValueError(f"expected no state, got one of {type(value).__name__}")


def _no_bytes() -> bytes:
    """Bytes without any, as protocols before 3 say them."""
    return b""


def ordered(*pairs: Any) -> dict[Any, Any]:
    """An OrderedDict, whose entries follow."""
    if pairs:
        raise ValueError("expected an OrderedDict without arguments")
    return {}


Calls = dict[str, Callable[..., Any] | None]
RECONSTRUCTIONS: Calls = {"_reconstruct": _empty, "scalar": _scalar}
CONTAINERS: Calls = {
    "collections.OrderedDict": ordered,
    "_codecs.encode": _encoded,
    "__builtin__.bytes": _no_bytes,
}
NUMPY: Calls = {
    "numpy.dtype": _dtype,
    "numpy.ndarray": None,
    **{
        f"numpy.{core}.multiarray.{name}": call
        for core in ("core", "_core")
        for name, call in RECONSTRUCTIONS.items()
    },
    **{f"numpy.{core}.numeric._frombuffer": _from_buffer for core in ("core", "_core")},
}


def named(value: Any, length: int, kinds: tuple[type, ...] = (PickledArray,)) -> dict[str, Any]:
    """The arrays in nested containers: keys and places joined with dots. Other values are left out.

    length: of the pickle. kinds: the classes of what is taken. ValueError for containers that stand
    in themselves or would make more or longer names than the pickle's size allows.
    """
    found: dict[str, Any] = {}
    spent = 0
    for name, one in _walk(value, "", 0):
        spent += len(name) + 1
        if spent > LONGEST_NAMES * length:
            raise ValueError("expected each container once, got names longer than the file")
        if isinstance(one, kinds):
            if name in found:
                raise ValueError(f"array {name!r:.99}: expected one of this name, got two")
            found[name] = one
    return found


def _walk(value: Any, name: str, depth: int) -> Iterator[tuple[str, Any]]:
    """Every value in nested containers, with its name, the containers too."""
    yield name, value
    if depth >= MOST_DEEP:
        return
    pairs: Any = ()
    if isinstance(value, Mapping):
        pairs = value.items()
    elif isinstance(value, list | tuple):
        pairs = enumerate(value)
    for key, one in pairs:
        yield from _walk(one, f"{name}.{key}" if name else str(key), depth + 1)


def read(data: memoryview) -> dict[str, np.ndarray]:
    """The arrays of a pickle; one that is in no container is called `array`."""
    value = Reader(data, {**CONTAINERS, **NUMPY}, build=with_state).read()
    return {name or "array": one.array for name, one in named(value, len(data)).items()}
