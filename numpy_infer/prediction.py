"""Predictions for more inputs than fit into memory: batch after batch, joined or into a file."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from itertools import chain

import numpy as np

from numpy_infer.atomic_file import replacing
from numpy_infer.checks import check_count, check_not_empty, check_rank
from numpy_infer.layer import Layer


def predict(
    net: Sequence[Layer] | Layer,
    x: np.ndarray,
    *,
    batch_size: int = 1024,
    output: str | os.PathLike[str] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> np.ndarray:
    """The net's output for every row of x, (rows, ...), computed batch by batch.

    net: what `load_model` returns, or a layer. x: (rows, ...), in memory or mapped from a file of
    any size: one batch is held at a time. With `output`, a path ending in .npy, the results go
    there, the whole file or nothing, and come back mapped, read-only. `progress` is called with
    the rows done and the rows in all after each batch.

    ValueError for no layers, no rows, a batch_size below 1, another ending of `output` or a net
    that does not give one row for each; TypeError for a net whose output is no array: it looks at
    its input as a whole, so call it yourself. OSError when `output` cannot be written.
    """
    last = _last(net)
    if not isinstance(x, np.ndarray):
        raise TypeError(f"x: expected a numpy.ndarray, got {type(x).__name__}")
    check_rank("x", x, ndim=None)
    check_not_empty("x", x)
    if isinstance(batch_size, np.integer):
        batch_size = int(batch_size)
    batch_size = check_count("batch_size", batch_size)
    if output is not None and not os.fspath(output).endswith(".npy"):
        raise ValueError(f"output: expected a path ending in .npy, got {os.fspath(output)!r}")
    parts = _parts(last, x, batch_size, progress)
    return _joined(parts, len(x)) if output is None else _written(parts, len(x), output)


def _last(net: Sequence[Layer] | Layer) -> Layer:
    if isinstance(net, Layer):
        return net
    if len(net) == 0:
        raise ValueError("net: expected at least one layer, got none")
    if not isinstance(net[-1], Layer):
        raise TypeError(f"net: expected layers, got {type(net[-1]).__name__}")
    return net[-1]


def _parts(
    net: Layer, x: np.ndarray, batch_size: int, progress: Callable[[int, int], None] | None
) -> Iterator[np.ndarray]:
    """The output of each batch, all of one shape but for the rows, and of one dtype."""
    features, dtype = None, None
    for start in range(0, len(x), batch_size):
        batch = np.asarray(x[start : start + batch_size])  # a plain view, of a memmap too
        part = net(batch)
        if not isinstance(part, np.ndarray):
            raise TypeError(f"net: expected one array for each batch, got {type(part).__name__}")
        if features is None:
            features, dtype = part.shape[1:], part.dtype
        wanted = (len(batch), *features)
        if part.shape != wanted or part.dtype != dtype:
            raise ValueError(
                f"net: expected shape {wanted} and {dtype} for {len(batch)} rows, "
                f"got {part.shape} and {part.dtype}"
            )
        yield part
        if progress is not None:
            progress(start + len(batch), len(x))


def _joined(parts: Iterator[np.ndarray], rows: int) -> np.ndarray:
    first = next(parts)
    joined, done = np.empty((rows, *first.shape[1:]), first.dtype), 0
    for part in chain([first], parts):
        joined[done : done + len(part)] = part
        done += len(part)
    return joined


def _written(parts: Iterator[np.ndarray], rows: int, output: str | os.PathLike[str]) -> np.ndarray:
    with replacing(output) as file:
        for part in parts:
            if file.tell() == 0:
                shape, descr = (rows, *part.shape[1:]), np.lib.format.dtype_to_descr(part.dtype)
                header = {"descr": descr, "fortran_order": False, "shape": shape}
                np.lib.format.write_array_header_1_0(file, header)
            # Not a memmap: a full disk is an error here, and the end of the process there.
            file.write(np.ascontiguousarray(part).data)
    return np.load(output, mmap_mode="r", allow_pickle=False)
