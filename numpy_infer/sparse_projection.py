"""A projection whose input is dense or sparse, at a cost that grows with the non-zeros.

    y = x·weight + bias

Source: seed topic, sparse input data with Theano.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from numpy_infer.support.checks import (
    check_choice,
    check_dtype,
    check_floating,
    check_integers,
    check_like,
    check_width,
)
from numpy_infer.support.layer import Layer

LAYOUTS = ("csr", "csc")
BLOCK = 2**17  # numbers gathered at a time: what a processor's cache holds
LONG = 768  # numbers that a row of x gathers, on average, from which it gets its own product


@dataclass(frozen=True)
class SparseMatrix:
    """The non-zeros of a matrix, row after row (csr) or column after column (csc).

    data: their values; indices: the column (csr) or row (csc) of each; indptr: where each row
    (csr) or column (csc) begins in them, and where the last one ends. Values of the same place
    add up. SciPy's matrices of these formats have the same attributes and serve as well.
    """

    data: np.ndarray
    indices: np.ndarray
    indptr: np.ndarray
    shape: tuple[int, int]
    layout: str = "csr"

    @classmethod
    def from_dense(cls, array: np.ndarray, layout: str = "csr") -> SparseMatrix:
        """The non-zeros of a dense (rows, columns) array; layout coo means csr here."""
        check_choice("layout", layout, (*LAYOUTS, "coo"))
        lines = array.T if layout == "csc" else array
        places, indices = np.nonzero(lines)
        indptr = np.searchsorted(places, np.arange(len(lines) + 1))
        kept = "csc" if layout == "csc" else "csr"
        return cls(lines[places, indices], indices, indptr, array.shape, kept)


class SparseProjection(Layer):
    """Projects rows of features; those that are not stored cost nothing.

    weight: (in_features, out_features), bias: (out_features,) or None.
    """

    def __init__(self, previous: Layer, weight: np.ndarray, bias: np.ndarray | None = None) -> None:
        super().__init__(previous)
        check_floating("weight", weight, ndim=2)
        if bias is not None:
            check_like("bias", bias, "a row of weight", weight[0])
        self.weight = weight
        self.bias = bias

    @staticmethod
    def array_shapes(
        in_features: int, out_features: int, bias: bool = True
    ) -> dict[str, tuple[int, ...]]:
        """The arrays of a model file, for the configuration that the frameworks share."""
        shapes: dict[str, tuple[int, ...]] = {"weight": (in_features, out_features)}
        return {**shapes, "bias": (out_features,)} if bias else shapes

    def forward(self, x: Any) -> np.ndarray:
        """x: (batch, in_features), an array or a CSR or CSC matrix. Returns (batch, out_features).

        Entries that are stored twice are summed. TypeError for another dtype than the weight's,
        ValueError for a wrong number of features or parts that do not fit.
        """
        sparse = not isinstance(x, np.ndarray)
        values = x
        if sparse:
            x = _checked(x)
            values = x.data
        check_floating("x", values, ndim=1 if sparse else 2)
        check_dtype("x", values, self.weight.dtype)
        check_width("x", x, self.weight.shape[0])
        y = _product(x, self.weight) if sparse else x @ self.weight
        return y if self.bias is None else y + self.bias


def _product(x: SparseMatrix, weight: np.ndarray) -> np.ndarray:
    """x·weight: the weight's rows where x has its non-zeros, times these, summed row by row."""
    data, indices, indptr = (x.data, x.indices, x.indptr) if x.layout == "csr" else _by_rows(x)
    y = np.zeros((x.shape[0], weight.shape[1]), weight.dtype)
    if data.size * weight.shape[1] >= LONG * len(y):
        for sums, (start, end) in zip(y, pairwise(indptr.tolist()), strict=True):
            data[start:end].dot(weight.take(indices[start:end], 0), sums)
        return y
    step = max(1, BLOCK // weight.shape[1])
    # The rows in which a block of non-zeros begins; one row is never divided.
    edges = np.searchsorted(indptr, np.arange(0, indptr[-1], step), side="right") - 1
    for first, last in pairwise(np.unique([*edges, x.shape[0]])):
        starts, end = indptr[first:last], indptr[last]
        products = weight.take(indices[starts[0] : end], axis=0)
        products *= data[starts[0] : end, None]
        # reduceat takes an empty row for the first of the next one.
        filled = starts < indptr[first + 1 : last + 1]
        y[first:last][filled] = np.add.reduceat(products, starts[filled] - starts[0])
    return y


def _by_rows(x: SparseMatrix) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """data, indices and indptr of a CSC matrix as those of a CSR matrix."""
    columns = np.repeat(np.arange(x.shape[1]), np.diff(x.indptr))
    order = np.argsort(x.indices, kind="stable")
    counts = np.bincount(x.indices, minlength=x.shape[0])
    return x.data[order], columns[order], np.concatenate([[0], np.cumsum(counts)])


def by_rows(x: Any) -> SparseMatrix:
    """A CSR or CSC matrix, our own or SciPy's, as a CSR matrix of our own."""
    x = _checked(x)
    if x.layout == "csr":
        return x
    return SparseMatrix(*_by_rows(x), x.shape)


def rows_of(x: Any, start: int, end: int) -> Any:
    """The rows start..end−1 of an array or a CSR matrix, without a copy."""
    if isinstance(x, np.ndarray):
        return np.asarray(x[start:end])  # a plain view, of a memmap too
    first, last = x.indptr[start], x.indptr[end]
    indptr = x.indptr[start : end + 1] - first
    return SparseMatrix(
        x.data[first:last], x.indices[first:last], indptr, (end - start, x.shape[1])
    )


def _checked(x: Any) -> SparseMatrix:
    """The parts of a CSR or CSC matrix, our own or SciPy's; ValueError when they do not fit."""
    layout = getattr(x, "layout", getattr(x, "format", None))
    if layout is None:
        raise TypeError(f"x: expected a numpy.ndarray or a sparse matrix, got {type(x).__name__}")
    check_choice("x", layout, LAYOUTS)
    data, indices, indptr = x.data, x.indices, x.indptr
    check_integers("x", indices, ndim=1)
    check_integers("x", indptr, ndim=1)
    lines, width = x.shape if layout == "csr" else x.shape[::-1]
    ordered = len(indptr) == lines + 1 and indptr[0] == 0 and (indptr[1:] >= indptr[:-1]).all()
    if not ordered or not indptr[-1] <= len(data) == len(indices):
        raise ValueError(
            f"x: expected an indptr that rises in {lines + 1} steps from 0 to the number of "
            f"entries, got {len(data)} data, {len(indices)} indices and indptr {indptr}"
        )
    data, indices = data[: indptr[-1]], indices[: indptr[-1]]  # SciPy may keep room behind
    if indices.size and not (indices.min() >= 0 and indices.max() < width):
        raise ValueError(
            f"x: expected indices in 0..{width - 1}, got {indices.min()}..{indices.max()}"
        )
    # NumPy repeats and counts by signed integers alone.
    indices, indptr = indices.astype(np.intp, copy=False), indptr.astype(np.intp, copy=False)
    return SparseMatrix(data, indices, indptr, x.shape, layout)
