"""Predictions for more inputs than fit into memory: batch after batch, joined or into a file.

A net gives one array, a list of them, as a `FeedbackNetwork`, or named ones, as a memory.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from numpy_infer.format.prediction_files import Outputs, joined, written, zipped
from numpy_infer.support.checks import check_count, check_not_empty, check_rank
from numpy_infer.support.layer import Layer
from numpy_infer.support.sparse_matrix import by_rows, checked_matrix, rows_of


def predict(
    net: Sequence[Layer] | Layer,
    x: Any,
    *,
    batch_size: int = 1024,
    output: str | os.PathLike[str] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Any:
    """The net's output for every row of x, computed batch by batch.

    Args:
        net: what `load_model` returns, or a layer.
        x: (rows, ...), in memory or mapped from a file of any size: one batch is held at a time.
            Or a CSR or CSC matrix, as for `SparseProjection`.
        batch_size: rows of a batch, at least 1.
        output: the path of a file for the results, which is written as a whole or not at all: one
            array goes into an .npy file, several into an .npz file, by their names or as output_0,
            output_1, and so on. None keeps the results in memory.
        progress: called after each batch with the number of rows done and that of all rows.
    Returns:
        What the net gives, an array, a list, a dict or a named tuple of them, each with a row for
        each row of x. With `output`, the file as `numpy.load` opens it: an .npy file is mapped and
        read-only.
    Raises:
        TypeError: an x that is neither an array nor sparse, or a net whose output is no array.
        ValueError: no layers, no rows, a batch_size below 1, another ending of `output`, or a net
            that does not give a row for each row of x: it needs its input as a whole, so call it
            yourself.
        OSError: `output` cannot be written.
    Example:
        >>> from numpy_infer import Input, ReLU
        >>> predict(ReLU(Input()), np.array([[-1.0], [2.0], [3.0]]), batch_size=2).tolist()
        [[0.0], [2.0], [3.0]]
    """
    last = _last(net)
    if isinstance(x, np.ndarray):
        check_rank("x", x, ndim=None)
    elif hasattr(x, "indptr"):
        x = by_rows(checked_matrix("x", x))
    else:
        raise TypeError(f"x: expected a numpy.ndarray or sparse, got {type(x).__name__}")
    check_not_empty("x", x)
    batch_size = check_count("batch_size", batch_size)
    ending = None if output is None else os.fspath(output)[-4:]
    if ending not in (None, ".npy", ".npz"):
        raise ValueError(f"output: expected a path ending in .npy or .npz, got {output!r}")
    batches = _Batches(last, x, batch_size, progress)
    if output is None:
        return batches.like(joined(iter(batches), x.shape[0]))
    if ending == ".npz":
        return zipped(iter(batches), x.shape[0], output)
    return written(iter(batches), x.shape[0], output)


def _last(net: Sequence[Layer] | Layer) -> Layer:
    if isinstance(net, Layer):
        return net
    if len(net) == 0:
        raise ValueError("net: expected at least one layer, got none")
    if not isinstance(net[-1], Layer):
        raise TypeError(f"net: expected layers, got {type(net[-1]).__name__}")
    return net[-1]


class _Batches:
    """The named outputs of each batch, each of one shape but for the rows, and of one dtype."""

    def __init__(
        self, net: Layer, x: Any, size: int, progress: Callable[[int, int], None] | None
    ) -> None:
        self.net, self.x, self.size, self.progress = net, x, size, progress
        self.first: Any = None

    def __iter__(self) -> Iterator[Outputs]:
        total = self.x.shape[0]
        kinds: dict[str, tuple[tuple[int, ...], np.dtype]] = {}
        for start in range(0, total, self.size):
            end = min(start + self.size, total)
            given = self.net(rows_of(self.x, start, end))
            if self.first is None:
                self.first = given
            found = _named(given)
            kinds = kinds or {name: (one.shape[1:], one.dtype) for name, one in found.items()}
            for name, (features, dtype) in kinds.items():
                part, wanted = found[name], (end - start, *features)
                if part.shape != wanted or part.dtype != dtype:
                    what = "" if name == "output" else f"{name} of "
                    raise ValueError(
                        f"net: expected {what}shape {wanted} and {dtype} for {end - start} rows, "
                        f"got {part.shape} and {part.dtype}"
                    )
            yield found
            if self.progress is not None:
                self.progress(end, total)

    def like(self, outputs: Outputs) -> Any:
        """These outputs, of all rows, in the form that the net gives."""
        if isinstance(self.first, np.ndarray):
            return outputs["output"]
        if hasattr(self.first, "_fields"):
            return type(self.first)(*outputs.values())
        return outputs if isinstance(self.first, dict) else list(outputs.values())


def _named(given: Any) -> Outputs:
    """{name: array} of what a net gives; "output" for one array."""
    if isinstance(given, np.ndarray) and given.ndim:
        return {"output": given}
    if isinstance(given, dict) and all(isinstance(one, np.ndarray) for one in given.values()):
        return given
    if (
        isinstance(given, list | tuple)
        and given
        and all(isinstance(one, np.ndarray) for one in given)
    ):
        fields = getattr(given, "_fields", [f"output_{place}" for place in range(len(given))])
        return dict(zip(fields, given, strict=True))
    raise TypeError(f"net: expected arrays for each batch, got {type(given).__name__}")
