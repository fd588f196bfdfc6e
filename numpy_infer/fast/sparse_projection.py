"""The sparse projection of rows with few entries, many rows at a time.

The plain product makes one small matrix product for each row of x, whose call costs more than the
sums of a short row. Here the rows of the weight for a block of entries are gathered, scaled in
place, and added row by row in one call. A block has as many numbers as a processor's cache holds.

4096 rows of 10,000 features, 5 of them stored on average, to 16, in float32 on one CPU core:
three times as fast as the plain product, which catches up at FEW numbers for each row.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from numpy_infer.support.sparse_matrix import SparseMatrix

BLOCK = 2**17  # numbers gathered at a time
FEW = 768  # numbers that a row of x gathers, on average: from here its own product is faster


def applies(x: SparseMatrix, weight: np.ndarray) -> bool:
    """Whether a row of x gathers few numbers of the weight, on average."""
    gathered: int = x.data.size * weight.shape[1]
    return gathered < FEW * x.shape[0]


def product(x: SparseMatrix, weight: np.ndarray) -> np.ndarray:
    """x·weight for a CSR matrix x."""
    y = np.zeros((x.shape[0], weight.shape[1]), weight.dtype)
    step = max(1, BLOCK // weight.shape[1])
    # The rows in which a block of entries begins; a row is never divided.
    edges = np.searchsorted(x.indptr, np.arange(0, x.indptr[-1], step), side="right") - 1
    for first, last in pairwise(np.unique([*edges, x.shape[0]])):
        starts, end = x.indptr[first:last], x.indptr[last]
        scaled = weight.take(x.indices[starts[0] : end], axis=0)  # (entries, out_features)
        scaled *= x.data[starts[0] : end, None]
        # reduceat takes an empty row for the first entry of the next one.
        filled = starts < x.indptr[first + 1 : last + 1]
        y[first:last][filled] = np.add.reduceat(scaled, starts[filled] - starts[0])
    return y
