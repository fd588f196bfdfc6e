"""The files of input that the command line predicts from: arrays and sparse matrices."""

from __future__ import annotations

import numpy as np

from numpy_infer.sparse_projection import SparseMatrix


class Failure(Exception):
    """Ends the program with 1; its text is the line to print."""


def sparse_matrix(path: str) -> SparseMatrix:
    """The CSR or CSC matrix in an .npz file."""
    try:
        with np.load(path, allow_pickle=False) as parts:
            layout = parts["format"].item() if "format" in parts else "csr"
            layout = layout.decode() if isinstance(layout, bytes) else layout
            rows, columns = map(int, parts["shape"])
            data, indices, indptr = (parts[name] for name in ("data", "indices", "indptr"))
        return SparseMatrix(data, indices, indptr, (rows, columns), layout)
    except OSError:
        raise
    except Exception as error:  # whatever NumPy meets in a file of another kind
        raise Failure(
            f"{path}: expected an .npz file of data, indices, indptr and shape: {error}"
        ) from error


def mapped_array(path: str) -> np.ndarray:
    """The array in an .npy file, not read into memory."""
    try:
        return np.lib.format.open_memmap(path, mode="r")
    except OSError:
        raise
    except Exception as error:  # whatever NumPy meets in a file of another kind
        raise Failure(f"{path}: expected an .npy file of numbers: {error}") from error
