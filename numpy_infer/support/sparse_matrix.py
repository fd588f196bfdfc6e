"""Sparse matrices as three arrays, CSR or CSC: our own, and any with SciPy's attributes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from numpy_infer.support.checks import check_choice, check_integers

LAYOUTS = ("csr", "csc")


@dataclass(frozen=True)
class SparseMatrix:
    """The non-zeros of a matrix, row after row (CSR) or column after column (CSC).

    Entries with the same row and column add up. SciPy's CSR and CSC matrices have the same
    attributes and serve as well.

    Args:
        data: (entries,), the values.
        indices: (entries,) integers, the column (CSR) or row (CSC) of each value.
        indptr: (rows + 1,) for CSR, (columns + 1,) for CSC. Row (or column) i has the entries
            indptr[i] to indptr[i + 1] − 1.
        shape: (rows, columns).
        layout: "csr" or "csc".
    Example:
        >>> SparseMatrix.from_dense(np.array([[0.0, 4.0], [5.0, 6.0]])).indptr.tolist()
        [0, 1, 3]
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


def checked_matrix(name: str, x: Any) -> SparseMatrix:
    """The parts of a CSR or CSC matrix, our own or SciPy's.

    TypeError for anything else, ValueError for another layout and for parts that do not fit.
    """
    layout = getattr(x, "layout", getattr(x, "format", None))
    if layout is None:
        got = type(x).__name__
        raise TypeError(f"{name}: expected a numpy.ndarray or a sparse matrix, got {got}")
    check_choice(name, layout, LAYOUTS)
    data, indices, indptr = x.data, x.indices, x.indptr
    check_integers(name, indices, ndim=1)
    check_integers(name, indptr, ndim=1)
    lines, width = x.shape if layout == "csr" else x.shape[::-1]
    ordered = len(indptr) == lines + 1 and indptr[0] == 0 and (indptr[1:] >= indptr[:-1]).all()
    if not ordered or not indptr[-1] <= len(data) == len(indices):
        raise ValueError(
            f"{name}: expected an indptr that rises in {lines + 1} steps from 0 to the number of "
            f"entries, got {len(data)} data, {len(indices)} indices and indptr {indptr}"
        )
    data, indices = data[: indptr[-1]], indices[: indptr[-1]]  # SciPy may keep room behind
    if indices.size and not (indices.min() >= 0 and indices.max() < width):
        got = f"{indices.min()}..{indices.max()}"
        raise ValueError(f"{name}: expected indices in 0..{width - 1}, got {got}")
    # NumPy repeats and counts by signed integers alone.
    indices, indptr = indices.astype(np.intp, copy=False), indptr.astype(np.intp, copy=False)
    return SparseMatrix(data, indices, indptr, x.shape, layout)


def by_rows(x: SparseMatrix) -> SparseMatrix:
    """A checked matrix as CSR."""
    if x.layout == "csr":
        return x
    columns = np.repeat(np.arange(x.shape[1]), np.diff(x.indptr))
    order = np.argsort(x.indices, kind="stable")
    counts = np.bincount(x.indices, minlength=x.shape[0])
    indptr = np.concatenate([[0], np.cumsum(counts)])
    return SparseMatrix(x.data[order], columns[order], indptr, x.shape)


def rows_of(x: Any, start: int, end: int) -> Any:
    """The rows start..end−1 of an array or a CSR matrix, without a copy."""
    if isinstance(x, np.ndarray):
        return np.asarray(x[start:end])  # a plain view, of a memmap too
    first, last = x.indptr[start], x.indptr[end]
    indptr = x.indptr[start : end + 1] - first
    shape = (end - start, x.shape[1])
    return SparseMatrix(x.data[first:last], x.indices[first:last], indptr, shape)
